"""From mentions to alerts: the watched series of a brand, and each alert's life.

A brand's mentions, folded in log order, give its alerts; the same log gives the same alerts with
the same ids. An alert is firing, then perhaps escalated, then resolved; one is open at most for
each (brand, touchpoint), and the brand as a whole fires only while none of its touchpoints does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from models.labels import TEAM_OF_TOUCHPOINT
from pipeline.domain import spikes
from pipeline.domain.buckets import advance
from pipeline.records import Alert, AlertStatus, Mention, Post

ALL: Final = "all"
"""The touchpoint of the series that holds all of a brand's talk."""

POSTS_KEPT: Final = 12
POSTS_SHOWN: Final = 3
POST_CHARACTERS: Final = 280

ESCALATION: Final = 2.0
"""An alert escalates when its window holds so many times what it held at first."""

QUIET_PROBABILITY: Final = 0.02
"""Talk less likely than this is not back to usual."""


class Rules(msgspec.Struct, frozen=True):
    """When talk becomes an alert; the fields mean what they do in the settings."""

    window_minutes: int
    min_mentions: int
    min_share: float
    probability: float
    resolve_after_minutes: int


class Open(msgspec.Struct, array_like=True):
    """An open alert's memory: the alert as last told, and since when talk has been quiet."""

    alert: Alert
    first_seen: int
    quiet_since: int | None = None


class Series(msgspec.Struct, array_like=True):
    """One watched series: its stamps, its past, its latest posts and its open alert."""

    counts: spikes.Counts
    stamps: dict[int, int] = msgspec.field(default_factory=dict)
    talk: dict[int, int] = msgspec.field(default_factory=dict)
    posts: list[Post] = msgspec.field(default_factory=list)
    open: Open | None = None
    usual: spikes.Baseline | None = None

    def expectation(self, minute: int, window: int) -> spikes.Baseline:
        """What is usual, worked out anew when the hour it looks back from changes.

        It is part of the state: a restart must not see an expectation the first run did not.
        """
        before = spikes.baseline_hour(minute, window)
        if self.usual is None or self.usual.before != before:
            self.usual = spikes.baseline(self.counts, before)
        return self.usual


def series_key(brand: str, touchpoint: str) -> bytes:
    """A series' key in the changelog."""
    return f"{brand}|{touchpoint}".encode()


def alert_id(brand: str, touchpoint: str, onset_minute: int) -> str:
    """The same spike has the same id in every replay."""
    onset = datetime.fromtimestamp(onset_minute * 60, UTC)
    return f"{brand}.{touchpoint}.{onset:%Y%m%dT%H%MZ}"


class Watch:
    """Folds mentions into the series of a partition, and says what is to be told."""

    def __init__(
        self, state: dict[bytes, Series], rules: Rules, brand_names: dict[str, str]
    ) -> None:
        self._state = state
        self._rules = rules
        self._names = brand_names

    def apply(self, mention: Mention, now: float) -> tuple[set[bytes], list[Alert]]:
        """Count a mention and judge.

        Args:
            mention: The mention.
            now: Newest event time (epoch seconds), this mention's included.

        Returns:
            Encoded keys of the series changed, and alerts to tell, in order.
        """
        minute = int(mention.event.published.timestamp() // 60)
        changed = set()
        news = []
        below = mention.labels.gap.label == "negative"
        touchpoint = mention.labels.touchpoint.label
        for name in (touchpoint, ALL) if below and touchpoint != "none" else (ALL,):
            key = series_key(mention.brand, name)
            series = self._state.get(key)
            if series is None:
                # A touchpoint nobody complained of has been silent as long as the brand is known.
                whole = self._state.get(series_key(mention.brand, ALL))
                since = whole.counts.since if whole is not None else minute // 60
                series = self._state[key] = Series(spikes.Counts(since))
            if not advance(series.stamps, mention.stamp):
                continue
            changed.add(key)
            if name == ALL:
                series.talk[minute] = series.talk.get(minute, 0) + 1
            if below:
                series.counts.count(minute)
                _keep_post(series.posts, mention)
                news.append((key, name))
        alerts = []
        # What comes late, as after an outage, is judged in its own time: a spike found late is
        # better than none. An open alert is followed in the present, and one told before is not
        # raised again by its stragglers.
        moment = mention.event.published.timestamp()
        for key, name in news:
            series = self._state[key]
            told = series.open is not None or moment // 3600 in series.counts.excluded
            at = now if told else moment
            alert = self._judge(key, mention.brand, name, at)
            if alert is not None:
                alerts.append(alert)
        return changed, alerts

    def settle(self, now: float) -> tuple[set[bytes], list[Alert]]:
        """Let time pass: resolve alerts whose talk is back to usual, forget what is old."""
        changed = set()
        alerts = []
        minute = int(now // 60)
        for key, series in self._state.items():
            series.counts.forget(minute)
            if series.talk and min(series.talk) <= minute - spikes.RECENT_MINUTES:
                series.talk = {
                    m: n for m, n in series.talk.items() if m > minute - spikes.RECENT_MINUTES
                }
            if series.open is not None:
                brand, _, name = key.decode().partition("|")
                before = msgspec.structs.replace(series.open.alert), series.open.quiet_since
                alert = self._judge(key, brand, name, now)
                if alert is not None:
                    alerts.append(alert)
                if series.open is None or (series.open.alert, series.open.quiet_since) != before:
                    changed.add(key)
        return changed, alerts

    def newest(self) -> float:
        """Start of the newest minute counted, in epoch seconds; 0 without any."""
        return max((max(s.talk) for s in self._state.values() if s.talk), default=0) * 60.0

    def open_alerts(self) -> list[Alert]:
        """Alerts now open."""
        return [s.open.alert for s in self._state.values() if s.open is not None]

    def _judge(self, key: bytes, brand: str, name: str, now: float) -> Alert | None:
        series = self._state[key]
        rules = self._rules
        minute = int(now // 60)
        usual = series.expectation(minute, rules.window_minutes)
        judgement = spikes.judge(series.counts, usual, minute, rules.window_minutes)
        if series.open is None:
            if not self._is_spike(judgement, brand, minute):
                return None
            if name == ALL and self._touchpoint_open(brand):
                # Its touchpoint tells it; for the brand as a whole it is no more usual than there.
                series.counts.exclude(series.counts.first(minute, rules.window_minutes) // 60)
                series.counts.exclude(minute // 60)
                return None
            return self._fire(series, brand, name, judgement, minute, now)
        return self._follow(series, series.open, judgement, brand, minute, now)

    def _is_spike(self, judgement: spikes.Judgement, brand: str, minute: int) -> bool:
        rules = self._rules
        return (
            judgement.seen >= rules.min_mentions
            and judgement.probability < rules.probability
            and self._share(brand, minute, judgement.seen) >= rules.min_share
        )

    def _share(self, brand: str, minute: int, seen: int) -> float:
        whole = self._state.get(series_key(brand, ALL))
        if whole is None:
            return 1.0
        span = range(minute - self._rules.window_minutes + 1, minute + 1)
        talk = sum(whole.talk.get(m, 0) for m in span)
        return min(1.0, seen / talk) if talk else 1.0

    def _touchpoint_open(self, brand: str) -> bool:
        return any(
            (series := self._state.get(series_key(brand, name))) is not None
            and series.open is not None
            for name in TEAM_OF_TOUCHPOINT
        )

    def _fire(
        self,
        series: Series,
        brand: str,
        name: str,
        judgement: spikes.Judgement,
        minute: int,
        now: float,
    ) -> Alert:
        onset = series.counts.first(minute, self._rules.window_minutes)
        alert = self._tell(
            series,
            Alert(
                id=alert_id(brand, name, onset),
                notification="",
                brand=brand,
                brand_name=self._names.get(brand, brand),
                touchpoint=name,
                team=TEAM_OF_TOUCHPOINT.get(name, "none"),
                status="firing",
                onset=datetime.fromtimestamp(onset * 60, UTC),
                updated=datetime.fromtimestamp(now, UTC),
                seen=judgement.seen,
                expected=round(judgement.expected, 2),
                window_minutes=self._rules.window_minutes,
                probability=judgement.probability,
                share=0.0,
                reach=0,
                peak=0,
                cold=judgement.cold,
            ),
            "firing",
            judgement,
            brand,
            minute,
            now,
        )
        series.counts.exclude(onset // 60)
        series.counts.exclude(minute // 60)
        series.open = Open(alert, first_seen=judgement.seen)
        return alert

    def _follow(
        self,
        series: Series,
        memory: Open,
        judgement: spikes.Judgement,
        brand: str,
        minute: int,
        now: float,
    ) -> Alert | None:
        """Escalate, resolve, or keep what the open alert shows up to date (once a minute)."""
        series.counts.exclude(minute // 60)
        told = memory.alert
        usual = (
            judgement.seen <= judgement.usual_at_most or judgement.probability > QUIET_PROBABILITY
        )
        if not usual:
            memory.quiet_since = None
        elif memory.quiet_since is None:
            memory.quiet_since = minute
        elif minute - memory.quiet_since >= self._rules.resolve_after_minutes:
            series.open = None
            return self._tell(series, told, "resolved", judgement, brand, minute, now)
        status: AlertStatus = told.status
        if status == "firing" and judgement.seen >= ESCALATION * memory.first_seen:
            status = "escalated"
        elif int(told.updated.timestamp() // 60) == minute:
            return None
        memory.alert = self._tell(series, told, status, judgement, brand, minute, now)
        return memory.alert

    def _tell(
        self,
        series: Series,
        alert: Alert,
        status: AlertStatus,
        judgement: spikes.Judgement,
        brand: str,
        minute: int,
        now: float,
    ) -> Alert:
        recent = [p for p in series.posts if p.published.timestamp() >= alert.onset.timestamp()]
        return msgspec.structs.replace(
            alert,
            notification=f"{alert.id}.{status}",
            status=status,
            updated=datetime.fromtimestamp(now, UTC),
            seen=judgement.seen,
            probability=judgement.probability,
            share=round(self._share(brand, minute, judgement.seen), 4),
            reach=sum(p.followers for p in recent),
            peak=max(alert.peak, judgement.seen),
            posts=tuple(sorted(recent, key=lambda p: -p.followers)[:POSTS_SHOWN]) or alert.posts,
        )


def _keep_post(posts: list[Post], mention: Mention) -> None:
    event = mention.event
    if not event.text or event.activity == "Announce":
        return
    text = event.text[:POST_CHARACTERS]
    if any(post.text == text for post in posts):
        return
    posts.append(
        Post(
            id=event.id,
            author=event.actor.name or event.actor.id,
            text=text,
            published=event.published,
            followers=event.actor.followers,
            url=event.url,
        )
    )
    if len(posts) > POSTS_KEPT:
        # Reach decides who is shown, recency who is kept: drop the least heard of the older half.
        older = posts[: POSTS_KEPT // 2]
        posts.remove(min(older, key=lambda post: post.followers))
