"""What the live page shows, gathered from records. Pure: no I/O and no clock.

The page's JSON has sections (`status`, `brands`, `trends`, `alerts`, `mentions`), and each section
knows at which revision it last changed, so that a watcher is sent only what is new to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from models.labels import HEADS
from pipeline.records import Alert, Mention, Score

FeedState = Literal["reading", "live", "lost"]
"""How the view is fed: still reading what stands in the topics, at their end, or cut off."""

TREND_WINDOW: Final = "1h"
TREND_STEP: Final = timedelta(minutes=6)
TREND_POINTS: Final = 240
RESOLVED_SHOWN: Final = 20
MENTIONS_SHOWN: Final = 60
TEXT_SHOWN: Final = 600
GONE_AFTER: Final = timedelta(days=1)
"""A brand that is not configured here is shown until its scores lag so far behind the newest."""

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

TrendPoint = tuple[int, float | None, float]
"""Seconds since 1970 (event time), score, share of mentions below expectation."""


class Trend:
    """One brand's last 24 hours of event time: at most one point per six minutes, the last wins."""

    def __init__(self) -> None:
        self._points: dict[int, TrendPoint] = {}

    def add(self, score: Score) -> bool:
        """Take a score not older than the last; true where it began a new point."""
        slot = (score.as_of - _EPOCH) // TREND_STEP
        begun = slot not in self._points
        value = None if score.score is None else round(score.score, 2)
        seconds = int(score.as_of.timestamp())
        self._points[slot] = (seconds, value, round(score.gap.below, 4))
        if begun:
            oldest = slot - TREND_POINTS
            self._points = {at: point for at, point in self._points.items() if at > oldest}
        return begun

    @property
    def points(self) -> list[TrendPoint]:
        """Oldest first."""
        return list(self._points.values())


class LiveView:
    """The page's contents, kept current by `on_…` calls and read by `snapshot`.

    Records may come late, twice or again from the beginning: one older than what is held is
    ignored. Memory is bounded by the number of brands.

    Attributes:
        revision: From 1, grows with every change; equal revisions mean equal snapshots.
        watchers: How many pages are open now.
    """

    def __init__(self) -> None:
        self.revision = 1
        self.watchers = 0
        self._feed: FeedState = "reading"
        self._clock: datetime | None = None
        self._status: dict[str, Any] = {}
        self._scores: dict[str, dict[str, Score]] = {}
        self._trends: dict[str, Trend] = {}
        self._alerts: dict[str, Alert] = {}
        self._mentions: dict[tuple[str, str], Mention] = {}
        self._sections: dict[str, Callable[[], Any]] = {
            "status": lambda: self._status,
            "brands": self._brands,
            "trends": lambda: {brand: trend.points for brand, trend in self._trends.items()},
            "alerts": self.alerts,
            "mentions": self._recent_mentions,
        }
        self._changed_at = dict.fromkeys(self._sections, 0)
        self._encoded: dict[int, bytes] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a watcher while the context is open."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def on_feed(self, state: FeedState) -> None:
        """Tell how current the records are that this view is fed."""
        if state != self._feed:
            self._feed = state
            self._changed()

    def on_status(self, status: dict[str, Any]) -> None:
        """Take the worker's own numbers and its configured brands (`brands`: key to name, rivals).

        Other keys are shown as they come; the page knows `version`, `model`, `events`,
        `mentions`, `rejected`, `classified_per_second`, `lag` and `uptime_seconds`.
        """
        if status == self._status:
            return
        # Brands and mentions show names from here.
        renamed = status.get("brands") != self._status.get("brands")
        self._status = dict(status)
        self._changed("status", *(("brands", "mentions") if renamed else ()))

    def on_score(self, score: Score) -> None:
        """Take a score, unless a newer one of its brand and window is held."""
        windows = self._scores.setdefault(score.brand, {})
        held = windows.get(score.window)
        if held is not None and (score.as_of < held.as_of or score == held):
            return
        windows[score.window] = score
        self._tick(score.as_of)
        changed = ["brands"]
        if score.window == TREND_WINDOW:
            begun = self._trends.setdefault(score.brand, Trend()).add(score)
            # The newest point is the score itself, which the page has: it need not be sent twice.
            if begun:
                changed.append("trends")
        self._changed(*changed)

    def on_alert(self, alert: Alert) -> None:
        """Take an alert's state, unless a newer one is held."""
        held = self._alerts.get(alert.id)
        if held is not None and alert.updated < held.updated:
            return
        posts = tuple(msgspec.structs.replace(p, text=_clip(p.text)) for p in alert.posts)
        alert = msgspec.structs.replace(alert, posts=posts)
        if alert == held:
            return
        self._alerts[alert.id] = alert
        self._alerts = {shown.id: shown for shown in self.alerts()}
        self._tick(alert.updated)
        self._changed("alerts")

    def on_mention(self, mention: Mention) -> None:
        """Take a mention; the same event about the same brand is shown once."""
        self._mentions[mention.brand, mention.event.id] = mention
        if len(self._mentions) > 4 * MENTIONS_SHOWN:
            newest = reversed(self._newest_mentions())
            self._mentions = {(m.brand, m.event.id): m for m in newest}
        self._changed("mentions")

    def scores(self) -> list[Score]:
        """The latest score of every brand shown and window."""
        return [score for brand in self._shown_brands() for score in self._windows(brand)]

    def alerts(self) -> list[Alert]:
        """Open alerts, escalated before firing and newest first, then the last resolved."""
        newest = sorted(self._alerts.values(), key=lambda a: (a.updated, a.id), reverse=True)
        resolved = [alert for alert in newest if alert.status == "resolved"]
        still_open = [alert for alert in newest if alert.status != "resolved"]
        still_open.sort(key=lambda a: (a.status == "escalated", a.onset, a.id), reverse=True)
        return still_open + resolved[:RESOLVED_SHOWN]

    def snapshot(self, since: int = 0) -> bytes:
        """What the page shows, as JSON: every section, or those changed after revision `since`."""
        if since not in self._encoded:
            sections = {
                name: build()
                for name, build in self._sections.items()
                if since <= 0 or self._changed_at[name] > since
            }
            head = {"revision": self.revision, "feed": self._feed, "clock": self._clock}
            self._encoded[since] = msgspec.json.encode(head | sections)
        return self._encoded[since]

    def _changed(self, *sections: str) -> None:
        self.revision += 1
        self._encoded.clear()
        for section in sections:
            self._changed_at[section] = self.revision

    def _tick(self, now: datetime) -> None:
        if self._clock is None or now > self._clock:
            self._clock = now

    def _configured(self) -> dict[str, dict[str, Any]]:
        brands: dict[str, dict[str, Any]] = self._status.get("brands") or {}
        return brands

    def _name(self, brand: str) -> str:
        return str(self._configured().get(brand, {}).get("name") or brand)

    def _rivals(self, brand: str) -> list[str]:
        return [self._name(rival) for rival in self._configured().get(brand, {}).get("rivals", ())]

    def _windows(self, brand: str) -> list[Score]:
        return list(self._scores.get(brand, {}).values())

    def _shown_brands(self) -> list[str]:
        """Configured brands in their order, then those only other workers know."""
        newest = {key: max(s.as_of for s in held.values()) for key, held in self._scores.items()}
        alive = max(newest.values(), default=_EPOCH + GONE_AFTER) - GONE_AFTER
        configured = self._configured()
        foreign = [key for key, at in newest.items() if key not in configured and at >= alive]
        return [*configured, *sorted(foreign)]

    def _brands(self) -> list[dict[str, Any]]:
        return [
            {
                "key": key,
                "name": self._name(key),
                "rivals": self._rivals(key),
                "scores": self._scores.get(key, {}),
            }
            for key in self._shown_brands()
        ]

    def _newest_mentions(self) -> list[Mention]:
        newest = sorted(
            self._mentions.values(), key=lambda m: (m.received, m.event.published), reverse=True
        )
        return newest[:MENTIONS_SHOWN]

    def _recent_mentions(self) -> list[dict[str, Any]]:
        return [self._shown_mention(mention) for mention in self._newest_mentions()]

    def _shown_mention(self, mention: Mention) -> dict[str, Any]:
        event = mention.event
        judged = {name: getattr(mention.labels, name) for name in HEADS}
        return {
            "key": f"{mention.brand}|{event.id}",
            "brand": self._name(mention.brand),
            "source": event.source,
            "author": event.actor.name or event.actor.id,
            "followers": event.actor.followers,
            "activity": event.activity,
            "object": event.object and _clip(event.object),
            "text": event.text and _clip(event.text),
            "url": event.url,
            "published": event.published,
            "team": mention.team,
            "labels": {name: label.label for name, label in judged.items()},
            "sure": {
                name: round(label.probabilities.get(label.label, 0.0), 3)
                for name, label in judged.items()
            },
            "abstained": mention.labels.abstained,
            "lang": mention.labels.lang,
        }


def _clip(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1].rstrip() + "…"
