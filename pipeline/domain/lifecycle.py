"""The life of an alert: firing, perhaps escalated, resolved; and what is told of it, and when.

An alert fires when a series spikes. It escalates when it has become clearly worse than was told,
and resolves when all its series have been calm for a while. What is told is a state of the alert;
only a change of status is a message. An alert may be held back (`Alert.silenced`): by a silence,
as a relapse soon after one like it, or because there were too many messages this hour. It is
followed all the same, and told when the reason is gone; once told, only a silence holds it back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from models.labels import STAGES
from pipeline.domain.curve import Steps
from pipeline.domain.incident import Case, Incident, Span, Told, alert_id, team_of
from pipeline.domain.likeness import choose
from pipeline.domain.series import ALL, Measured
from pipeline.domain.severity import Size, unusual
from pipeline.domain.silences import Orders
from pipeline.domain.spikes import Verdict
from pipeline.domain.terms import OrdinaryTalk, distinctive
from pipeline.domain.turns import turned
from pipeline.records import Alert, AlertKind, AlertStatus, Score

FIGURES_MINUTES: Final = 15
"""An alert's figures are of the window in which it was seen, but of no shorter one than this."""

TOGETHER_MINUTES: Final = 5
"""Touchpoints that spike so soon after the first fire together with it; and so long what was told
is given time to grow, unless it becomes much worse."""

WORSE: Final = 2
"""An alert escalates when its severity has risen by so much..."""

MUCH_WORSE: Final = 3
"""...at once when by so much. One step is enough where as many again have spoken."""

RELOOK: Final = 1.25
"""Within a minute an open alert is looked at when its mentions have grown so much."""

RELAPSE_MINUTES: Final = 300
"""An incident that is over is remembered for so long; so long, too, a detector looks back."""

COOL_DOWN: Final = "cool-down"
LIMIT: Final = "limit"


class Rules(msgspec.Struct, frozen=True):
    """When talk becomes an alert; the fields mean what they do in the settings."""

    min_mentions: int
    min_share: float
    resolve_after_minutes: int
    cooldown_minutes: int
    max_messages_per_hour: int
    score_drop: float = 10.0


class Brand(msgspec.Struct, frozen=True):
    """What is known of a brand beside its mentions.

    Attributes:
        name: As shown.
        words: Its own names, in lower case: they distinguish nothing.
        rival_of: Keys of the brands that count it among their rivals.
    """

    name: str
    words: frozenset[str] = frozenset()
    rival_of: tuple[str, ...] = ()


class Desk:
    """Opens, follows and closes the incidents of one brand and kind at a moment.

    Args:
        measured: The series.
        ordinary: The brand's ordinary talk.
        score: Its advocacy score over 24 hours, where it was heard.
        messages: Messages told of the brand's alerts of other kinds this hour.
    """

    def __init__(
        self,
        rules: Rules,
        orders: Orders,
        brand: Brand,
        *,
        case: Case,
        measured: Measured,
        ordinary: Callable[[], OrdinaryTalk | None],
        score: Callable[[], Score | None],
        messages: Callable[[int], int],
    ) -> None:
        self._rules = rules
        self._orders = orders
        self._brand = brand
        self._case = case
        self._measured = measured
        self._ordinary = ordinary
        self._score = score
        self._messages = messages

    def fire(
        self, key: str, kind: AlertKind, name: str, verdict: Verdict, minute: int, moment: float
    ) -> Alert:
        """Open an incident for the series `name`, which spikes."""
        case, measured = self._case, self._measured
        onset, over = verdict.onset, case.over_until(minute)
        if over > onset:
            # What belongs to an incident that is over is no part of this one.
            onset = case.first_since(over)
        length = min(verdict.window_minutes, minute - onset + 1)
        touchpoint = name if name != ALL else measured.answers(minute, length)
        window = max(FIGURES_MINUTES, length)
        at = datetime.fromtimestamp(moment, UTC)
        identity = alert_id(key, kind, touchpoint, onset)
        score = self._score()
        alert = Alert(
            id=identity,
            notification=f"{identity}.firing",
            brand=key,
            brand_name=self._brand.name,
            touchpoint=touchpoint,
            team=team_of(touchpoint),
            status="firing",
            onset=datetime.fromtimestamp(onset * 60, UTC),
            updated=at,
            seen=0,
            expected=0.0,
            window_minutes=window,
            probability=verdict.probability,
            share=0.0,
            reach=0,
            peak=0,
            kind=kind,
            cold=verdict.cold,
            score_before=score.score if score is not None else None,
        )
        incident = Incident(
            alert,
            window=window,
            opened=minute,
            followed=minute,
            members={name: False},
            curve=Steps.around(onset, minute),
            probability=verdict.probability,
            probability_window=verdict.window_minutes,
        )
        case.begin(incident, self._brand.words)
        return self._tell(incident, "firing", self._size(incident, minute), minute, at)

    def follow(self, minute: int, moment: float, *, update: bool) -> Alert | None:
        """Look at the open incident; returns what is to be told of it, if anything.

        Args:
            minute: Up to which minute; the series are judged there.
            moment: Event time, epoch seconds.
            update: Whether new figures alone are told, and time counts that talk was calm.
        """
        case, measured = self._case, self._measured
        incident = case.open
        assert incident is not None
        incident.followed = case.followed = max(incident.followed, minute)
        incident.looked_at = incident.mentions
        told, calm = incident.alert, True
        for name, verdict in measured.judge_all(minute):
            if name in incident.members:
                incident.members[name] = verdict.calm
                calm = calm and verdict.calm
                if verdict.probability < incident.probability:
                    incident.probability = verdict.probability
                    incident.probability_window = verdict.window_minutes
            elif name == ALL:
                calm = calm and not verdict.spike
            elif measured.is_spike(name, verdict, minute):
                self._join(incident, name, verdict, minute)
                calm = False
        if not calm:
            self._name(incident, minute)
        at = datetime.fromtimestamp(moment, UTC)
        size = self._size(incident, minute)
        if not incident.taken_on and self._orders.acknowledgement_of(told) is not None:
            incident.taken_on = size.severity
        if not calm:
            incident.quiet_since = None
        elif update and incident.quiet_since is None:
            incident.quiet_since = minute
        since = incident.quiet_since
        if update and since is not None and minute - since >= self._rules.resolve_after_minutes:
            return self._resolve(incident, size, minute, at)
        status = told.status
        if status == "firing" and _has_worsened(incident, size, minute):
            # What is over the limit waits; the figures it would tell are told all the same.
            waits = incident.sent and self._is_over_limit(minute)
            status = "firing" if waits else "escalated"
        if status == told.status and incident.alert.touchpoint == told.touchpoint and not update:
            return None
        alert = self._tell(incident, status, size, minute, at)
        same = msgspec.structs.replace(told, updated=alert.updated, changed=alert.changed)
        return None if alert == same else alert

    def _join(self, incident: Incident, name: str, verdict: Verdict, minute: int) -> None:
        """Take in a touchpoint that spikes too."""
        known = incident.touchpoints
        incident.members[name] = False
        late = minute - incident.opened >= TOGETHER_MINUTES
        # Where the brand as a whole spiked, this may only have become clear.
        if late and name not in known and (known or verdict.onset > incident.opened):
            incident.joined_late = True
        # From now on its figures may be of another series: growth is measured anew.
        incident.first_seen = max(incident.first_seen, self._size(incident, minute).seen)

    def _name(self, incident: Incident, minute: int) -> None:
        """Name it by the touchpoint that answers for most of it, once that is clear."""
        alert, members = incident.alert, incident.members
        since = max(incident.window, min(minute - incident.onset + 1, RELAPSE_MINUTES))
        leader = self._measured.answers(minute, since)
        if leader not in (ALL, alert.touchpoint) and (alert.touchpoint == ALL or leader in members):
            incident.alert = alert = msgspec.structs.replace(
                alert, touchpoint=leader, team=team_of(leader)
            )
        if ALL in members and alert.touchpoint != ALL and alert.touchpoint in members:
            # It was the brand as a whole only until this became clear.
            del members[ALL]
            incident.curve = Steps.around(incident.onset, minute)

    def _resolve(self, incident: Incident, size: Size, minute: int, at: datetime) -> Alert:
        case = self._case
        alert = self._tell(incident, "resolved", size, minute, at)
        oldest = minute - RELAPSE_MINUTES
        case.over = [span for span in case.over if span.resolved > oldest]
        names = incident.touchpoints or [ALL]
        case.over.append(Span(names, incident.onset, minute, incident.worst))
        case.open, case.posts = None, []
        return alert

    def _size(self, incident: Incident, minute: int) -> Size:
        measured, window = self._measured, incident.window
        name = incident.measured
        seen, expected = measured.measure(name, minute, window)
        share, usual_share = measured.share(seen, expected, minute, window)
        third = max(1, window // 3)
        return Size(
            seen=seen,
            expected=expected,
            share=share,
            usual_share=0.0 if incident.alert.cold else usual_share,
            reach=incident.crowd.reach,
            lately=measured.seen(name, minute, third),
            before=measured.seen(name, minute - third, third),
        )

    def _tell(
        self, incident: Incident, status: AlertStatus, size: Size, minute: int, at: datetime
    ) -> Alert:
        """The alert as it is to be told now; the incident remembers it."""
        before, mentions = incident.alert, incident.mentions
        first = not incident.told.minute
        severity = size.severity if status != "resolved" else incident.worst
        if severity > incident.worst:
            incident.worst, incident.worst_reason = severity, size.reason
        if first:
            incident.first_seen, incident.first_severity = size.seen, severity
        incident.curve.extend(minute, self._measure_of(incident))
        score = self._score()
        taken = self._orders.acknowledgement_of(before)
        alert = msgspec.structs.replace(
            before,
            notification=f"{before.id}.{status}",
            status=status,
            updated=at,
            touchpoints=self._strongest_first(incident, minute),
            seen=size.seen,
            expected=round(size.expected, 2),
            probability=incident.probability,
            share=round(size.share, 4),
            usual_share=round(size.usual_share, 4) if size.usual_share else None,
            reach=size.reach,
            authors=incident.crowd.authors,
            peak=max(before.peak, size.seen),
            severity=severity,
            severity_reason=size.reason if status != "resolved" else incident.worst_reason,
            unusual=unusual(incident.probability, incident.probability_window, cold=before.cold),
            stages=dict(zip(STAGES, incident.stages, strict=True)),
            score_now=score.score if score is not None else None,
            terms=distinctive(incident.terms, incident.texts, self._ordinary()),
            posts=choose(self._case.posts),
            curve=incident.curve.drawn(minute, self._measure_of(incident)),
            acknowledged=taken.author if taken is not None else None,
        )
        alert = msgspec.structs.replace(alert, silenced=self._held_back(incident, alert, minute))
        changed = "" if first else "; ".join(self._changes(incident, before, alert, minute))
        turns = turned(None if first else before, alert)
        incident.alert = alert = msgspec.structs.replace(alert, changed=changed, turns=turns)
        if first or status != before.status:
            incident.told = Told(minute, mentions, severity, incident.touchpoints)
        return alert

    def _held_back(self, incident: Incident, alert: Alert, minute: int) -> str | None:
        """What keeps an alert from being sent; notes what is sent."""
        silence = self._orders.silence_of(alert, alert.updated)
        if alert.status == "resolved" and not incident.sent:
            return silence.id if silence is not None else alert.silenced
        # What was opened is closed, whatever is silenced meanwhile.
        if silence is not None and alert.status != "resolved":
            return silence.id
        if not incident.sent and self._is_relapse(incident, alert, minute):
            return COOL_DOWN
        if not incident.sent and self._is_over_limit(minute):
            return LIMIT
        if incident.sent != alert.status:
            incident.sent = alert.status
            self._case.messages.append(minute)
        return None

    def _is_over_limit(self, minute: int) -> bool:
        messages = self._case.messages
        messages[:] = [told for told in messages if told > minute - 60]
        return len(messages) + self._messages(minute) >= self._rules.max_messages_per_hour

    def _is_relapse(self, incident: Incident, alert: Alert, minute: int) -> bool:
        """Whether one like it, and no less severe, resolved a moment ago."""
        names = set(incident.touchpoints or [ALL])
        return any(
            minute - span.resolved < self._rules.cooldown_minutes
            and names <= set(span.touchpoints)
            and alert.severity <= span.severity
            for span in self._case.over
        )

    def _changes(self, incident: Incident, before: Alert, alert: Alert, minute: int) -> list[str]:
        """What changed since the status last did, in words; of silences, since last told."""
        told, words = incident.told, []
        if alert.status == "resolved":
            return [
                f"back to usual for {self._rules.resolve_after_minutes} minutes",
                f"{incident.mentions:,} posts in all",
            ]
        if more := incident.mentions - told.mentions:
            posts = "post" if more == 1 else "posts"
            words.append(f"{more:,} more {posts} in {_minutes(minute - told.minute)}")
        joined = [name for name in incident.touchpoints if name not in told.touchpoints]
        if joined:
            words.append(
                f"touchpoint{'s' if len(joined) > 1 else ''} {' and '.join(joined)} joined"
            )
        if alert.severity != told.severity:
            way = "up" if alert.severity > told.severity else "down"
            words.append(f"severity {way} from {told.severity} to {alert.severity}")
        if alert.silenced != before.silenced:
            words.append(self._silence_in_words(before, alert))
        if alert.acknowledged and alert.acknowledged != before.acknowledged:
            words.append(f"taken on by {alert.acknowledged}")
        return words

    def _silence_in_words(self, before: Alert, alert: Alert) -> str:
        if alert.silenced is None:
            return "no longer silenced"
        silence = self._orders.silence(alert.silenced)
        if silence is None:
            return (
                "quiet: too soon after one like it"
                if alert.silenced == COOL_DOWN
                else "quiet: too many messages this hour"
            )
        until = silence.end.astimezone(UTC)
        comment = f": {silence.comment}" if silence.comment else ""
        return f"silenced until {until:%Y-%m-%d %H:%M} UTC by {silence.author}{comment}"

    def _strongest_first(self, incident: Incident, minute: int) -> tuple[str, ...]:
        names = incident.touchpoints
        if len(names) < 2:
            return ()

        def beyond(name: str) -> float:
            seen, expected = self._measured.measure(name, minute, incident.window)
            return seen - expected

        return tuple(sorted(names, key=lambda name: -beyond(name)))

    def _measure_of(self, incident: Incident) -> Callable[[int, int], tuple[int, float]]:
        """What the curve is of: the series it opened with."""
        name = next(iter(incident.members))
        return lambda minute, length: self._measured.measure(name, minute, length)


def _has_worsened(incident: Incident, size: Size, minute: int) -> bool:
    """Whether an alert has become clearly worse than was told; a flicker is no change."""
    risen = size.severity - incident.first_severity
    if incident.taken_on:
        return size.severity >= incident.taken_on + WORSE
    if risen >= MUCH_WORSE:
        return True
    if minute - incident.opened < TOGETHER_MINUTES:
        return False
    doubled = size.seen >= 2 * incident.first_seen
    return incident.joined_late or risen >= WORSE or (risen >= 1 and doubled)


def _minutes(minutes: int) -> str:
    """`a minute`, `12 minutes`, `3 h 5 min`."""
    if minutes <= 1:
        return "a minute"
    hours, rest = divmod(minutes, 60)
    return f"{minutes} minutes" if not hours else f"{hours} h {rest} min"
