"""Measuring held-out rows, the same for the trained network and for the exported one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.columns import OFFSETS
from models.evaluation import Measures, fit_temperature, measure, softmax
from models.labels import GAPS, HEADS
from models.training.data import Corpus, Row

Logits = NDArray[np.float32]


def fit_temperatures(corpus: Corpus, logits: Logits) -> dict[str, float]:
    """One temperature a head, fitted on the calibration rows and their `logits`."""
    return {
        head: fit_temperature(
            [row.labels[head] for row in corpus.calibration], logits[:, OFFSETS[head]], values
        )
        for head, values in HEADS.items()
    }


def measure_held_out(
    corpus: Corpus,
    predict: Callable[[Sequence[str]], Logits],
    temperatures: dict[str, float],
) -> dict[str, Measures]:
    """Measure every head on the held-out posts, and the sentiment and complaint sets.

    Posts are measured whole and in their natural mix alone. `predict` gives the logits of
    normalised texts.
    """
    measures: dict[str, Measures] = {}
    logits = predict(_texts(corpus.held_out))
    natural = np.array([row.natural for row in corpus.held_out])
    for head, values in HEADS.items():
        truth = [row.labels[head] for row in corpus.held_out]
        guess = softmax(logits[:, OFFSETS[head]], temperatures[head])
        measures[f"posts/{head}"] = measure(truth, guess, values)
        kept = [label for label, inside in zip(truth, natural, strict=True) if inside]
        measures[f"posts-natural/{head}"] = measure(kept, guess[natural], values)

    values = HEADS["sentiment"]
    logits = predict(_texts(corpus.held_out_sentiment))[:, OFFSETS["sentiment"]]
    measures["semeval-val/sentiment"] = measure(
        [row.labels["sentiment"] for row in corpus.held_out_sentiment],
        softmax(logits, temperatures["sentiment"]),
        values,
    )

    logits = predict(_texts(corpus.held_out_complaints))[:, OFFSETS["gap"]]
    negative = softmax(logits, temperatures["gap"])[:, GAPS.index("negative")]
    # A complaint is a negative gap that leads the other values together.
    measures["complaints/gap"] = measure(
        ["other" if row.no_complaint else "complaint" for row in corpus.held_out_complaints],
        np.stack([1 - negative, negative], axis=1),
        ("other", "complaint"),
    )
    return measures


def _texts(rows: Sequence[Row]) -> list[str]:
    return [row.text for row in rows]
