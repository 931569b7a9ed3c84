"""What is usual, and how unlikely what is seen: against plain sums and known limits."""

from __future__ import annotations

from itertools import pairwise
from math import exp, factorial, lgamma, log, log1p

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.spikes import (
    BASELINE_HOURS,
    LEAST_DISPERSION,
    PRIOR_RATE,
    RECENT_MINUTES,
    WARM_HOURS,
    Baseline,
    Counts,
    baseline,
    baseline_hour,
    judge,
    tail,
)

HOUR = 500_000
"""An hour's number since the epoch; tests count from it."""

MINUTE = HOUR * 60


def plain_tail(at_least: int, mean: float, dispersion: float) -> float:
    """P(X ≥ at_least), as one minus the sum of what lies below."""
    size = 1 / dispersion
    below = (
        exp(
            lgamma(n + size)
            - lgamma(size)
            - lgamma(n + 1)
            - size * log1p(mean / size)
            + n * (log(mean) - log(mean + size))
        )
        for n in range(at_least)
    )
    return 1.0 - sum(below)


def hours(*counts: int) -> Counts:
    """A series with these counts in the hours before `HOUR`, one after another."""
    series = Counts(since=HOUR - len(counts))
    for back, count in enumerate(reversed(counts), start=1):
        for _ in range(count):
            series.count((HOUR - back) * 60)
    return series


@pytest.mark.parametrize("mean", [0.01, 0.5, 1.0, 7.5, 40.0, 300.0])
@pytest.mark.parametrize("dispersion", [0.05, 0.3, 1.0, 5.0])
def test_tail_is_the_plain_sum(mean: float, dispersion: float) -> None:
    for at_least in (1, 2, 3, 5, 8, 13, 40, 100, 350):
        assert tail(at_least, mean, dispersion) == pytest.approx(
            plain_tail(at_least, mean, dispersion), rel=1e-8, abs=1e-10
        )


def test_tail_is_exact_where_it_can_be_worked_by_hand() -> None:
    # Dispersion 1 is the geometric distribution: P(X ≥ k) = (mean / (1 + mean))^k.
    for at_least in (1, 2, 10, 60):
        assert tail(at_least, 1.0, 1.0) == pytest.approx(0.5**at_least, rel=1e-8)
        assert tail(at_least, 3.0, 1.0) == pytest.approx(0.75**at_least, rel=1e-8)


def test_tail_keeps_its_digits_where_it_is_tiny() -> None:
    assert tail(300, 1.0, 1.0) == pytest.approx(0.5**300, rel=1e-8)


@pytest.mark.parametrize("at_least", [110, 1_000, 100_000])
def test_tail_beyond_what_a_float_can_hold_is_zero(at_least: int) -> None:
    # A week of silence, then a flood: the sum must end though every term of it underflows.
    usual = baseline(hours(*[0] * BASELINE_HOURS), HOUR)
    assert 0.0 <= tail(at_least, usual.hourly / 4, usual.dispersion) < 1e-300


def test_tail_nears_poisson_as_dispersion_vanishes() -> None:
    mean = 3.0
    for at_least in (1, 4, 9):
        poisson = 1 - sum(exp(-mean) * mean**n / factorial(n) for n in range(at_least))
        assert tail(at_least, mean, 1e-7) == pytest.approx(poisson, rel=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.integers(-1, 400), st.floats(0.01, 200.0), st.floats(0.05, 4.0))
def test_tail_is_a_probability_and_falls_with_the_count(
    at_least: int, mean: float, dispersion: float
) -> None:
    chance, rarer = tail(at_least, mean, dispersion), tail(at_least + 1, mean, dispersion)
    assert 0.0 <= rarer <= chance + 1e-12
    assert chance <= 1.0


def test_tail_rises_with_the_mean_and_with_dispersion() -> None:
    by_mean = [tail(20, mean, 0.2) for mean in (0.5, 1.0, 2.0, 5.0, 10.0, 19.0)]
    by_dispersion = [tail(20, 4.0, dispersion) for dispersion in (0.05, 0.1, 0.5, 1.0)]
    for chances in (by_mean, by_dispersion):
        assert all(lower < higher for lower, higher in pairwise(chances))


@pytest.mark.parametrize("at_least", [0, -3])
def test_nothing_or_more_is_certain(at_least: int) -> None:
    assert tail(at_least, 2.0, 0.5) == 1.0


def test_without_a_past_the_prior_speaks() -> None:
    usual = baseline(Counts(since=HOUR), HOUR)
    assert usual.hourly == PRIOR_RATE
    assert usual.cold


@pytest.mark.parametrize(("past", "cold"), [(0, True), (5, True), (6, False), (100, False)])
def test_a_series_is_cold_until_it_has_seen_some_hours(past: int, cold: bool) -> None:
    assert WARM_HOURS == 6
    assert baseline(hours(*[3] * past), HOUR).cold is cold


def test_a_long_past_outweighs_the_prior() -> None:
    usual = baseline(hours(*[20] * BASELINE_HOURS), HOUR)
    assert usual.hourly == pytest.approx(20, rel=0.02)
    assert usual.dispersion >= LEAST_DISPERSION


def test_hours_without_mentions_are_part_of_the_past() -> None:
    series = Counts(since=HOUR - 98)
    series.count((HOUR - 98) * 60)
    assert baseline(series, HOUR).hourly == pytest.approx((1 + 8) / 100)


def test_excluded_hours_leave_no_trace_in_the_expectation() -> None:
    quiet = baseline(hours(*[2] * 20, *[2] * 20), HOUR)
    spiked = hours(*[2] * 20, 900, *[2] * 20)
    assert baseline(spiked, HOUR).hourly > 3 * quiet.hourly
    spiked.exclude(HOUR - 21)
    assert baseline(spiked, HOUR) == quiet


def test_bursty_talk_is_more_dispersed_than_even_talk() -> None:
    even = baseline(hours(*[6] * 60), HOUR)
    bursty = baseline(hours(*[0, 0, 18] * 20), HOUR)
    assert bursty.hourly == pytest.approx(even.hourly)
    assert bursty.dispersion > 3 * even.dispersion


def test_a_short_past_is_less_sure_of_itself() -> None:
    assert baseline(hours(*[6] * 8), HOUR).dispersion > baseline(hours(*[6] * 80), HOUR).dispersion


@pytest.mark.parametrize(
    ("minute", "window", "hour"),
    [
        (MINUTE, 1, HOUR),
        (MINUTE, 2, HOUR - 1),
        (MINUTE + 59, 60, HOUR),
        (MINUTE + 58, 60, HOUR - 1),
    ],
)
def test_the_past_ends_before_the_hour_in_which_the_window_starts(
    minute: int, window: int, hour: int
) -> None:
    assert baseline_hour(minute, window) == hour


def test_the_running_hour_is_no_part_of_the_past() -> None:
    series = hours(*[2] * 30)
    before = baseline(series, HOUR)
    for _ in range(500):
        series.count(MINUTE)
    assert baseline(series, HOUR) == before


def test_a_window_counts_its_minutes_and_no_others() -> None:
    series = Counts(since=HOUR)
    for minute in (MINUTE, MINUTE + 1, MINUTE + 10, MINUTE + 14, MINUTE + 15):
        series.count(minute)
    assert series.seen(MINUTE + 14, 15) == 4
    assert series.seen(MINUTE + 15, 15) == 4
    assert series.seen(MINUTE + 15, 1) == 1
    assert series.first(MINUTE + 15, 15) == MINUTE + 1
    assert series.first(MINUTE + 60, 15) == MINUTE + 60


def test_at_or_below_expectation_nothing_is_a_spike() -> None:
    series = Counts(since=HOUR)
    usual = Baseline(HOUR, hourly=40.0, dispersion=0.2, cold=False)
    for _ in range(10):
        series.count(MINUTE)
    judged = judge(series, usual, MINUTE, 15)
    assert (judged.seen, judged.expected, judged.probability) == (10, 10.0, 1.0)


def test_above_expectation_the_tail_says_how_unlikely() -> None:
    series = Counts(since=HOUR)
    usual = Baseline(HOUR, hourly=8.0, dispersion=0.2, cold=True)
    for _ in range(9):
        series.count(MINUTE)
    judged = judge(series, usual, MINUTE + 3, 15)
    assert judged.probability == tail(9, 2.0, 0.2)
    assert judged.cold
    assert judged.usual_at_most == pytest.approx(2 + 2 * 2**0.5)


def test_forgetting_changes_no_later_judgement_and_bounds_memory() -> None:
    kept, forgetting = Counts(since=HOUR), Counts(since=HOUR)
    for minute in range(MINUTE, MINUTE + 10 * 24 * 60, 7):
        for series in (kept, forgetting):
            series.count(minute)
        forgetting.forget(minute)
        if minute % 60 == 0:
            before = baseline_hour(minute, 120)
            assert baseline(forgetting, before) == baseline(kept, before)
            assert forgetting.seen(minute, 120) == kept.seen(minute, 120)
    assert len(forgetting.minutes) <= RECENT_MINUTES
    assert len(forgetting.hours) <= BASELINE_HOURS + RECENT_MINUTES // 60 + 1
