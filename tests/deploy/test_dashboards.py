"""A panel says what it shows, in which unit, and asks for metrics that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from deploy.generate import DASHBOARD_FOLDER
from tests.deploy.queries import Query, dashboards, known_metrics, panel_queries, panels

DASHBOARDS = {dashboard["uid"]: dashboard for dashboard in dashboards()}
PANELS = [
    pytest.param(panel, id=f"{uid}: {panel['title']}")
    for uid, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_title_unit_and_description(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert re.search(r"[.?]$", panel["description"]), "a description is a sentence"
    assert panel["targets"]
    assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_are_numbered_and_do_not_overlap() -> None:
    for dashboard in DASHBOARDS.values():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert numbers == list(range(1, len(numbers) + 1))
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= 24
            assert not cells & taken, panel["title"]
            taken |= cells


def test_colours_are_grafanas_own_that_suit_both_themes() -> None:
    for dashboard in DASHBOARDS.values():
        named = set(re.findall(r"'(?:color|fixedColor|iconColor)': '([^']+)'", str(dashboard)))
        assert all(colour.startswith("semi-dark-") for colour in named), named


@pytest.mark.parametrize("query", list(panel_queries()), ids=lambda query: query.place)
def test_a_query_asks_for_metrics_that_exist(query: Query) -> None:
    names = {selector.partition("{")[0] for selector in query.selectors}
    assert names, query.expr
    assert names <= known_metrics()


def test_every_variable_in_a_query_is_one_of_its_dashboard() -> None:
    for uid, dashboard in DASHBOARDS.items():
        known = {variable["name"] for variable in dashboard["templating"]["list"]}
        known.add("__rate_interval")
        for panel in panels(dashboard):
            for target in panel["targets"]:
                assert set(re.findall(r"\$(\w+)", target["expr"])) <= known, (uid, panel["title"])


def test_the_config_map_holds_every_dashboard() -> None:
    kustomization = yaml.safe_load((DASHBOARD_FOLDER / "kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    assert sorted(generator["files"]) == sorted(f"{uid}.json" for uid in DASHBOARDS)
