"""How well predictions match labels: macro F1, macro recall, calibration, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CALIBRATION_BINS: Final = 15


class Measures(msgspec.Struct, frozen=True):
    """Quality of one head on labelled rows.

    Attributes:
        rows: How many rows were measured.
        accuracy: Share of rows labelled right.
        macro_f1: Mean over the values of their F1; a value nobody has and nobody gets is left out.
        macro_recall: Mean over the values that occur of the share of them found.
        calibration_error: Expected calibration error of the chosen value's probability, over
            `CALIBRATION_BINS` equal bins.
        values: The values, in the order of `confusion`.
        confusion: Counts, a row per true value, a column per predicted one.
    """

    rows: int
    accuracy: float
    macro_f1: float
    macro_recall: float
    calibration_error: float
    values: tuple[str, ...]
    confusion: list[list[int]]


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities of each row of `logits` (rows, values) at `temperature`."""
    scaled = logits / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def measure(truth: Sequence[str], probabilities: Floats, values: Sequence[str]) -> Measures:
    """Measure `probabilities` (rows, values) against the true value of each row.

    Raises:
        ValueError: no rows, a shape that does not fit, or a true value not among `values`.
    """
    if probabilities.shape != (len(truth), len(values)) or not truth:
        raise ValueError(
            f"{len(truth)} labels of {len(values)} values do not fit {probabilities.shape}"
        )
    place = {value: number for number, value in enumerate(values)}
    unknown = set(truth) - set(place)
    if unknown:
        raise ValueError(f"labels {sorted(unknown)} are not among {list(values)}")
    true = np.array([place[value] for value in truth])
    guess = probabilities.argmax(axis=1)
    confusion = np.zeros((len(values), len(values)), np.int64)
    np.add.at(confusion, (true, guess), 1)
    right = np.diag(confusion).astype(float)
    occurring, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    seen = occurring + predicted > 0
    f1 = 2 * right[seen] / (occurring + predicted)[seen]
    recall = right[occurring > 0] / occurring[occurring > 0]
    return Measures(
        rows=len(truth),
        accuracy=_short(right.sum() / len(truth)),
        macro_f1=_short(f1.mean()),
        macro_recall=_short(recall.mean()),
        calibration_error=_short(_calibration_error(probabilities, guess == true)),
        values=tuple(values),
        confusion=confusion.tolist(),
    )


def fit_temperature(truth: Sequence[str], logits: Floats, values: Sequence[str]) -> float:
    """The temperature, 0.5 to 4, at which `logits` (rows, values) give `truth` most likelihood."""
    place = {value: number for number, value in enumerate(values)}
    true = np.array([place[value] for value in truth])
    grid = np.geomspace(0.5, 4.0, 121)
    likelihood = [
        float(np.log(softmax(logits, float(t))[np.arange(len(true)), true] + 1e-9).mean())
        for t in grid
    ]
    return round(float(grid[int(np.argmax(likelihood))]), 4)


def _calibration_error(probabilities: Floats, right: NDArray[np.bool_]) -> float:
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        abs(confidence[bins == number].mean() - right[bins == number].mean())
        * (bins == number).mean()
        for number in np.unique(bins)
    ]
    return float(sum(gaps))


def _short(number: float) -> float:
    return round(float(number), 4)
