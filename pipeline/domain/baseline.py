"""What is usual for a series: its level, the rhythm of its week, and how much its counts scatter.

Learnt slot by slot, a slot being an hour (a tick where ticks are longer), when the slot is over.
What was expected of a slot is settled before it begins and never changed: a slow swell cannot
teach the expectation it is judged by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, sqrt
from typing import Final

import msgspec

from pipeline.domain.recent import Recent

HOUR: Final = 3600.0
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 7 * DAY_HOURS

SCALES: Final = 9
WINDOWS: Final = tuple(1 << scale for scale in range(SCALES))
"""Lengths of the windows that are judged, in ticks: 1, 2, 4 … 256."""

KEPT: Final = WINDOWS[-1] + 64
"""Ticks kept one by one: the longest window, and some for what arrives late."""

LEVEL_HALF_LIFE: Final = 48.0
FAST_HALF_LIFE: Final = 8.0
"""Hours after which a mention weighs half in the level; and in the one that a lasting shift is
adopted from, which takes counts at face value."""

SCATTER_HALF_LIFE: Final = 14.0 * DAY_HOURS

WARM_HOURS: Final = 24.0
"""With less past than a day a series is cold, and its rhythm unknown."""

RHYTHM_WEEKS: Final = 5.0
"""Weeks an hour of the week averages over."""

HOUR_OF_DAY_VARIANCE: Final = 0.3
DAY_OF_WEEK_VARIANCE: Final = 0.1
HOUR_OF_WEEK_VARIANCE: Final = 0.1
DAY_NOISE: Final = 0.02
"""How far rhythms range between brands, as variances of the ratio to the level: a factor learnt
from noisy counts is drawn towards 1, an hour of the week towards its hour of day and its day, as
far as the noise exceeds that range (an empirical Bayes estimate). Whole days scatter too: no mean
over a day is trusted to less than `DAY_NOISE`."""

LEAST_RATIO: Final = 0.02
MOST_RATIO: Final = 20.0

USUAL_DISPERSION: Final = 0.2
DISPERSION_WEIGHT: Final = 4.0
DISPERSION_WINDOWS: Final = 3.0
"""The prior of the dispersion, and what it weighs: as four mentions squared, and three windows."""

LEAST_DISPERSION: Final = 0.01
"""Talk is never as regular as Poisson: people answer each other."""

CLIP: Final = 3.0
CLIP_STIRRED: Final = 1.0
CLIP_WINDOW: Final = 4.0
"""Standard deviations above expectation at which a slot's count is clipped before it is learnt;
while the series is stirred; and at which a window's is for the dispersion."""

LONGEST_ABSENCE: Final = 4.0 * WEEK_HOURS
"""Hours: of a longer silence only so much is learnt; nothing older would be left anyway."""

_UNKNOWN: Final = -1.0


@dataclass(frozen=True)
class Grid:
    """How ticks make slots, and slots hours of the week.

    Attributes:
        tick: Seconds a tick lasts.
        fading: What `fade` has worked out.
    """

    tick: float = 60.0
    fading: dict[float, float] = field(default_factory=dict, compare=False)

    @cached_property
    def slot(self) -> int:
        """Ticks in a slot."""
        return max(1, round(HOUR / self.tick))

    @cached_property
    def slot_hours(self) -> float:
        """Hours a slot lasts."""
        return self.slot * self.tick / HOUR

    @cached_property
    def back(self) -> int:
        """Slots before the running one whose expectation is kept."""
        return ceil(KEPT / self.slot) + 1

    @cached_property
    def scale(self) -> int:
        """The scale whose window is nearest to a slot."""
        return min(SCALES - 1, self.slot.bit_length() - 1)

    def hour_of_week(self, slot: int) -> int:
        """The hour of the week in which a slot begins."""
        return int(slot * self.slot * self.tick // HOUR) % WEEK_HOURS

    def ticks(self, hours: float) -> int:
        """So many hours in ticks, at least one."""
        return max(1, round(hours * HOUR / self.tick))

    def fade(self, half_life: float) -> float:
        """What is left, after a slot, of what weighs half after `half_life` hours."""
        left = self.fading.get(half_life)
        if left is None:
            left = self.fading[half_life] = 2.0 ** (-self.slot_hours / half_life)
        return left


class Usual(msgspec.Struct, array_like=True):
    """What a series has learnt to expect.

    Attributes:
        slot: The running slot (number since the epoch): the next to learn from.
        learnt: Slots learnt from.
        mentions: Mentions of the past, clipped and fading: the shape of the level's Gamma.
        slots: Slots they came in, fading alike, each as long as its rhythm is busy: its rate.
        fast_mentions: As `mentions`, fading fast and not clipped.
        fast_slots: The slots of those.
        rhythm: Ratio to the level of each hour of the week; −1 where not known yet.
        squares: Per scale, squared residuals beyond Poisson's, fading.
        weights: Per scale, what to divide them by.
        dispersion: Per scale φ of the negative binomial: variance = mean + φ · mean².
        ahead: Mentions a slot, expected of each slot from `back` before the running one to the
            next.
        sums: Mentions expected before each of those slots, since the first of them.
    """

    slot: int
    learnt: int = 0
    mentions: float = 0.0
    slots: float = 0.0
    fast_mentions: float = 0.0
    fast_slots: float = 0.0
    rhythm: list[float] = msgspec.field(default_factory=list)
    squares: list[float] = msgspec.field(default_factory=lambda: [0.0] * SCALES)
    weights: list[float] = msgspec.field(default_factory=lambda: [0.0] * SCALES)
    dispersion: list[float] = msgspec.field(default_factory=lambda: [USUAL_DISPERSION] * SCALES)
    ahead: list[float] = msgspec.field(default_factory=list)
    sums: list[float] = msgspec.field(default_factory=list)

    @property
    def level(self) -> float:
        """Mentions a slot, the rhythm apart; 0 while nothing is known."""
        return self.mentions / self.slots if self.slots else 0.0

    @property
    def doubt(self) -> float:
        """How uncertain the level is, as a dispersion: that of a Gamma of shape `mentions`."""
        return 1.0 / max(self.mentions, 0.5)


def unlearnt(grid: Grid, slot: int, rate: float | None) -> Usual:
    """What is expected with no past: `rate` mentions an hour, as if one had been seen; or nothing.

    Args:
        grid: Ticks and slots.
        slot: The slot in which the series begins.
        rate: Mentions an hour; None where counts may be of any size.
    """
    usual = Usual(slot)
    if rate is not None:
        usual.mentions = 1.0
        usual.slots = 1.0 / (rate * grid.slot_hours)
    usual.ahead = [usual.level] * (grid.back + 2)
    _sum_up(usual, grid)
    return usual


def expected_before(usual: Usual, grid: Grid, tick: int) -> float:
    """Mentions expected before `tick`; only differences mean something.

    Within a slot the rate runs straight from the middle of one slot to that of the next.
    """
    slot, ticks = divmod(tick, grid.slot)
    at = slot - usual.slot + grid.back
    if at < 0:
        return 0.0
    ahead = usual.ahead
    if at >= len(ahead) - 1:
        return usual.sums[-1] + (tick - (usual.slot + 1) * grid.slot) / grid.slot * ahead[-1]
    if ticks == 0:
        return usual.sums[at]
    here, share = ahead[at], ticks / grid.slot
    before = (ahead[at - 1] + here) / 2 if at else here
    if share <= 0.5:
        return usual.sums[at] + before * share + (here - before) * share * share
    rest = share - 0.5
    after = (here + ahead[at + 1]) / 2
    half = before / 2 + (here - before) / 4
    return usual.sums[at] + half + here * rest + (after - here) * rest * rest


def _sum_up(usual: Usual, grid: Grid) -> None:
    ahead, total = usual.ahead, 0.0
    sums = [0.0]
    for at in range(len(ahead) - 1):
        here = ahead[at]
        if grid.slot == 1:
            total += here
        else:
            total += 0.75 * here + 0.125 * ((ahead[at - 1] if at else here) + ahead[at + 1])
        sums.append(total)
    usual.sums = sums


def learn(usual: Usual, grid: Grid, recent: Recent, *, stirred: bool, floor: int) -> None:
    """Learn from the running slot, which is over, and expect the next.

    Args:
        usual: What was learnt so far.
        grid: Ticks and slots.
        recent: The counts.
        stirred: Something unusual is going on: learn with caution.
        floor: No window reaches back before this tick.
    """
    start = usual.slot * grid.slot
    end = start + grid.slot
    seen = recent.between(start, end)
    expected = expected_before(usual, grid, end) - expected_before(usual, grid, start)
    level = usual.level
    busy = expected / level if level else 1.0
    warm = usual.learnt * grid.slot_hours >= WARM_HOURS
    clipped = seen
    if level and (warm or stirred):
        spread = usual.dispersion[grid.scale] + usual.doubt
        deviation = sqrt(expected + spread * expected * expected)
        clipped = min(seen, expected + (CLIP_STIRRED if stirred else CLIP) * deviation)
    if warm:
        if not stirred:
            _learn_scatter(usual, grid, recent, expected, floor)
        _learn_rhythm(usual, grid, clipped)
    fade, fast = grid.fade(LEVEL_HALF_LIFE), grid.fade(FAST_HALF_LIFE)
    usual.mentions = usual.mentions * fade + clipped
    usual.slots = usual.slots * fade + busy
    usual.fast_mentions = usual.fast_mentions * fast + seen
    usual.fast_slots = usual.fast_slots * fast + busy
    usual.learnt += 1
    usual.slot += 1
    _look_ahead(usual, grid)


def adopt(usual: Usual, grid: Grid) -> None:
    """Take the latest hours, at face value, for the usual level."""
    usual.mentions = usual.slots * usual.fast_mentions / usual.fast_slots
    level = usual.level
    ratios = [_ratio(usual, grid, slot) for slot in range(usual.slot - grid.back, usual.slot + 2)]
    usual.ahead = [_short(level * ratio) for ratio in ratios]
    _sum_up(usual, grid)


def skip(usual: Usual, slots: int) -> None:
    """Pass over slots of a long silence."""
    usual.slot += slots


def _look_ahead(usual: Usual, grid: Grid) -> None:
    level = usual.level
    # The next slot but one is only guessed at, for the way there; it is expected anew in its turn.
    new = [_short(level * _ratio(usual, grid, usual.slot + next_)) for next_ in (0, 1)]
    usual.ahead = usual.ahead[1:-1] + new
    _sum_up(usual, grid)


def _short(number: float) -> float:
    """Four digits are enough to expect, and a third as long in the changelog."""
    return float(f"{number:.4g}")


def _learn_rhythm(usual: Usual, grid: Grid, clipped: float) -> None:
    level = usual.level
    if not level:
        return
    if not usual.rhythm:
        usual.rhythm = [_UNKNOWN] * WEEK_HOURS
    hour = grid.hour_of_week(usual.slot)
    ratio = min(MOST_RATIO, clipped / level)
    known = usual.rhythm[hour]
    if known >= 0:
        weeks = int(usual.learnt * grid.slot_hours / WEEK_HOURS) + 1.0
        ratio = known + (ratio - known) / min(RHYTHM_WEEKS, weeks)
    usual.rhythm[hour] = round(ratio, 3)


def _ratio(usual: Usual, grid: Grid, slot: int) -> float:
    """Ratio to the level that a slot is expected to have."""
    rhythm, level = usual.rhythm, usual.level
    if not rhythm or not level:
        return 1.0
    hour = grid.hour_of_week(slot)
    noise = 1.0 / level + usual.dispersion[grid.scale]
    weeks = min(RHYTHM_WEEKS, max(1.0, usual.learnt * grid.slot_hours / WEEK_HOURS))
    alike = [ratio for ratio in rhythm[hour % DAY_HOURS :: DAY_HOURS] if ratio >= 0]
    ratio = 1.0
    if alike:
        ratio *= _drawn(
            sum(alike) / len(alike), 1.0, len(alike) * weeks, noise, HOUR_OF_DAY_VARIANCE
        )
    day = hour - hour % DAY_HOURS
    of_day = [ratio for ratio in rhythm[day : day + DAY_HOURS] if ratio >= 0]
    if of_day and usual.learnt * grid.slot_hours >= WEEK_HOURS:
        day_noise = noise / len(of_day) + DAY_NOISE
        ratio *= _drawn(sum(of_day) / len(of_day), 1.0, weeks, day_noise, DAY_OF_WEEK_VARIANCE)
    if rhythm[hour] >= 0:
        ratio = _drawn(rhythm[hour], ratio, weeks, noise, HOUR_OF_WEEK_VARIANCE)
    return max(LEAST_RATIO, ratio)


def _drawn(mean: float, towards: float, times: float, noise: float, variance: float) -> float:
    """A mean of `times` noisy values, drawn towards what was to be expected of it."""
    return towards + (mean - towards) * times / (times + noise / variance)


def _learn_scatter(usual: Usual, grid: Grid, recent: Recent, expected: float, floor: int) -> None:
    """Learn the dispersion at every scale, from the slot or the windows that end with it.

    E[(x − e)² − x] = φ·e²: the sums of both sides' terms are kept, fading, and divided.
    """
    start = usual.slot * grid.slot
    end = start + grid.slot
    counts = recent.counts(start, end)
    fade = grid.fade(SCATTER_HALF_LIFE)
    squares, weights, found = usual.squares, usual.weights, []
    for scale, window in enumerate(WINDOWS):
        mean = expected * window / grid.slot
        phi = usual.dispersion[scale]
        most = mean + CLIP_WINDOW * sqrt(mean + phi * mean * mean)
        square = weight = 0.0
        if window <= grid.slot:
            windows = grid.slot // window
            square = weight = windows * mean * mean
            for at, seen in _grouped(counts, start, window, windows):
                first = start + at * window
                e = expected_before(usual, grid, first + window) - expected_before(
                    usual, grid, first
                )
                seen = min(seen, most)
                square += (seen - e) ** 2 - seen - e * e
        elif end - window >= floor:
            e = expected_before(usual, grid, end) - expected_before(usual, grid, end - window)
            seen = min(recent.between(end - window, end), most)
            share = grid.slot / window
            square, weight = share * ((seen - e) ** 2 - seen), share * e * e
        squares[scale] = squares[scale] * fade + square
        weights[scale] = weights[scale] * fade + weight
        prior = DISPERSION_WEIGHT + DISPERSION_WINDOWS * mean * mean
        found.append((squares[scale] + USUAL_DISPERSION * prior) / (weights[scale] + prior))
    # What scatters over long windows scatters over short ones, and of two windows together at
    # least half remains of what one has: both hold for any series that is not self-correcting.
    for scale in range(SCALES - 2, -1, -1):
        found[scale] = max(found[scale], found[scale + 1], LEAST_DISPERSION)
    for scale in range(1, SCALES):
        found[scale] = max(found[scale], found[scale - 1] / 2, LEAST_DISPERSION)
    usual.dispersion = found


def _grouped(
    counts: list[tuple[int, float]], start: int, window: int, windows: int
) -> list[tuple[int, float]]:
    """Counts by tick, summed by window: those with mentions."""
    if window == 1:
        return [(tick - start, seen) for tick, seen in counts]
    sums: dict[int, float] = {}
    for tick, seen in counts:
        at = (tick - start) // window
        sums[at] = sums.get(at, 0) + seen
    return [(at, seen) for at, seen in sums.items() if at < windows]
