"""Rules fire when they should, say what to do, and are delivered to whom they concern."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kubernetes import RULES
from models.labels import TEAM_OF_TOUCHPOINT
from tests.deploy.queries import Query, known_metrics, rule_queries, rules
from tests.deploy.tools import ROOT, debian, run

TESTS = Path(__file__).with_name("rules_test.yml")
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = ROOT / "docs" / "operations.md"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*args: str) -> str:
    return run([debian("promtool", "prometheus"), *args])


def amtool(*args: str) -> str:
    return run([debian("amtool", "prometheus-alertmanager"), *args])


def test_prometheus_accepts_its_settings_and_rules() -> None:
    promtool("check", "config", "--lint=all", "--lint-fatal", f"{RULES.parent}/prometheus.yml")


def test_rules_fire_when_they_should_and_not_before() -> None:
    promtool("test", "rules", str(TESTS))


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    written = TESTS.read_text(encoding="utf-8")
    fired = {
        case["alertname"]
        for scene in yaml.safe_load(written)["tests"]
        for case in scene.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    fired |= set(re.findall(r'alertname="(\w+)"', written))
    assert fired == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_how_urgent_and_what_to_do(name: str) -> None:
    rule: dict[str, Any] = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("#")
    assert page.endswith("/operations/")
    headings = re.findall(r"^#+ (.+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == name.lower()
    assert name in headings, f"docs/operations.md has no heading {name}"


@pytest.mark.parametrize("query", list(rule_queries()), ids=lambda query: query.place)
def test_a_rule_asks_for_metrics_that_exist(query: Query) -> None:
    names = {selector.partition("{")[0] for selector in query.selectors}
    assert names, query.expr
    assert names <= known_metrics()


def test_teams_answer_for_the_touchpoints_that_the_code_gives_them() -> None:
    (rule,) = [r for r in rules() if r.get("record") == "gapwatch:gap_mentions_by_team:rate5m"]
    found = re.findall(r'touchpoint=~"([^"]+)"\},\s*"team", "(\w+)"', rule["expr"])
    teams = {
        touchpoint: team for touchpoints, team in found for touchpoint in touchpoints.split("|")
    }
    assert teams == {key: team for key, team in TEAM_OF_TOUCHPOINT.items() if team != "none"}


def test_alertmanager_accepts_its_settings() -> None:
    amtool("check-config", str(ALERTMANAGER))


@pytest.mark.parametrize(("severity", "receiver"), [("page", "on-call"), ("ticket", "team")])
def test_urgent_alerts_go_to_whoever_is_on_call(severity: str, receiver: str) -> None:
    used = {rule["labels"]["severity"] for rule in ALERTS.values()}
    assert severity in used
    route = ["config", "routes", "test", f"--config.file={ALERTMANAGER}"]
    told = amtool(*route, f"--verify.receivers={receiver}", f"severity={severity}")
    assert told.split() == [receiver]


def test_what_is_muted_and_what_mutes_it_are_alerts_that_exist() -> None:
    settings = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    named = set(re.findall(r"Gapwatch\w+", str(settings["inhibit_rules"])))
    assert named <= set(ALERTS)


def test_no_secret_stands_in_the_settings() -> None:
    settings = ALERTMANAGER.read_text(encoding="utf-8")
    assert "slack_api_url_file" in settings
    assert not re.search(r"https://hooks|password:|api_url:", settings)
