"""The rules people watch counts with, as statistics: an alarm is a value above some threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.talk import DAY, HOUR, WEEK, Counts

Values = npt.NDArray[np.float64]

REST: Final = 4 * HOUR
"""Alarms nearer than this to the one before are the same alarm, for every detector."""

KEPT_SHARE: Final = 0.01
"""Highest values of a statistic that are kept for tuning: a hundredth."""

RULES: Final = {
    f"{name}, {bucket} min": (name, bucket)
    for name in ("moving average × σ", "EWMA chart", "EARS C2")
    for bucket in (1, 5, 15, 60)
} | {"Poisson CUSUM, 1 min": ("Poisson CUSUM", 1)}
"""Rule and length of its bucket in minutes, by name."""


@dataclass(frozen=True, slots=True)
class Exceedances:
    """Some values of a statistic, with the minutes at whose end they are known."""

    minutes: npt.NDArray[np.int64]
    values: Values


def statistic(rule: str, bucket: int, counts: Counts) -> Values:
    """A rule's statistic at the end of each whole bucket; 0 before it has a past to look at."""
    x = counts[: len(counts) // bucket * bucket].reshape(-1, bucket).sum(axis=1).astype(float)
    if rule == "moving average × σ":
        mean, deviation = _trailing(x, DAY // bucket, lag=0)
        return (x - mean) / deviation
    if rule == "EWMA chart":
        weight = 0.3
        smooth = _smoothed(x, weight)
        mean, deviation = _trailing(x, WEEK // bucket, lag=0)
        return (smooth - mean) / (deviation * np.sqrt(weight / (2 - weight)))
    if rule == "EARS C2":
        mean, deviation = _trailing(x, 7, lag=2)
        return (x - mean) / deviation
    return _cusum(x)


def _trailing(x: Values, length: int, lag: int) -> tuple[Values, Values]:
    """Mean and deviation of the `length` values that end `lag` values before each.

    A deviation below that of Poisson counts, or half a mention, is taken for that.
    """
    sums = np.concatenate([[0.0], np.cumsum(x)])
    squares = np.concatenate([[0.0], np.cumsum(x * x)])
    end = np.maximum(np.arange(len(x)) - lag, 0)
    start = np.maximum(end - length, 0)
    many = np.maximum(end - start, 1)
    mean = (sums[end] - sums[start]) / many
    variance = (squares[end] - squares[start]) / many - mean * mean
    return mean, np.sqrt(np.maximum(variance, np.maximum(mean, 0.25)))


def _smoothed(x: Values, weight: float) -> Values:
    kernel = weight * (1 - weight) ** np.arange(40)
    return np.convolve(x, kernel)[: len(x)]


def _cusum(x: Values) -> Values:
    """Log-likelihood ratio of twice the usual rate, since it was last least.

    Usual is the mean of that hour of day over the fortnight before: better than the textbook's
    constant.
    """
    hours = x[: len(x) // HOUR * HOUR].reshape(-1, HOUR).sum(axis=1)
    usual = np.full(len(hours) + 1, np.nan)
    days = [
        np.concatenate([np.full(24 * d, np.nan), hours])[: len(hours) + 1] for d in range(1, 15)
    ]
    padded = [np.pad(day, (0, len(usual) - len(day)), constant_values=np.nan) for day in days]
    with np.errstate(all="ignore"):
        known = np.sum(~np.isnan(padded), axis=0)
        usual = np.nansum(padded, axis=0) / np.maximum(known, 1)
    mean = np.repeat(np.maximum(usual / HOUR, 1 / DAY), HOUR)[: len(x)]
    walk = np.cumsum(x * np.log(2.0) - mean)
    ratio: Values = walk - np.minimum.accumulate(np.minimum(walk, 0.0))
    return ratio


def exceedances(rule: str, bucket: int, counts: Counts, start: int, end: int) -> Exceedances:
    """The highest values over some minutes."""
    values = statistic(rule, bucket, counts)
    minutes = (np.arange(len(values)) + 1) * bucket
    inside = (minutes > start) & (minutes <= end)
    minutes, values = minutes[inside], values[inside]
    least = np.quantile(values, 1 - KEPT_SHARE) if len(values) else 0.0
    high = values >= least
    return Exceedances(minutes[high], values[high])


def records(rule: str, bucket: int, counts: Counts, onset: int) -> Exceedances:
    """The values from `onset` on that are higher than all before, minutes counted from it."""
    values = statistic(rule, bucket, counts)
    minutes = (np.arange(len(values)) + 1) * bucket - onset
    minutes, values = minutes[minutes > 0], values[minutes > 0]
    highest = np.maximum.accumulate(values)
    new = np.concatenate([[True], highest[1:] > highest[:-1]])
    return Exceedances(minutes[new], values[new])


def onsets(found: Exceedances, threshold: float) -> int:
    """Alarms at a threshold."""
    minutes = found.minutes[found.values >= threshold]
    return int(len(minutes) and 1 + np.sum(np.diff(minutes) >= REST))


def tuned(series: Iterable[Exceedances], alarms: float) -> float:
    """The lowest threshold at which no more than `alarms` are raised in all."""
    series = list(series)
    levels = np.unique(np.concatenate([one.values for one in series]))
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        if sum(onsets(one, levels[middle]) for one in series) <= alarms:
            high = middle
        else:
            low = middle + 1
    return float(levels[low]) if low < len(levels) else float(np.nextafter(levels[-1], np.inf))
