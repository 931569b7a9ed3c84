"""Simulated talk: minute counts of one series, quiet to busy, with rhythm, scatter, bursts, trend.

What is simulated is negative-gap mentions of a brand at a touchpoint. Everything follows from a
seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Rates = npt.NDArray[np.float64]

HOUR: Final = 60
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY

KINDS: Final = {
    "quiet": "0.2 to 2 an hour",
    "busy": "20 to 2,000 an hour, scatter of 10 to 25 % from hour to hour",
    "bursty": "2 to 200 an hour, the rate wanders, posts set off cascades of answers",
    "trending": "5 to 500 an hour, up to 3 % more or less each day, two odd days",
    "shifting": "5 to 500 an hour, once and for good 1.5 to 3 times as many",
}
"""Kinds of series, in words."""

SHIFT_TOLD: Final = 2 * DAY
"""An alarm so soon after a lasting shift is no false one."""

SHAPES: Final = ("step", "ramp", "burst")
SIZES: Final = {"small": (1.0, 15.0), "medium": (3.0, 40.0), "large": (10.0, 150.0)}
"""Extra mentions an hour: so many times the usual rate, and so many."""

STEP_MINUTES: Final = 6 * HOUR
RAMP_MINUTES: Final = 3 * HOUR
BURST_MINUTES: Final = 15.0
HORIZON: Final = 12 * HOUR
"""An incident not found so long after its onset is missed."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A simulated series.

    Attributes:
        kind: One of `KINDS`.
        counts: Mentions, minute by minute.
        rate: What they were drawn around, mentions a minute.
        excused: Minutes (first, last) in which an alarm is not false.
    """

    kind: str
    counts: Counts
    rate: Rates
    excused: tuple[int, int]


def talk(seed: int, kind: str, minutes: int) -> Talk:
    """Simulate `minutes` of a series of a kind."""
    rng = np.random.default_rng(seed)
    low, high = {
        "quiet": (0.2, 2.0),
        "busy": (20.0, 2000.0),
        "bursty": (2.0, 200.0),
        "trending": (5.0, 500.0),
        "shifting": (5.0, 500.0),
    }[kind]
    base = np.exp(rng.uniform(np.log(low), np.log(high))) / HOUR
    rate = base * _rhythm(rng, minutes)
    excused = (minutes, minutes)
    if kind == "quiet":
        rate = rate * _scatter(rng, minutes, 15, 0.2)
    elif kind == "busy":
        rate = rate * _scatter(rng, minutes, HOUR, rng.uniform(0.01, 0.06))
    elif kind == "bursty":
        rate = rate * _wander(rng, minutes, rng.uniform(0.2, 0.5), rng.uniform(2, 6) * HOUR)
    else:
        rate = rate * _scatter(rng, minutes, HOUR, rng.uniform(0.01, 0.04))
    if kind == "trending":
        rate = rate * np.exp(np.arange(minutes) / DAY * rng.uniform(-0.03, 0.03))
        for day in rng.choice(minutes // DAY, 2, replace=False):
            rate[day * DAY : (day + 1) * DAY] *= rng.uniform(0.4, 1.5)
    if kind == "shifting":
        when = int(rng.uniform(0.4, 0.9) * minutes)
        rate[when:] *= rng.uniform(1.5, 3.0)
        excused = (when, when + SHIFT_TOLD)
    counts = rng.poisson(rate)
    if kind == "bursty":
        counts = counts + _cascades(rng, rate)
    return Talk(kind, counts.astype(np.int64), rate, excused)


def incident(seed: int, usual: float, shape: str, size: str) -> Counts:
    """Extra mentions of an incident, minute by minute from its onset on.

    Args:
        seed: Of the random numbers.
        usual: Mentions a minute without it.
        shape: `step`: at once so many more, for six hours; `ramp`: growing over three hours, then
            steady; `burst`: one step-hour's mentions at once, fading over a quarter of an hour.
        size: One of `SIZES`.
    """
    times, more = SIZES[size]
    extra = times * usual + more / HOUR
    at = np.arange(HORIZON)
    if shape == "step":
        rate = np.where(at < STEP_MINUTES, extra, 0.0)
    elif shape == "ramp":
        rate = extra * np.minimum(1.0, (at + 0.5) / RAMP_MINUTES) * (at < 2 * STEP_MINUTES)
    else:
        rate = extra * HOUR / BURST_MINUTES * np.exp(-at / BURST_MINUTES)
    return np.random.default_rng(seed).poisson(rate).astype(np.int64)


def _rhythm(rng: np.random.Generator, minutes: int) -> Rates:
    """Day and week, 1 on average or so."""
    hour = np.arange(minutes) / HOUR
    swing, peak, second = rng.uniform(0.3, 0.9), rng.uniform(8, 22), rng.uniform(0.0, 0.3)
    day = 1 + swing * np.cos((hour - peak) * 2 * np.pi / 24)
    day = day + second * np.cos((hour - rng.uniform(0, 12)) * 4 * np.pi / 24)
    weekend = np.where((hour // 24) % 7 >= 5, rng.uniform(0.5, 1.1), 1.0)
    rhythm: Rates = np.maximum(0.05, day) * weekend
    return rhythm


def _scatter(rng: np.random.Generator, minutes: int, every: int, variance: float) -> Rates:
    """A new factor every so many minutes, of mean 1."""
    factors = rng.gamma(1 / variance, variance, minutes // every + 1)
    return np.repeat(factors, every)[:minutes]


def _wander(rng: np.random.Generator, minutes: int, deviation: float, memory: float) -> Rates:
    """A factor that wanders: log-normal, forgetting over `memory` minutes."""
    keep = np.exp(-10 / memory)
    shocks = rng.normal(0, deviation * np.sqrt(1 - keep**2), minutes // 10 + 1)
    state = np.empty_like(shocks)
    now = rng.normal(0, deviation)
    for at, shock in enumerate(shocks):
        now = keep * now + shock
        state[at] = now
    return np.repeat(np.exp(state - deviation**2 / 2), 10)[:minutes]


def _cascades(rng: np.random.Generator, rate: Rates) -> Counts:
    """A post in fifty sets off answers: a heavy-tailed number, over half an hour or so."""
    minutes = len(rate)
    extra = np.zeros(minutes, dtype=np.int64)
    for start in np.repeat(np.arange(minutes), rng.poisson(rate / 50)):
        answers = min(60, int(2 * (1 + rng.pareto(2.0))))
        at = start + rng.exponential(20.0, answers).astype(np.int64)
        np.add.at(extra, at[at < minutes], 1)
    return extra
