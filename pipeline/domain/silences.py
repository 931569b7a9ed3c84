"""What people ask of alerts: to be left alone by them for a while, or to have them taken on."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from models.labels import TEAM_OF_TOUCHPOINT
from pipeline.records import Acknowledgement, Alert, Silence


class Orders:
    """The silences and acknowledgements in force, kept current by `hear` calls.

    Attributes:
        revision: Grows with every change.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._silences: dict[str, Silence] = {}
        self._acknowledged: dict[str, Acknowledgement] = {}

    def hear_silence(self, silence: Silence) -> None:
        """Take a silence, in place of an earlier one of its id."""
        self._silences[silence.id] = silence
        self.revision += 1

    def hear_acknowledgement(self, acknowledgement: Acknowledgement) -> None:
        """Take an acknowledgement, in place of an earlier one of its alert."""
        self._acknowledged[acknowledgement.alert] = acknowledgement
        self.revision += 1

    def silence_of(self, alert: Alert, at: datetime) -> Silence | None:
        """The silence that holds for an alert at a moment; of several, the one that ends last."""
        fitting = [s for s in self._silences.values() if s.start <= at < s.end and fits(s, alert)]
        return max(fitting, key=lambda silence: (silence.end, silence.id), default=None)

    def silence(self, identity: str) -> Silence | None:
        """A silence by id, in force or not."""
        return self._silences.get(identity)

    def silences(self) -> list[Silence]:
        """All silences, ended ones too."""
        return list(self._silences.values())

    def acknowledgement_of(self, alert: Alert) -> Acknowledgement | None:
        """Who took an alert on."""
        return self._acknowledged.get(alert.id)


def fits(silence: Silence, alert: Alert) -> bool:
    """Whether an alert is what a silence is about.

    An alert of several touchpoints is silenced by touchpoint or team only where that covers all of
    them: what was not silenced must be heard.
    """
    names = set(alert.touchpoints or (alert.touchpoint,))
    return (
        silence.brand in (None, alert.brand)
        and silence.alert in (None, alert.id)
        and (silence.touchpoint is None or names == {silence.touchpoint})
        and (silence.team is None or {_team(name) for name in names} == {silence.team})
    )


def new_silence_id() -> str:
    """An id for a silence, short enough to be typed."""
    return secrets.token_hex(4)


def snooze_of(
    alert: Alert, length: timedelta, now: datetime, *, author: str, comment: str
) -> Silence:
    """The silence of one alert for `length` from `now`."""
    return Silence(
        new_silence_id(),
        # From its beginning: an alert of a backlog lags behind the clock.
        alert.onset,
        max(now, alert.updated) + length,
        author=author,
        comment=comment or "snoozed",
        alert=alert.id,
    )


def in_force(silences: Iterable[Silence], at: datetime) -> list[Silence]:
    """Silences that hold at a moment or will later, the first to end first."""
    return sorted((s for s in silences if at < s.end), key=lambda s: (s.end, s.id))


def _team(touchpoint: str) -> str:
    return TEAM_OF_TOUCHPOINT.get(touchpoint, "none")
