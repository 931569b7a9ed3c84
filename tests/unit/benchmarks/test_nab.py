"""The benchmark's score, against what can be worked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp

import pytest

from benchmarks.nab import Labelled, best_threshold, nab_score, worth
from pipeline.backtest import Row

START = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = Labelled(
    "x",
    [Row("", START + timedelta(minutes=5 * n), 0) for n in range(1000)],
    [(400, 499), (700, 799)],
)


def score(*detected: int) -> float:
    scores = [1.0 if row in detected else 0.0 for row in range(1000)]
    return nab_score([SERIES], {"x": scores}, 0.5)


def test_nothing_is_zero_and_both_at_once_is_a_hundred() -> None:
    assert score() == 0.0
    assert score(400, 700) == pytest.approx(100.0)
    assert score(400) == pytest.approx(50.0)


def test_later_in_a_window_is_less_and_more_often_is_no_more() -> None:
    middle = (2 / (1 + exp(-2.5)) - 1) / (2 / (1 + exp(-5)) - 1)
    assert score(450) == pytest.approx(25 * (1 + middle))
    assert score(450, 460, 499) == pytest.approx(score(450))


def test_a_false_alarm_costs_more_the_farther_it_is_behind_a_window() -> None:
    assert score(400, 700, 300) == pytest.approx(100 - 0.11 * 25)
    near = score(400, 700, 505)
    assert 100 - 0.11 * 25 < score(400, 700, 600) < near < 100
    assert worth(3.1) == -1.0


def test_the_start_counts_neither_way() -> None:
    assert SERIES.probation == 150
    assert score(10, 149, 400, 700) == pytest.approx(100.0)
    assert score(150, 400, 700) < 100


def test_the_best_threshold_is_found() -> None:
    scores = {
        "x": [0.9 if row in (400, 700) else 0.4 if row == 300 else 0.0 for row in range(1000)]
    }
    assert best_threshold([SERIES], scores) == 0.9
