"""From mentions to alerts: a brand's mentions, folded in log order, give its alerts.

The same log gives the same alerts with the same ids, in chunks of any size, through restarts, live
or as a backlog. One alert is open at most for each brand and kind; touchpoints that spike while it
is join it. `lifecycle` says when an alert changes, `incident` what is remembered of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from pipeline.domain.buckets import advance
from pipeline.domain.erasures import Erasures
from pipeline.domain.incident import Case
from pipeline.domain.lifecycle import (
    COOL_DOWN,
    LIMIT,
    RELAPSE_MINUTES,
    RELOOK,
    Brand,
    Desk,
    Rules,
)
from pipeline.domain.score_drops import Course
from pipeline.domain.series import ALL, Measured, Series, Talk, series_key, talk_key
from pipeline.domain.silences import Orders
from pipeline.domain.spikes import Detector
from pipeline.domain.terms import SAMPLE_MINUTES, OrdinaryTalk, terms_of
from pipeline.records import Alert, AlertKind, Expectation, Mention, Score

State: TypeAlias = Series | Talk | Case | OrdinaryTalk | Course
"""What stands in an agent's changelog, each with its key: counts, and what is remembered."""

decode_state: Final[Callable[[bytes], State]] = msgspec.json.Decoder(State).decode


def latest(ours: State, theirs: State) -> State:
    """Of two versions of a value, the one that reaches further; `theirs` if both reach alike."""
    return ours if _reach(ours) > _reach(theirs) else theirs


def _reach(value: State) -> tuple[int, int]:
    """How far into the log, and into time, a value reaches."""
    if isinstance(value, OrdinaryTalk):
        return 0, value.minute
    if isinstance(value, Course):
        return 0, max(value.hours, default=0)
    return sum(value.stamps.values()), value.followed if isinstance(value, Case) else 0


def writing_order(keys: Iterable[bytes]) -> list[bytes]:
    """Cases before series, in case only some of them are written: a series that is written has been
    judged and is not judged again, so what came of it must be written by then."""
    return sorted(keys, key=lambda key: (key.count(b"|"), key))


KIND_OF_GAP: Final[Mapping[str, AlertKind]] = {"negative": "gap", "positive": "delight"}

RIVAL_SEVERITY: Final = 3
"""A rival's trouble is worth knowing, and no trouble of one's own."""

SAVE_TALK_MINUTES: Final = 30
"""Ordinary talk is made durable so often. A restart may cost it so much, which changes the terms
shown by a little, and never whether an alert is raised."""

SILENCE_LEARNT_MINUTES: Final = 7 * 24 * 60
"""A new series learns from so much silence: enough to be sure of it, and cheap to learn."""

_STRAGGLE_MINUTES: Final = 15
_TIDY_MINUTES: Final = 60


@lru_cache(maxsize=50_000)
def case_key(brand: str, kind: AlertKind) -> bytes:
    """A case's key in the changelog."""
    return f"{brand}|{kind}".encode()


@lru_cache(maxsize=50_000)
def ordinary_key(brand: str) -> bytes:
    """The key of a brand's ordinary talk in the changelog."""
    return f"{brand}|words".encode()


@lru_cache(maxsize=50_000)
def course_key(brand: str) -> bytes:
    """The key of the course of a brand's score in the changelog."""
    return f"{brand}|score".encode()


class Watch:
    """Folds mentions into the state of a partition, and says what is to be told.

    Args:
        state: The partition's state, by encoded key; changed in place.
        kinds: Kinds of alerts wanted.
        brands: What is known of each brand; one that left the settings has only its key.
        orders: Silences and acknowledgements.
        erasures: Authors who are to be forgotten.
        score: A brand's score over 24 hours, as last heard.
    """

    def __init__(
        self,
        state: MutableMapping[bytes, State],
        rules: Rules,
        detector: Detector,
        *,
        kinds: frozenset[AlertKind] = frozenset({"gap"}),
        brands: Mapping[str, Brand] | None = None,
        orders: Orders | None = None,
        erasures: Erasures | None = None,
        score: Callable[[str], Score | None] = lambda brand: None,
    ) -> None:
        self._state = state
        self._rules = rules
        self._detector = detector
        self._kinds = kinds
        # A rival's alerts are made of the gap alerts of the brand itself.
        self._watched = frozenset({"gap"} if kinds & {"gap", "rival"} else ()) | (
            kinds & {"delight"}
        )
        self._brands = dict(brands or {})
        self._orders = orders or Orders()
        self._erasures = erasures or Erasures()
        self._erased = 0
        self._score = score
        self._tidied = 0
        self._cases = [key for key, value in state.items() if isinstance(value, Case)]
        self._open = {key for key in self._cases if self._case(key).open is not None}
        self._fallen = {
            key for key, v in state.items() if isinstance(v, Course) and v.open is not None
        }

    def apply(self, mention: Mention, now: float) -> tuple[set[bytes], list[Alert]]:
        """Count a mention and judge.

        Args:
            mention: The mention.
            now: Newest event time (epoch seconds), this mention's included.

        Returns:
            Encoded keys of what changed, and alerts to tell, in order.
        """
        moment = mention.event.published.timestamp()
        minute = int(moment // 60)
        changed: set[bytes] = set()
        if self._erasures.covers_event(mention.event):
            mention = _without_words(mention)
        talk = self._hear(mention, minute, moment, changed)
        kind = KIND_OF_GAP.get(mention.labels.gap.label)
        if kind is None or kind not in self._watched:
            return changed, []
        brand = mention.brand
        key = case_key(brand, kind)
        case = self._state.get(key)
        if not isinstance(case, Case):
            case = self._state[key] = Case()
            self._cases.append(key)
        if advance(case.stamps, mention.stamp):
            case.take(mention, minute, self._brand(brand).words)
            changed.add(key)
        news = [
            name
            for name in _names(mention.labels.touchpoint.label)
            if self._count(mention, kind, name, minute, talk.since, changed)
        ]
        if not news:
            return changed, []
        if case.open is not None:
            return changed, self._catch_up(key, case, minute, now, changed)
        # What comes late, as after an outage, is judged in its own time: a spike found late is
        # better than none. Stragglers of what is over do not raise it again.
        told = any(s.onset - _STRAGGLE_MINUTES <= minute <= s.resolved for s in case.over)
        at, moment = (int(now // 60), now) if told else (minute, moment)
        measured = self._measured(brand, kind)
        for name in news:
            verdict = measured.judge(name, at)
            if measured.is_spike(name, verdict, at) and self._is_new(measured, case, name, at):
                desk = self._desk(brand, kind, case, measured)
                alert = desk.fire(brand, kind, name, verdict, at, moment)
                self._open.add(key)
                return changed, self._told([alert])
        return changed, []

    def _is_new(self, measured: Measured, case: Case, name: str, minute: int) -> bool:
        """Whether enough was said since the last incident: what was told is no evidence again."""
        since = minute - case.over_until(minute)
        return since > RELAPSE_MINUTES or (
            measured.seen(name, minute, since) >= self._rules.min_mentions
        )

    def settle(self, now: float) -> tuple[set[bytes], list[Alert]]:
        """Let time pass: follow open alerts minute by minute, forget what is old."""
        changed: set[bytes] = set()
        alerts: list[Alert] = []
        last = int(now // 60)
        for key in sorted(self._open):
            case = self._case(key)
            brand, kind = _parts(key)
            measured = self._measured(brand, kind)
            desk = self._desk(brand, kind, case, measured)
            while case.open is not None and case.open.followed < last:
                # Every minute, also where a backlog skips some: as if it had been live.
                minute = case.open.followed + 1
                alert = desk.follow(minute, _moment(minute, now), update=True)
                if alert is not None:
                    alerts.append(alert)
                # To judge is to learn: the series have changed too.
                changed.update((key, *measured.keys()))
            if case.open is None:
                self._open.discard(key)
        self._tidy(last)
        alerts = self._told(alerts)
        if "score" in self._kinds:
            alerts += self._look_at_scores(changed)
        return changed, alerts

    def heed(self, now: float) -> tuple[set[bytes], list[Alert]]:
        """Tell what new silences and acknowledgements change, without waiting for the minute."""
        changed: set[bytes] = set()
        alerts: list[Alert] = []
        for key in sorted(self._open):
            case = self._case(key)
            assert case.open is not None
            brand, kind = _parts(key)
            measured = self._measured(brand, kind)
            desk = self._desk(brand, kind, case, measured)
            moment = max(now, case.open.alert.updated.timestamp())
            alert = desk.follow(case.open.followed, moment, update=True)
            changed.update((key, *measured.keys()))
            if alert is not None:
                alerts.append(alert)
            if case.open is None:
                self._open.discard(key)
        return changed, self._told(alerts)

    def expectations(self, hour: int) -> list[Expectation]:
        """What is expected of an hour (number since the epoch) of each brand, as it begins."""
        return [self._expectation(brand, hour) for brand in self.brands()]

    def forget_authors(self) -> tuple[set[bytes], list[Alert]]:
        """Drop the posts of authors who are to be forgotten, and tell open alerts without them."""
        changed: set[bytes] = set()
        alerts: list[Alert] = []
        if self._erased == self._erasures.revision:
            return changed, alerts
        self._erased = self._erasures.revision
        for key in self._cases:
            case = self._case(key)
            told = case.open.alert if case.open is not None else None
            if case.forget_authors(self._erasures, self._brand(_parts(key)[0]).words):
                changed.add(key)
            if case.open is not None and case.open.alert is not told:
                alerts.append(case.open.alert)
        return changed, self._told(alerts)

    def newest(self) -> float:
        """Newest event time counted, in epoch seconds; 0 without any."""
        return max((v.heard for v in self._state.values() if isinstance(v, Talk)), default=0.0)

    def brands(self) -> list[str]:
        """Keys of the brands mentioned so far."""
        return [key.decode().partition("|")[0] for key in self._state if key.endswith(b"|talk")]

    def open_alerts(self) -> list[Alert]:
        """Alerts now open, of the kinds wanted."""
        cases = (self._case(key).open for key in self._open)
        courses = (self._state[key] for key in self._fallen)
        found = [case.alert for case in cases if case is not None]
        found += [c.open for c in courses if isinstance(c, Course) and c.open is not None]
        return [alert for alert in found if alert.kind in self._kinds]

    def _expectation(self, brand: str, hour: int) -> Expectation:
        measured = self._measured(brand, "gap")
        last = hour * 60 + 59
        below = {name: measured.outlook(name, last, 60) for name in measured.names()}
        case, ordinary = self._state.get(case_key(brand, "gap")), self._ordinary(brand)
        return Expectation(
            brand,
            datetime.fromtimestamp(hour * 3600, UTC),
            below={name: round(expected, 3) for name, expected in below.items()},
            terms=case.stands_out(ordinary, self._brand(brand).words)
            if isinstance(case, Case)
            else (),
        )

    def _ordinary(self, brand: str) -> OrdinaryTalk | None:
        found = self._state.get(ordinary_key(brand))
        return found if isinstance(found, OrdinaryTalk) else None

    def _hear(self, mention: Mention, minute: int, moment: float, changed: set[bytes]) -> Talk:
        """Count a mention as part of the brand's talk."""
        key = talk_key(mention.brand)
        talk = self._state.get(key)
        if not isinstance(talk, Talk):
            talk = self._state[key] = Talk(self._detector.past(minute), since=minute)
        if not advance(talk.stamps, mention.stamp):
            return talk
        changed.add(key)
        talk.heard = max(talk.heard, moment)
        self._detector.count(talk.past, minute)
        self._read(mention, minute, changed)
        return talk

    def _read(self, mention: Mention, minute: int, changed: set[bytes]) -> None:
        """Count a mention's words as ordinary talk, now and then."""
        brand = mention.brand
        key = ordinary_key(brand)
        ordinary = self._state.get(key)
        if isinstance(ordinary, OrdinaryTalk) and minute < ordinary.minute + SAMPLE_MINUTES:
            return
        kind = KIND_OF_GAP.get(mention.labels.gap.label)
        if not mention.event.text or (kind and case_key(brand, kind) in self._open):
            return
        if not isinstance(ordinary, OrdinaryTalk):
            ordinary = self._state[key] = OrdinaryTalk()
        ordinary.hear(terms_of(mention.event.text, self._brand(brand).words))
        ordinary.minute = minute
        if minute >= ordinary.saved + SAVE_TALK_MINUTES:
            ordinary.saved = minute
            changed.add(key)

    def _count(
        self,
        mention: Mention,
        kind: AlertKind,
        name: str,
        minute: int,
        since: int,
        changed: set[bytes],
    ) -> bool:
        """Count a mention in one series; False where it was counted before."""
        key = series_key(mention.brand, kind, name)
        series = self._state.get(key)
        if not isinstance(series, Series):
            # A touchpoint nobody complained of has been silent as long as the brand is known.
            silent = min(minute, max(since, minute - SILENCE_LEARNT_MINUTES))
            series = self._state[key] = Series(self._detector.past(silent))
        if not advance(series.stamps, mention.stamp):
            return False
        changed.add(key)
        self._detector.count(series.past, minute)
        return True

    def _catch_up(
        self, key: bytes, case: Case, minute: int, now: float, changed: set[bytes]
    ) -> list[Alert]:
        """Look at an open alert between minutes where many more have spoken."""
        incident = case.open
        assert incident is not None
        if incident.mentions < RELOOK * incident.looked_at:
            return []
        brand, kind = _parts(key)
        measured = self._measured(brand, kind)
        desk = self._desk(brand, kind, case, measured)
        at = max(minute, incident.followed)
        changed.update(measured.keys())
        alert = desk.follow(at, _moment(at, now), update=False)
        return self._told([alert]) if alert is not None else []

    def _look_at_scores(self, changed: set[bytes]) -> list[Alert]:
        alerts = []
        for brand in self.brands():
            score = self._score(brand)
            if score is None:
                continue
            key = course_key(brand)
            course = self._state.get(key)
            if not isinstance(course, Course):
                course = self._state[key] = Course()
            heard = course.hours.copy()
            alert = course.look(
                brand, self._brand(brand), score, self._rules.score_drop, self._orders
            )
            if alert is not None:
                alerts.append(alert)
            (self._fallen.add if course.open is not None else self._fallen.discard)(key)
            if alert is not None or course.hours.keys() != heard.keys():
                changed.add(key)
        return alerts

    def _tidy(self, minute: int) -> None:
        """Forget what is too old, brand after brand: each once an hour."""
        due = range(max(self._tidied + 1, minute - _TIDY_MINUTES + 1), minute + 1)
        self._tidied = minute
        turns = {m % _TIDY_MINUTES for m in due}
        if not turns:
            return
        for key in self._cases:
            if crc32(key) % _TIDY_MINUTES in turns:
                self._case(key).forget(minute)

    def _told(self, alerts: list[Alert]) -> list[Alert]:
        """The alerts of the kinds wanted, and what they are to the brands whose rivals they hit."""
        told = []
        for alert in alerts:
            if alert.kind in self._kinds:
                told.append(alert)
            if alert.kind == "gap" and "rival" in self._kinds:
                told += [self._as_rival(alert, key) for key in self._brand(alert.brand).rival_of]
        return told

    def _as_rival(self, alert: Alert, brand: str) -> Alert:
        """A brand's alert, as those hear of it who have the brand for a rival: low in key."""
        identity = f"{brand}.rival.{alert.id}"
        status = "firing" if alert.status == "escalated" else alert.status
        told = msgspec.structs.replace(
            alert,
            id=identity,
            notification=f"{identity}.{status}",
            kind="rival",
            brand=brand,
            brand_name=self._brand(brand).name,
            rival=alert.brand_name,
            team="none",
            status=status,
            severity=min(alert.severity, RIVAL_SEVERITY),
            score_before=None,
            score_now=None,
            acknowledged=None,
            turns=tuple(turn for turn in alert.turns if turn.what in ("firing", "resolved")),
        )
        silence = self._orders.silence_of(told, alert.updated)
        held_back = alert.silenced if alert.silenced in (COOL_DOWN, LIMIT) else None
        return msgspec.structs.replace(told, silenced=silence.id if silence else held_back)

    def _measured(self, brand: str, kind: AlertKind) -> Measured:
        return Measured(self._state, self._detector, brand, kind, self._rules.min_share)

    def _desk(self, brand: str, kind: AlertKind, case: Case, measured: Measured) -> Desk:
        def messages(minute: int) -> int:
            others = (self._state.get(case_key(brand, k)) for k in self._watched if k != kind)
            return sum(
                told > minute - 60
                for other in others
                if isinstance(other, Case)
                for told in other.messages
            )

        return Desk(
            self._rules,
            self._orders,
            self._brand(brand),
            case=case,
            measured=measured,
            ordinary=lambda: self._ordinary(brand),
            score=lambda: self._score(brand),
            messages=messages,
        )

    def _brand(self, key: str) -> Brand:
        found = self._brands.get(key)
        if found is None:
            found = self._brands[key] = Brand(key)
        return found

    def _case(self, key: bytes) -> Case:
        case = self._state[key]
        assert isinstance(case, Case)
        return case


def _without_words(mention: Mention) -> Mention:
    """A mention of which only that it was made is told."""
    return msgspec.structs.replace(mention, event=msgspec.structs.replace(mention.event, text=None))


def _names(touchpoint: str) -> tuple[str, ...]:
    """The series a mention is counted in."""
    return (ALL,) if touchpoint == "none" else (touchpoint, ALL)


def _moment(minute: int, now: float) -> float:
    """Now, in its minute; of a minute that is over, its last second."""
    return min(now, minute * 60.0 + 59.0)


def _parts(key: bytes) -> tuple[str, AlertKind]:
    brand, _, kind = key.decode().partition("|")
    return brand, "delight" if kind == "delight" else "gap"
