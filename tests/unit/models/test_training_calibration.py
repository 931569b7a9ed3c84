"""Fitting temperatures and shifts, and how sure a measure is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from models.columns import COLUMNS
from models.evaluation import measure, softmax
from models.labels import HEADS
from models.training.holdout import Calibration, fit_head
from models.training.measure import macro_f1_range


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(4_000, 3)).astype(np.float32)


def drawn(logits: np.ndarray) -> np.ndarray:
    """A value for each row, drawn by the probabilities its logits stand for."""
    draw = np.random.default_rng(8)
    chances = softmax(logits).astype(float)
    return np.array([draw.choice(3, p=row / row.sum()) for row in chances])


def test_an_overconfident_model_is_softened(logits: np.ndarray) -> None:
    temperature, shifts = fit_head(drawn(logits), 2 * logits, 0.0)
    assert temperature == pytest.approx(2.0, rel=0.1)
    assert shifts == [0, 0, 0]


def test_what_weights_moved_is_moved_back(logits: np.ndarray) -> None:
    weighted = logits + np.array([0.0, 0.0, 0.6], np.float32)
    temperature, shifts = fit_head(drawn(logits), weighted, 1.0)
    assert temperature == pytest.approx(1.0, rel=0.1)
    assert shifts[2] - shifts[0] == pytest.approx(-0.6, abs=0.15)


def test_few_rows_move_little(logits: np.ndarray) -> None:
    weighted = (logits + np.array([0.0, 0.0, 0.6], np.float32))[:10]
    truth = drawn(logits)[:10]
    wide = fit_head(truth, weighted, 5.0)[1]
    narrow = fit_head(truth, weighted, 0.1)[1]
    assert np.ptp(narrow) < 0.2 * np.ptp(wide)


def test_shifts_stand_where_their_values_do() -> None:
    shifts = {head: [float(n) for n in range(len(values))] for head, values in HEADS.items()}
    moved = Calibration({}, shifts).shift(np.ones((2, COLUMNS), np.float32))
    expected = [1.0 + n for values in HEADS.values() for n in range(len(values))]
    assert moved.tolist() == [expected, expected]


def test_more_rows_make_a_measure_surer() -> None:
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]], np.float32)
    truth = ["0", "0", "0", "1"]
    few, many = (
        measure(truth * times, np.tile(chances, (times, 1)), ("0", "1")) for times in (5, 500)
    )
    low, high = macro_f1_range(few)
    assert low < few.macro_f1 < high
    closer = macro_f1_range(many)
    assert closer[0] < many.macro_f1 < closer[1]
    assert closer[1] - closer[0] < 0.2 * (high - low)
