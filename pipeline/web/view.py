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
from pipeline.domain.deliveries import Delivery, merged
from pipeline.domain.erasures import Erasures
from pipeline.domain.history import History
from pipeline.domain.series import ALL
from pipeline.records import Alert, Expectation, Hour, Mention, Score

FeedState = Literal["reading", "live", "lost"]
"""How the view is fed: still reading what stands in the topics, at their end, or cut off."""

TREND_HOURS: Final = 24
RESOLVED_SHOWN: Final = 20
RESOLVED_KEPT: Final = 500
"""Resolved alerts shown on the front page, and kept for their own pages and their brand's."""

MENTIONS_SHOWN: Final = 60
TEXT_SHOWN: Final = 600
GONE_AFTER: Final = timedelta(days=1)
"""A brand that is not configured here is shown until its scores lag so far behind the newest."""

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

TrendPoint = tuple[int, float | None, float]
"""End of an hour (seconds since 1970), its score, its share of mentions below expectation."""

SECTIONS: Final = ("status", "brands", "trends", "alerts", "mentions")


class Rival(msgspec.Struct, frozen=True):
    """A brand that another is compared with."""

    key: str
    name: str


class ShownBrand(msgspec.Struct, frozen=True):
    """A brand as it is shown.

    Attributes:
        rivals: What it is compared with.
        scores: The latest score of each window (`1h`, `24h`, `7d`), where there is one.
    """

    key: str
    name: str
    rivals: tuple[Rival, ...]
    scores: dict[str, Score]


class LiveView:
    """The page's contents, kept current by `on_…` calls and read by `snapshot`.

    Records may come late, twice or again from the beginning: one older than what is held is
    ignored. Memory is bounded by the number of brands.

    Attributes:
        revision: From 1, grows with every change; equal revisions mean equal snapshots.
        watchers: How many pages are open now.
        history: The last weeks of every brand.
    """

    def __init__(self, erasures: Erasures | None = None) -> None:
        """As above.

        Args:
            erasures: Authors whose posts are not shown.
        """
        self._erasures = erasures or Erasures()
        self.revision = 1
        self.watchers = 0
        self._feed: FeedState = "reading"
        self._clock: datetime | None = None
        self._status: dict[str, Any] = {}
        self._scores: dict[str, dict[str, Score]] = {}
        self.history = History()
        self._alerts: dict[str, Alert] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._mentions: dict[tuple[str, str], Mention] = {}
        self._sections: dict[str, Callable[[], Any]] = {
            "status": lambda: self._status,
            "brands": self.brands,
            "trends": self._trends,
            "alerts": self.alerts,
            "mentions": self._recent_mentions,
        }
        self._changed_at = dict.fromkeys(self._sections, 0)
        self._encoded: dict[tuple[int, frozenset[str]], bytes] = {}

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
        self._changed("brands")

    def on_history(self, record: Hour | Expectation) -> None:
        """Take an hour of a brand, or what was expected of it."""
        newest = self.history.newest(record.brand)
        if not self.history.take(record):
            return
        if isinstance(record, Hour) and record.start != newest:
            self._changed("trends")
        else:
            # The running hour is told by the score itself, which the page has.
            self._changed()

    def on_delivery(self, delivery: Delivery) -> None:
        """Take what an alert's receivers were promised and given, beside what is known of it."""
        if not delivery.alert:  # written by a version that did not name it
            return
        held = self._deliveries.get(delivery.alert)
        self._deliveries[delivery.alert] = merged(held, delivery) if held else delivery
        if len(self._deliveries) > 2 * RESOLVED_KEPT:
            newest = sorted(self._deliveries.values(), key=lambda each: each.updated)
            self._deliveries = {each.alert: each for each in newest[-RESOLVED_KEPT:]}
        self._changed()

    def on_alert(self, alert: Alert) -> None:
        """Take an alert's state, unless a newer one is held."""
        held = self._alerts.get(alert.id)
        if held is not None and alert.updated < held.updated:
            return
        alert = self._erasures.scrubbed(alert)
        posts = tuple(msgspec.structs.replace(p, text=_clip(p.text)) for p in alert.posts)
        alert = msgspec.structs.replace(alert, posts=posts)
        if alert == held:
            return
        self._alerts[alert.id] = alert
        if len(self._alerts) > 2 * RESOLVED_KEPT:
            self._alerts = {kept.id: kept for kept in self.alerts(resolved=RESOLVED_KEPT)}
        self._tick(alert.updated)
        self._changed("alerts")

    def on_mention(self, mention: Mention) -> None:
        """Take a mention; the same event about the same brand is shown once."""
        if self._erasures.covers_event(mention.event):
            return
        self._mentions[mention.brand, mention.event.id] = mention
        if len(self._mentions) > 4 * MENTIONS_SHOWN:
            newest = reversed(self._newest_mentions())
            self._mentions = {(m.brand, m.event.id): m for m in newest}
        self._changed("mentions")

    def forget_authors(self) -> None:
        """Show no more posts of authors who are to be forgotten."""
        self._mentions = {
            key: mention
            for key, mention in self._mentions.items()
            if not self._erasures.covers_event(mention.event)
        }
        self._alerts = {key: self._erasures.scrubbed(a) for key, a in self._alerts.items()}
        for delivery in self._deliveries.values():
            delivery.forget_authors(self._erasures)
        self._changed("alerts", "mentions")

    def scores(self) -> list[Score]:
        """The latest score of every brand shown and window."""
        return [score for brand in self.brands() for score in brand.scores.values()]

    @property
    def clock(self) -> datetime | None:
        """The newest event time."""
        return self._clock

    def alert(self, identity: str) -> Alert | None:
        """An alert by id: open, or one of the last `RESOLVED_KEPT` resolved."""
        return self._alerts.get(identity)

    def delivery(self, identity: str) -> Delivery | None:
        """What the receivers of an alert were promised and given, while that is remembered."""
        return self._deliveries.get(identity)

    def alerts(self, *, brand: str | None = None, resolved: int = RESOLVED_SHOWN) -> list[Alert]:
        """Open alerts, escalated before firing and newest first, then the last `resolved`."""
        wanted = [a for a in self._alerts.values() if brand in (None, a.brand)]
        newest = sorted(wanted, key=lambda a: (a.updated, a.id), reverse=True)
        over = [alert for alert in newest if alert.status == "resolved"]
        still_open = [alert for alert in newest if alert.status != "resolved"]
        still_open.sort(key=lambda a: (a.status == "escalated", a.onset, a.id), reverse=True)
        return still_open + over[:resolved]

    def brand(self, key: str) -> ShownBrand | None:
        """A brand that is shown, by key."""
        return next((brand for brand in self.brands() if brand.key == key), None)

    def brands(self) -> list[ShownBrand]:
        """The brands shown: those configured in their order, then those of other workers."""
        return [
            ShownBrand(key, self._name(key), self._rivals(key), self._scores.get(key, {}))
            for key in self._shown_brands()
        ]

    def snapshot(self, since: int = 0, sections: frozenset[str] = frozenset(SECTIONS)) -> bytes:
        """What the page shows, as JSON: of `sections` those changed after revision `since`."""
        wanted = since, sections
        if wanted not in self._encoded:
            built = {
                name: build()
                for name, build in self._sections.items()
                if name in sections and (since <= 0 or self._changed_at[name] > since)
            }
            head = {"revision": self.revision, "feed": self._feed, "clock": self._clock}
            self._encoded[wanted] = msgspec.json.encode(head | built)
        return self._encoded[wanted]

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

    def _rivals(self, brand: str) -> tuple[Rival, ...]:
        keys = self._configured().get(brand, {}).get("rivals", ())
        return tuple(Rival(key, self._name(key)) for key in keys)

    def _shown_brands(self) -> list[str]:
        """Configured brands in their order, then those only other workers know."""
        newest = {key: max(s.as_of for s in held.values()) for key, held in self._scores.items()}
        alive = max(newest.values(), default=_EPOCH + GONE_AFTER) - GONE_AFTER
        configured = self._configured()
        foreign = [key for key, at in newest.items() if key not in configured and at >= alive]
        return [*configured, *sorted(foreign)]

    def _trends(self) -> dict[str, list[TrendPoint]]:
        return {brand: self._trend(brand) for brand in self._shown_brands()}

    def _trend(self, brand: str) -> list[TrendPoint]:
        """The hours that are over, of the last day."""
        steps = self.history.course(brand, window="1h", hours=TREND_HOURS + 1, step=1)[:-1]
        return [
            (
                int(step.start.timestamp()) + 3600,
                step.score,
                round(step.gaps[ALL].below / step.mentions, 4) if step.mentions else 0.0,
            )
            for step in steps
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
