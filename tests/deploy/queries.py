"""Every PromQL expression of dashboards and rules, and the metrics they may name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from deploy.generate import generated
from deploy.kubernetes import RULES
from pipeline.metrics import Metrics

CHOSEN: Final = {
    "brand": "larkbasket",
    "window": "24h",
    "touchpoint": ".+",
    "instance": ".+",
    "__rate_interval": "1m",
}
"""What stands for the variables of dashboards when their queries are tried."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and where it stands.

    Attributes:
        place: `dashboard uid: panel title`, or the rule's name.
        unit: The panel's; empty for a rule.
        rule: `alert`, `record`, or empty for a panel, a variable or an annotation.
    """

    place: str
    expr: str
    unit: str = ""
    rule: str = ""

    @property
    def tried(self) -> str:
        """The expression with its variables replaced."""
        return re.sub(r"\$\{?(\w+)\}?", lambda match: CHOSEN[match[1]], self.expr)

    @property
    def selectors(self) -> list[str]:
        """Its metrics, each with the labels it asks for."""
        return _SELECTOR.findall(self.tried)


_SELECTOR: Final = re.compile(r"\b(?:gapwatch[\w:]*|process_\w+|up)\b(?:\{[^}]*\})?")


def dashboards() -> list[dict[str, Any]]:
    """Every dashboard as Grafana reads it."""
    found = [yaml.safe_load(text) for path, text in generated().items() if path.suffix == ".json"]
    assert found
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """A dashboard's panels without its rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[Query]:
    """Every query of every panel, variable and annotation."""
    for dashboard in dashboards():
        uid = dashboard["uid"]
        for panel in panels(dashboard):
            unit = panel["fieldConfig"]["defaults"]["unit"]
            for target in panel["targets"]:
                yield Query(f"{uid}: {panel['title']}", target["expr"], unit)
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                metric = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"])
                assert metric, variable["query"]
                yield Query(f"{uid}: ${variable['name']}", metric[1])
        for annotation in dashboard["annotations"].get("list", ()):
            yield Query(f"{uid}: {annotation['name']}", annotation["expr"])


def rules() -> list[dict[str, Any]]:
    """Every recording and alerting rule."""
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def rule_queries() -> Iterator[Query]:
    """The query of every rule."""
    for rule in rules():
        kind = "alert" if "alert" in rule else "record"
        yield Query(rule[kind], rule["expr"], rule=kind)


def known_metrics() -> set[str]:
    """Names of everything a query can find: a worker's metrics, what rules record, and `up`."""
    names = {"up"}
    for family in Metrics().registry.collect():
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_sum", "_count"],
            "info": ["_info"],
        }.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    return names | {rule["record"] for rule in rules() if "record" in rule}
