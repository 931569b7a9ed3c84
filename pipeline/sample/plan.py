"""When what kind of event comes in the sample's day."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, Literal

from pipeline.sample.incidents import SHAPES, Shape

Kind = Literal["post", "repost", "answer", "wordless", "noise", "unbranded"]

_MIX: Final[dict[Kind, float]] = {
    "post": 0.573,
    "repost": 0.130,
    "answer": 0.065,
    "wordless": 0.175,
    "noise": 0.023,
    "unbranded": 0.034,
}
"""Shares of the kinds of event, incidents apart."""

_BY_HOUR: Final = (
    8, 5, 3, 3, 3, 5, 12, 24, 32, 32, 30, 33, 38, 34, 30, 30, 33, 40, 50, 55, 52, 44, 30, 16,
)  # fmt: skip
"""Relative activity by hour of the day (UTC)."""

_SLOTS_PER_HOUR: Final = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One event to come: when, of what kind, and of which incident if any."""

    at: datetime
    kind: Kind
    shape: Shape | None = None


def plan(rng: random.Random, end: datetime, events: int, hours: float) -> list[Step]:
    """When what kind of event comes, in order; the last at `end`."""
    steps = []
    for shape in SHAPES:
        for at in shape.times(rng, end, hours, round(events * shape.share)):
            kind: Kind = "repost" if rng.random() < shape.reposts else "post"
            steps.append(Step(at, kind, shape))
    ordinary = events - len(steps)
    kinds = rng.choices(list(_MIX), list(_MIX.values()), k=ordinary)
    steps += map(Step, _rhythm(rng, end, hours, ordinary), kinds)
    steps.sort(key=lambda step: step.at)
    if steps:
        steps[-1] = Step(end, steps[-1].kind, steps[-1].shape)
    return steps


def _rhythm(rng: random.Random, end: datetime, hours: float, count: int) -> list[datetime]:
    """Times of ordinary events: more by day and in the evening than at night."""
    slots = max(1, round(hours * _SLOTS_PER_HOUR))
    slot = timedelta(hours=hours / slots)
    start = end - timedelta(hours=hours)
    weights = [_activity(start + slot * (number + 0.5)) for number in range(slots)]
    cumulated = list(accumulate(weights))
    times = []
    for _ in range(count):
        number = min(bisect_left(cumulated, rng.random() * cumulated[-1]), slots - 1)
        times.append(start + slot * (number + rng.random()))
    return times


def _activity(at: datetime) -> float:
    """Relative activity at a time, between the values of the hours around it."""
    here, there = _BY_HOUR[at.hour], _BY_HOUR[(at.hour + 1) % 24]
    return here + (there - here) * at.minute / 60.0
