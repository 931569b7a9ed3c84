"""Links of an alert: filled in, encoded, and such as Gapwatch's own dashboard takes."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.receivers.links import (
    DASHBOARD_PLACEHOLDERS,
    RUNBOOK_PLACEHOLDERS,
    Links,
    LinkTemplates,
    check_template,
)
from pipeline.receivers.text import link_to
from tests.unit.receivers.hostile import ONSET, an_alert

DEPLOY = Path(__file__).parents[3] / "deploy"
INCIDENT = tomllib.loads((DEPLOY / "gapwatch.compose.toml").read_text())["alerts"]["dashboard_url"]


def url(template: str, **alert: object) -> str:
    """Where the dashboard's link of an alert leads."""
    link = LinkTemplates(dashboard=template).of(an_alert(**alert)).dashboard
    assert link is not None
    return link.url


def test_without_templates_there_are_no_links() -> None:
    assert LinkTemplates().of(an_alert()) == Links()
    assert Links().named() == ()


@pytest.mark.parametrize(
    ("page", "led_to"),
    [
        ("https://g.example", "https://g.example/alerts/a1"),
        ("http://localhost:8600/?x=1", "http://localhost:8600/alerts/a1?x=1"),
        ("https://g.example/#alerts", "https://g.example/#alerts"),
    ],
)
def test_the_page_is_opened_at_the_alert_unless_it_names_a_place_itself(
    page: str, led_to: str
) -> None:
    assert LinkTemplates(page).of(an_alert()).page == link_to(led_to)


def test_the_incident_dashboard_takes_what_its_link_says() -> None:
    written = json.loads((DEPLOY / "grafana/dashboards/gapwatch-incident.json").read_text())
    parts = urlsplit(url(INCIDENT, updated=ONSET + timedelta(hours=1)))
    asked = parse_qs(parts.query, strict_parsing=True)
    assert parts.path == f"/d/{written['uid']}"
    variables = {f"var-{each['name']}" for each in written["templating"]["list"]}
    assert set(asked) - {"from", "to"} <= variables
    assert asked["var-brand"] == ["north-bikes"]
    assert asked["var-touchpoint"] == ["delivery"]
    assert int(asked["from"][0]) / 1000 == (ONSET - timedelta(hours=2)).timestamp()
    assert int(asked["to"][0]) / 1000 == (ONSET + timedelta(hours=1, minutes=30)).timestamp()


def test_a_brand_as_a_whole_is_all_touchpoints_to_grafana() -> None:
    assert parse_qs(urlsplit(url(INCIDENT, touchpoint="all")).query)["var-touchpoint"] == ["$__all"]
    runbook = LinkTemplates(runbook="https://w.example/{touchpoint}").of(an_alert(touchpoint="all"))
    assert runbook.runbook == link_to("https://w.example/all")


def test_a_rivals_dashboard_is_not_known() -> None:
    links = LinkTemplates(dashboard=INCIDENT, runbook="https://w.example/{kind}")
    assert links.of(an_alert(kind="rival")) == Links(runbook=link_to("https://w.example/rival"))


@given(team=st.text(max_size=40))
def test_what_is_filled_in_stays_in_its_place(team: str) -> None:
    template = check_template("https://w.example/book?team={team}&b=1", RUNBOOK_PLACEHOLDERS)
    link = LinkTemplates(runbook=template).of(an_alert(team=team)).runbook
    assert link is not None
    assert link.host == "w.example"
    asked = parse_qs(urlsplit(link.url).query, keep_blank_values=True)
    assert asked == {"team": [team], "b": ["1"]}


@given(template=st.text(st.sampled_from("{}abrndtouchpi_:/.h@?#=% "), max_size=60))
def test_a_template_that_is_taken_makes_a_link(template: str) -> None:
    for whole in (template, f"https://x.example/{template}"):
        try:
            check_template(whole, DASHBOARD_PLACEHOLDERS)
        except ValueError:
            continue
        assert LinkTemplates(dashboard=whole).of(an_alert()).dashboard is not None
