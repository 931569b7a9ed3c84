"""Where a reader goes on from an alert: the live page, a dashboard, what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from pipeline.receivers.text import LONGEST_LINK, Link, link_to
from pipeline.records import Alert

DASHBOARD_PLACEHOLDERS: Final = ("brand", "touchpoint", "from_ms", "to_ms")
RUNBOOK_PLACEHOLDERS: Final = ("team", "touchpoint", "kind", "brand")

BEFORE: Final = timedelta(hours=2)
AFTER: Final = timedelta(minutes=30)
"""What a dashboard shows around an alert: what was usual, and what came of it."""

ALL_IN_GRAFANA: Final = "$__all"
"""What Grafana takes for all values of a variable (`ALL_VARIABLE_VALUE` of @grafana/scenes)."""

_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}|[{}]")
"""A placeholder, or a brace that belongs to none."""


@dataclass(frozen=True, slots=True)
class Links:
    """What may be followed from one alert.

    Attributes:
        page: The alert's page.
        dashboard: Its brand and touchpoint around its time.
        runbook: What is to be done about such alerts.
    """

    page: Link | None = None
    dashboard: Link | None = None
    runbook: Link | None = None

    def named(self) -> tuple[tuple[str, Link], ...]:
        """Those there are, by the words they are shown with, most useful first."""
        links = (("Live page", self.page), ("Dashboard", self.dashboard), ("Runbook", self.runbook))
        return tuple((words, link) for words, link in links if link)


@dataclass(frozen=True, slots=True)
class LinkTemplates:
    """The addresses as they are set, before an alert fills them in.

    Attributes:
        page: Of the live page.
        dashboard: With `DASHBOARD_PLACEHOLDERS`.
        runbook: With `RUNBOOK_PLACEHOLDERS`.
    """

    page: str | None = None
    dashboard: str | None = None
    runbook: str | None = None

    def of(self, alert: Alert) -> Links:
        """The links of an alert as it is now."""
        place = {"brand": alert.brand, "touchpoint": alert.touchpoint}
        around = {
            "from_ms": _milliseconds(alert.onset, -BEFORE),
            "to_ms": _milliseconds(alert.updated, AFTER),
        }
        if alert.touchpoint == "all":
            around["touchpoint"] = ALL_IN_GRAFANA
        # A rival's talk is counted under the rival's key, which an alert about it does not hold.
        dashboard = None if alert.kind == "rival" else self.dashboard
        return Links(
            page=_page(self.page, alert),
            dashboard=_filled(dashboard, place | around),
            runbook=_filled(self.runbook, place | {"team": alert.team, "kind": alert.kind}),
        )


def check_template(template: str, placeholders: tuple[str, ...] = ()) -> str:
    """The template, if an alert can fill it in to an address that may be followed.

    Raises:
        ValueError: It holds another placeholder, or is no such address.
    """
    known = [f"{{{name}}}" for name in placeholders]
    for found in _PLACEHOLDER.findall(template):
        if found not in known:
            raise ValueError(
                f"{found} is no placeholder here; known are {', '.join(known)}"
                if known
                else f"takes no placeholders, and {found} is one"
            )
    if link_to(_PLACEHOLDER.sub("x", template)) is None:
        raise ValueError(
            "must be an http:// or https:// address without a user name in it, "
            f"of at most {LONGEST_LINK:,} characters"
        )
    return template


def _page(address: str | None, alert: Alert) -> Link | None:
    """The alert's own page, unless the address names a place itself."""
    if address is None or "#" in address:
        return link_to(address)
    path, mark, query = address.partition("?")
    return link_to(f"{path.rstrip('/')}/alerts/{quote(alert.id, safe='')}{mark}{query}")


def _filled(template: str | None, values: Mapping[str, str]) -> Link | None:
    if template is None:
        return None
    return link_to(_PLACEHOLDER.sub(lambda m: quote(values[m[0][1:-1]], safe=""), template))


def _milliseconds(moment: datetime, away: timedelta) -> str:
    """A moment so far away from another; past the calendar's ends too."""
    return str(int((moment.timestamp() + away.total_seconds()) * 1000))
