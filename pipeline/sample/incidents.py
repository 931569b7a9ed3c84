"""What happens in the sample's day beside the ordinary: two letdowns and a delight."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pipeline.sample.texts import Cue


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that sets people talking.

    Attributes:
        brand: Key of the brand it happens to.
        touchpoint: The touchpoint most of the talk is about.
        cue: The cue of its texts.
        onset: When the talk begins.
    """

    brand: str
    touchpoint: str
    cue: Cue
    onset: datetime


@dataclass(frozen=True, slots=True)
class Shape:
    """How an incident runs.

    Attributes:
        brand, touchpoint, cue: As of `Incident`.
        begins: Where in the day it begins, as a share of it.
        share: Its share of all events.
        reposts: Share of reposts among its events.
        delay: Draws how long after the onset a post comes, in minutes of a 24-hour day.
    """

    brand: str
    touchpoint: str
    cue: Cue
    begins: float
    share: float
    reposts: float
    delay: Callable[[random.Random], float]

    def onset(self, end: datetime, hours: float) -> datetime:
        """When it begins in the day of `hours` hours before `end`."""
        return end - timedelta(hours=hours * (1.0 - self.begins))

    def times(self, rng: random.Random, end: datetime, hours: float, count: int) -> list[datetime]:
        """When its `count` events come, in no order; none after `end`."""
        onset = self.onset(end, hours)
        times: list[datetime] = []
        while len(times) < count:
            at = onset + timedelta(minutes=self.delay(rng) * hours / 24.0)
            if at <= end:
                times.append(at)
        return times


SHAPES: Final = (
    # Within a quarter of an hour the whole town knows; some still post at midnight.
    Shape(
        brand="larkbasket",
        touchpoint="delivery",
        cue="delivery-incident",
        begins=0.70,
        share=0.060,
        reposts=0.55,
        delay=lambda rng: rng.lognormvariate(3.8, 1.0),
    ),
    # One bill after another is opened.
    Shape(
        brand="sorrelbox",
        touchpoint="marketing",
        cue="broken-promise",
        begins=0.45,
        share=0.042,
        reposts=0.5,
        delay=lambda rng: rng.gammavariate(2.2, 75.0),
    ),
    Shape(
        brand="brambleday",
        touchpoint="product",
        cue="delight",
        begins=0.85,
        share=0.027,
        reposts=0.45,
        delay=lambda rng: rng.gammavariate(2.0, 28.0),
    ),
)


def incidents(end: datetime, hours: float = 24.0) -> list[Incident]:
    """The incidents of the day that `sample_day` gives for `end` and `hours`, earliest first."""
    found = [
        Incident(shape.brand, shape.touchpoint, shape.cue, shape.onset(end, hours))
        for shape in SHAPES
    ]
    return sorted(found, key=lambda incident: incident.onset)
