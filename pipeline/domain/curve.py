"""The counts around an alert, step by step, for a picture of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from pipeline.records import Curve

BEFORE_MINUTES: Final = 120
"""So much of what came before the onset is in the picture."""

REACHES_BACK_MINUTES: Final = 300
"""Minutes for which a detector can say what was seen."""

STEP_MINUTES: Final = 3
STEPS: Final = 60
"""Most steps; where there would be more, two become one."""

Measure = Callable[[int, int], tuple[int, float]]
"""Mentions seen and expected in the window that ends with a minute: (minute, length)."""


class Steps(msgspec.Struct, array_like=True):
    """The curve so far, in whole steps.

    Attributes:
        start: Its first minute (number since the epoch).
        length: Minutes a step.
        seen, expected: Mentions in each step.
    """

    start: int
    length: int = STEP_MINUTES
    seen: list[int] = msgspec.field(default_factory=list)
    expected: list[float] = msgspec.field(default_factory=list)

    @classmethod
    def around(cls, onset: int, minute: int) -> Steps:
        """A curve for what began at `onset` and is noticed at `minute`."""
        return cls(max(onset - BEFORE_MINUTES, minute - REACHES_BACK_MINUTES + 1))

    def extend(self, minute: int, measure: Measure) -> None:
        """Add the steps that are over before `minute`."""
        while self._next + self.length <= minute:
            seen, expected = measure(self._next + self.length - 1, self.length)
            self.seen.append(seen)
            self.expected.append(round(expected, 2))
            if len(self.seen) >= STEPS - 2:
                self.length *= 2
                self.seen = [sum(self.seen[at : at + 2]) for at in range(0, len(self.seen), 2)]
                self.expected = [
                    round(sum(self.expected[at : at + 2]), 2)
                    for at in range(0, len(self.expected), 2)
                ]

    def drawn(self, minute: int, measure: Measure) -> Curve:
        """The curve up to and with `minute`, the running step as far as it has come."""
        length = minute - self._next + 1
        seen, expected = measure(minute, length) if length > 0 else (0, 0.0)
        return Curve(
            start=datetime.fromtimestamp(self.start * 60, UTC),
            step_minutes=self.length,
            seen=(*self.seen, seen),
            expected=(*self.expected, round(expected, 2)),
        )

    @property
    def _next(self) -> int:
        return self.start + self.length * len(self.seen)
