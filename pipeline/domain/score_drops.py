"""Falls of a brand's advocacy score: alerts of the kind `score`.

They rest on the scores as published, hour by hour, not on the log of mentions: a replay that does
not hear every score may miss a fall.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import erfc, hypot, sqrt
from typing import Final

import msgspec

from pipeline.domain.incident import alert_id
from pipeline.domain.lifecycle import Brand
from pipeline.domain.series import ALL
from pipeline.domain.severity import WORST, unusual
from pipeline.domain.silences import Orders
from pipeline.domain.turns import turned
from pipeline.records import Alert, AlertStatus, Score

WINDOW: Final = "24h"
WINDOW_HOURS: Final = 24
KEPT_HOURS: Final = 48

RECOVERED: Final = 0.5
"""An alert resolves when so much of the drop asked for is left, or after a day: what has lasted so
long is how things are."""


class Then(msgspec.Struct, array_like=True):
    """A score as it was."""

    score: float
    margin: float
    mentions: int


class Course(msgspec.Struct, array_like=True, tag="score"):
    """A brand's score over 24 hours, hour by hour, and the alert open for its fall.

    Attributes:
        hours: Hour (number since the epoch) to the last score heard in it.
        open: The open alert, as last told.
        before: The score it fell from.
    """

    hours: dict[int, Then] = msgspec.field(default_factory=dict)
    open: Alert | None = None
    before: Then | None = None

    def look(
        self, key: str, brand: Brand, score: Score, drop: float, orders: Orders
    ) -> Alert | None:
        """Take in a score; returns the alert to tell, if it fell, recovered or moved.

        Args:
            key: The brand's.
            score: Its score over 24 hours.
            drop: Points, beyond the margin of the difference, from which on a fall is an alert.
        """
        if score.score is None or score.margin is None or score.few:
            return None
        hour = int(score.as_of.timestamp() // 3600)
        now = Then(score.score, score.margin, score.mentions)
        self.hours[hour] = now
        self.hours = {h: then for h, then in self.hours.items() if h > hour - KEPT_HOURS}
        before = self.before or self._a_window_ago(hour)
        if before is None:
            return None
        margin = hypot(before.margin, now.margin)
        beyond = before.score - now.score - margin
        status: AlertStatus = "firing"
        if self.open is None:
            if beyond <= drop:
                return None
            onset = int(score.as_of.timestamp() // 60)
            self.before = before
        else:
            onset = int(self.open.onset.timestamp() // 60)
            if beyond < RECOVERED * drop or onset // 60 + WINDOW_HOURS <= hour:
                status = "resolved"
        told = self._told(key, brand, score, onset, status, before, margin, beyond)
        silence = orders.silence_of(told, told.updated)
        taken = orders.acknowledgement_of(told)
        told = msgspec.structs.replace(
            told,
            silenced=silence.id if silence is not None else None,
            acknowledged=taken.author if taken is not None else None,
        )
        told = msgspec.structs.replace(told, turns=turned(self.open, told))
        last, self.open = self.open, told if status == "firing" else None
        if status == "resolved":
            self.before = None
        if last is not None and told == msgspec.structs.replace(last, updated=told.updated):
            return None
        return told

    def _a_window_ago(self, hour: int) -> Then | None:
        """The newest score whose window does not overlap with the present one."""
        past = [h for h in self.hours if h <= hour - WINDOW_HOURS]
        return self.hours[max(past)] if past else None

    def _told(
        self,
        key: str,
        brand: Brand,
        score: Score,
        onset: int,
        status: AlertStatus,
        before: Then,
        margin: float,
        beyond: float,
    ) -> Alert:
        assert score.score is not None
        identity = alert_id(key, "score", ALL, onset)
        window = WINDOW_HOURS * 60
        fall = before.score - score.score
        # The margin is 1.96 standard deviations of the difference.
        chance = 0.5 * erfc(1.96 * fall / margin / sqrt(2)) if margin else 0.0
        severity = max(1, min(WORST, round(2 + beyond / 10)))
        peak = max(score.mentions, self.open.peak if self.open is not None else 0)
        return Alert(
            id=identity,
            notification=f"{identity}.{status}",
            brand=key,
            brand_name=brand.name,
            touchpoint=ALL,
            team="none",
            status=status,
            onset=datetime.fromtimestamp(onset * 60, UTC),
            updated=score.as_of,
            seen=score.mentions,
            expected=float(before.mentions),
            window_minutes=window,
            probability=chance,
            share=round(score.advocacies.get("detractor", 0) / max(1, score.mentions), 4),
            reach=0,
            peak=peak,
            kind="score",
            severity=severity if status == "firing" or self.open is None else self.open.severity,
            severity_reason=(
                f"from {before.score:+.0f} to {score.score:+.0f}, "
                f"{beyond:.0f} points more than its margin of {margin:.0f}"
            ),
            unusual=unusual(chance, window, cold=False),
            authors=score.authors,
            stages=score.stages,
            score_before=round(before.score, 1),
            score_now=round(score.score, 1),
        )
