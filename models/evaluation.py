"""How well predictions match labels: F1, recall, calibration, confusion, by head and source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.labelled import COMPLAINT, MEASURED, LabelledPost
from models.labels import Label, Labels

Floats = NDArray[np.float32]

CALIBRATION_BINS: Final = 15

MAX_SOURCES: Final = 20
"""Sources told apart, those with the most rows; a file where every row has its own has none."""


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


class ValueMeasures(msgspec.Struct, frozen=True):
    """Quality on one value of a head.

    Attributes:
        precision: Share right of the rows given this value; absent where none was given it.
        recall: Share found of the rows that have this value; absent where none has it.
        f1: Their harmonic mean; absent where neither is there.
        support: Rows that have this value.
    """

    value: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


class Bin(msgspec.Struct, frozen=True):
    """Rows whose chosen value was about as probable.

    Attributes:
        upto: Upper edge of the bin.
        rows: How many they are.
        confidence: Mean probability of the chosen value.
        accuracy: Share of them labelled right; equal to `confidence` where calibration is perfect.
    """

    upto: float
    rows: int
    confidence: float
    accuracy: float


class HeadReport(msgspec.Struct, frozen=True):
    """All that is told of one head.

    Attributes:
        measures: Over all rows that are labelled in it.
        values: By value.
        reliability: The calibration of the chosen value; empty bins are left out.
        sources: The measures of each source; empty unless there are several.
    """

    measures: Measures
    values: tuple[ValueMeasures, ...]
    reliability: tuple[Bin, ...]
    sources: dict[str, Measures]


class Evaluation(msgspec.Struct, frozen=True):
    """A classifier's quality on labelled posts.

    Attributes:
        model: Version of the weights.
        rows: Posts read.
        abstained: Posts not judged, by reason; measured as the neutral labels they were given.
        heads: Head, or `complaint`, to its report.
    """

    model: str
    rows: int
    abstained: dict[str, int]
    heads: dict[str, HeadReport]


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
        calibration_error=_short(_calibration_error(_bins(probabilities, guess == true))),
        values=tuple(values),
        confusion=confusion.tolist(),
    )


def by_value(measures: Measures) -> tuple[ValueMeasures, ...]:
    """Precision, recall, F1 and support of each value, from the confusion."""
    confusion = np.array(measures.confusion)
    table = []
    for at, value in enumerate(measures.values):
        right, has, got = (
            int(confusion[at, at]),
            int(confusion[at].sum()),
            int(confusion[:, at].sum()),
        )
        table.append(
            ValueMeasures(
                value=value,
                precision=_short(right / got) if got else None,
                recall=_short(right / has) if has else None,
                f1=_short(2 * right / (has + got)) if has + got else None,
                support=has,
            )
        )
    return tuple(table)


def evaluate(model: str, posts: Sequence[LabelledPost], labels: Sequence[Labels]) -> Evaluation:
    """Hold the `labels` a classifier of version `model` gave against those of `posts`.

    Heads nobody labelled are left out.
    """
    counts = Counter(post.source for post in posts if post.source)
    sources = [source for source, _ in counts.most_common(MAX_SOURCES)] if len(counts) > 1 else []
    heads = {}
    for head, values in MEASURED.items():
        rows = [row for row, post in enumerate(posts) if head in post.labels]
        if not rows:
            continue
        truth = [posts[row].labels[head] for row in rows]
        chances = np.array([_chances(labels[row], head, values) for row in rows], np.float32)
        right = chances.argmax(axis=1) == np.array([values.index(value) for value in truth])
        overall = measure(truth, chances, values)
        by_source = {}
        for source in sources:
            inside = np.array([posts[row].source == source for row in rows])
            if inside.any():
                its = [value for value, kept in zip(truth, inside, strict=True) if kept]
                by_source[source] = measure(its, chances[inside], values)
        heads[head] = HeadReport(overall, by_value(overall), _bins(chances, right), by_source)
    abstained = Counter(found.abstained for found in labels if found.abstained is not None)
    return Evaluation(model, len(posts), dict(abstained), heads)


def _chances(labels: Labels, head: str, values: Sequence[str]) -> list[float]:
    if head == COMPLAINT:
        # A complaint is a negative gap that leads the other values together.
        negative = labels.gap.probabilities["negative"]
        return [1 - negative, negative]
    label: Label = getattr(labels, head)
    return [label.probabilities[value] for value in values]


def _bins(probabilities: Floats, right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return tuple(
        Bin(
            upto=_short((number + 1) / CALIBRATION_BINS),
            rows=int((bins == number).sum()),
            confidence=float(confidence[bins == number].mean()),
            accuracy=float(right[bins == number].mean()),
        )
        for number in np.unique(bins)
    )


def _calibration_error(bins: Sequence[Bin]) -> float:
    rows = sum(part.rows for part in bins)
    return sum(abs(part.confidence - part.accuracy) * part.rows for part in bins) / rows


def _short(number: float) -> float:
    return round(float(number), 4)
