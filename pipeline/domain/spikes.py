"""Spikes of negative-gap talk: what a series' own past led to expect, against what is seen.

Pure and streaming: counts in, judgement out, no look ahead. A series is one brand's negative-gap
mentions at one touchpoint, or at all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt
from typing import Final

import msgspec

MINUTES_PER_HOUR: Final = 60
RECENT_MINUTES: Final = 180
"""Minutes kept one by one: the longest window, and an hour for what arrives late."""

BASELINE_HOURS: Final = 7 * 24
"""Hours of past that set the expectation."""

WARM_HOURS: Final = 6
"""Below so many hours of past a series is cold."""

PRIOR_HOURS: Final = 2.0
PRIOR_RATE: Final = 4.0
"""A cold series is taken to have seen two hours at four mentions an hour: enough that a first
handful of complaints is no alert, little enough that a day of real history outweighs it."""

LEAST_DISPERSION: Final = 0.05
"""Talk is never as regular as Poisson: people answer each other."""


class Counts(msgspec.Struct, array_like=True):
    """A series' past.

    Attributes:
        since: First hour counted (number since the epoch); hours without mentions count as zero.
        minutes: Recent minutes to mentions.
        hours: Hours to mentions.
        excluded: Hours in which a spike was open: no part of what is usual.
    """

    since: int
    minutes: dict[int, int] = msgspec.field(default_factory=dict)
    hours: dict[int, int] = msgspec.field(default_factory=dict)
    excluded: list[int] = msgspec.field(default_factory=list)

    def count(self, minute: int) -> None:
        """Add a mention at `minute` (number since the epoch)."""
        self.minutes[minute] = self.minutes.get(minute, 0) + 1
        hour = minute // MINUTES_PER_HOUR
        self.hours[hour] = self.hours.get(hour, 0) + 1

    def seen(self, minute: int, window: int) -> int:
        """Mentions in the `window` minutes that end with `minute`."""
        counts = self.minutes
        return sum(counts.get(m, 0) for m in range(minute - window + 1, minute + 1))

    def first(self, minute: int, window: int) -> int:
        """First minute with a mention in the `window` minutes that end with `minute`."""
        for m in range(minute - window + 1, minute + 1):
            if self.minutes.get(m):
                return m
        return minute

    def exclude(self, hour: int) -> None:
        """Keep `hour` out of the expectation."""
        if hour not in self.excluded:
            self.excluded.append(hour)

    def forget(self, minute: int) -> None:
        """Drop what no judgement at `minute` or later needs."""
        if len(self.minutes) > RECENT_MINUTES // 2:
            oldest = minute - RECENT_MINUTES
            self.minutes = {m: n for m, n in self.minutes.items() if m > oldest}
        oldest_hour = baseline_hour(minute, RECENT_MINUTES) - BASELINE_HOURS
        if any(h < oldest_hour for h in self.hours):
            self.hours = {h: n for h, n in self.hours.items() if h >= oldest_hour}
            self.excluded = [h for h in self.excluded if h >= oldest_hour]


class Baseline(msgspec.Struct, frozen=True, array_like=True):
    """What is usual: mean mentions an hour, and how much more they vary than Poisson counts.

    Attributes:
        before: The hour (number since the epoch) before which the past was looked at.
        hourly: Mean mentions an hour.
        dispersion: φ of the negative binomial: variance = mean + φ · mean².
        cold: The past is shorter than `WARM_HOURS`.
    """

    before: int
    hourly: float
    dispersion: float
    cold: bool


def baseline_hour(minute: int, window: int) -> int:
    """The hour that holds the start of the `window` minutes ending with `minute`."""
    return (minute - window + 1) // MINUTES_PER_HOUR


def baseline(counts: Counts, before: int) -> Baseline:
    """The expectation from the whole hours before hour `before`.

    Mean and dispersion by the method of moments, drawn towards a prior of `PRIOR_HOURS`.
    """
    first = max(counts.since, before - BASELINE_HOURS)
    past = [counts.hours.get(h, 0) for h in range(first, before) if h not in counts.excluded]
    hours = len(past)
    mean = (sum(past) + PRIOR_RATE * PRIOR_HOURS) / (hours + PRIOR_HOURS)
    squares = sum((n - mean) ** 2 for n in past) + PRIOR_HOURS * (mean + mean * mean)
    variance = squares / (hours + PRIOR_HOURS)
    spread = max(LEAST_DISPERSION, (variance - mean) / (mean * mean))
    # The mean itself is uncertain: its own relative variance adds to the dispersion.
    uncertainty = variance / (mean * mean * (hours + PRIOR_HOURS))
    return Baseline(before, mean, spread + uncertainty, cold=hours < WARM_HOURS)


def tail(at_least: int, mean: float, dispersion: float) -> float:
    """P(X ≥ at_least) for a negative binomial with variance mean + dispersion · mean².

    Summed from the tail's first term on, so that tiny probabilities keep their digits.
    """
    if at_least <= 0:
        return 1.0
    size = 1.0 / dispersion
    rise = mean / (mean + size)
    log_term = (
        lgamma(at_least + size)
        - lgamma(size)
        - lgamma(at_least + 1)
        + size * (-log1p(mean / size))
        + at_least * log(rise)
    )
    term = exp(log_term)
    total = 0.0
    count = at_least
    while True:
        total += term
        count += 1
        ratio = (count - 1 + size) / count * rise
        term *= ratio
        # `<=` also ends the sum where every term is too small for a float: the chance is 0.
        if ratio < 1 and term / (1 - ratio) <= total * 1e-9:
            return min(1.0, total)
        if total >= 1.0:
            return 1.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """How unusual a window is.

    Attributes:
        seen: Mentions in the window.
        expected: Mentions the past led to expect in it.
        probability: Chance of `seen` or more, were everything as usual.
        cold: The past is short.
    """

    seen: int
    expected: float
    probability: float
    cold: bool

    @property
    def usual_at_most(self) -> float:
        """A count nobody would remark on: two standard deviations above expectation (Poisson)."""
        return self.expected + 2 * sqrt(self.expected)


def judge(counts: Counts, usual: Baseline, minute: int, window: int) -> Judgement:
    """Judge the `window` minutes that end with `minute` against what is usual."""
    seen = counts.seen(minute, window)
    expected = usual.hourly * window / MINUTES_PER_HOUR
    # Below expectation nothing is a spike; the exact tail is not needed.
    probability = 1.0 if seen <= expected else tail(seen, expected, usual.dispersion)
    return Judgement(seen, expected, probability, usual.cold)


class Past(msgspec.Struct, array_like=True):
    """What a series has seen, and what it has learnt to expect. Opaque to all but `Detector`."""

    counts: Counts


@dataclass(frozen=True, slots=True)
class Verdict:
    """How unusual a series is at a moment.

    Attributes:
        spike: The evidence is beyond what the budget of false alarms allows by chance.
        score: Evidence on a scale of 0 to 1; 0.5 is where `spike` begins.
        probability: Chance of so much in that window, were everything as usual.
        seen: Mentions in the window with the strongest evidence.
        expected: Mentions the past led to expect in it.
        window_minutes: Length of that window.
        onset: Its first minute with a mention.
        calm: Talk is back to what is usual.
        cold: The past is too short to have learnt from: the expectation rests on a prior.
    """

    spike: bool
    score: float
    probability: float
    seen: int
    expected: float
    window_minutes: int
    onset: int
    calm: bool
    cold: bool


class Detector:
    """Judges series of counts, one at a time, as mentions arrive.

    Args:
        budget: False alarms a week allowed to one brand.
        min_mentions: Fewer in a window are never a spike.
    """

    def __init__(self, *, budget: float = 1.0, min_mentions: int = 8) -> None:
        self._chance = budget * 1e-6
        self._least = min_mentions

    def past(self, minute: int) -> Past:
        """A series known since `minute`, so far without a mention."""
        return Past(Counts(minute // MINUTES_PER_HOUR))

    def count(self, past: Past, minute: int, mentions: int = 1) -> None:
        """Add mentions at `minute`; late ones too, while their minute is kept."""
        for _ in range(mentions):
            past.counts.count(minute)

    def judge(self, past: Past, minute: int) -> Verdict:
        """Judge what was seen up to and in `minute`; learns from the time that is over."""
        counts, window = past.counts, 15
        counts.forget(minute)
        found = judge(counts, baseline(counts, baseline_hour(minute, window)), minute, window)
        spike = found.probability < self._chance and found.seen >= self._least
        if spike:
            counts.exclude(minute // MINUTES_PER_HOUR)
        evidence = log(max(found.probability, 1e-300)) / log(self._chance)
        return Verdict(
            spike=spike,
            score=evidence / (1 + evidence),
            probability=found.probability,
            seen=found.seen,
            expected=found.expected,
            window_minutes=window,
            onset=counts.first(minute, window),
            calm=found.seen <= found.usual_at_most,
            cold=found.cold,
        )

    def seen(self, past: Past, minute: int, window: int) -> int:
        """Mentions in the `window` minutes (up to 3 h) that end with `minute`."""
        return past.counts.seen(minute, window)

    def expected(self, past: Past, minute: int, window: int) -> float:
        """Mentions expected in the `window` minutes that end with `minute`."""
        usual = baseline(past.counts, baseline_hour(minute, window))
        return usual.hourly * window / MINUTES_PER_HOUR
