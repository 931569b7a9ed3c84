"""Tails: against plain sums, what can be worked by hand, and known limits."""

from __future__ import annotations

from itertools import pairwise
from math import exp, factorial, fsum, lgamma, log, log1p

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.chance import negative_binomial_tail as tail
from pipeline.domain.chance import surprise


def plain_tail(at_least: int, mean: float, dispersion: float) -> float:
    """P(X ≥ at_least), as one minus the sum of what lies below."""
    size = 1 / dispersion
    return 1.0 - fsum(
        exp(
            lgamma(n + size)
            - lgamma(size)
            - lgamma(n + 1)
            - size * log1p(mean / size)
            + n * (log(mean) - log(mean + size))
        )
        for n in range(at_least)
    )


@pytest.mark.parametrize("mean", [0.01, 0.5, 1.0, 7.5, 40.0, 300.0, 5000.0])
@pytest.mark.parametrize("dispersion", [0.01, 0.05, 0.3, 1.0, 5.0])
def test_tail_is_the_plain_sum(mean: float, dispersion: float) -> None:
    for at_least in (1, 2, 3, 5, 8, 13, 40, 100, 350, 6000):
        assert tail(at_least, mean, dispersion) == pytest.approx(
            plain_tail(at_least, mean, dispersion), rel=1e-8, abs=1e-10
        )


def test_tail_is_exact_where_it_can_be_worked_by_hand() -> None:
    # Dispersion 1 is the geometric distribution: P(X ≥ k) = (mean / (1 + mean))^k.
    for at_least in (1, 2, 10, 60, 300):
        assert tail(at_least, 1.0, 1.0) == pytest.approx(0.5**at_least, rel=1e-8)
        assert tail(at_least, 3.0, 1.0) == pytest.approx(0.75**at_least, rel=1e-8)


@pytest.mark.parametrize("at_least", [2_000, 1_000_000])
def test_tail_beyond_what_a_float_can_hold_is_zero(at_least: int) -> None:
    assert tail(at_least, 0.01, 0.1) == 0.0


def test_tail_nears_poisson_as_dispersion_vanishes() -> None:
    for at_least in (1, 4, 9):
        poisson = 1 - sum(exp(-3.0) * 3.0**n / factorial(n) for n in range(at_least))
        assert tail(at_least, 3.0, 1e-7) == pytest.approx(poisson, rel=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.integers(-1, 400), st.floats(0.01, 200.0), st.floats(0.05, 4.0))
def test_tail_is_a_probability_and_falls_with_the_count(
    at_least: int, mean: float, dispersion: float
) -> None:
    chance, rarer = tail(at_least, mean, dispersion), tail(at_least + 1, mean, dispersion)
    assert 0.0 <= rarer <= chance + 1e-12
    assert chance <= 1.0


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.floats(0.01, 500.0), st.floats(0.01, 4.0))
def test_surprise_bounds_the_tail(count: int, mean: float, dispersion: float) -> None:
    assert tail(count, mean, dispersion) <= exp(-surprise(count, mean, dispersion)) * (1 + 1e-9)


def test_surprise_is_none_at_expectation_and_grows_with_the_count() -> None:
    assert surprise(3, 3.0, 0.2) == surprise(1, 3.0, 0.2) == 0.0
    rising = [surprise(count, 3.0, 0.2) for count in range(3, 60)]
    assert all(lower < higher for lower, higher in pairwise(rising))
