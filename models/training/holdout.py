"""Calibrating on rows kept for it, and measuring the held-out ones.

The same measures are taken of the trained network and of the exported one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.columns import OFFSETS
from models.evaluation import Measures, measure, softmax
from models.labels import GAPS, HEADS
from models.training.data import Corpus, Row
from models.training.settings import CalibrationSettings

Logits = NDArray[np.float32]

FARTHEST_TEMPERATURE: Final = 4.0
"""Temperatures are no higher, and no lower than its inverse: of few rows, a network may get all
right, and none would then be low enough."""

_FIT_STEPS: Final = 200


class Calibration(msgspec.Struct, frozen=True):
    """What makes probabilities of logits: `softmax((logits + shifts) / temperature)`.

    Attributes:
        temperatures: By head.
        shifts: Of each value of a head; an export adds them to the biases of the network.
    """

    temperatures: dict[str, float]
    shifts: dict[str, list[float]]

    def shift(self, logits: Logits) -> Logits:
        """`logits` (rows, COLUMNS) with the shifts added."""
        return logits + self._columns(self.shifts)

    def unshift(self, logits: Logits) -> Logits:
        """`logits` (rows, COLUMNS) as they were before the shifts were added."""
        return logits - self._columns(self.shifts)

    def probabilities(self, logits: Logits) -> Logits:
        """Probabilities (rows, COLUMNS) of unshifted `logits`."""
        shifted = self.shift(logits)
        return np.concatenate(
            [softmax(shifted[:, at], self.temperatures[head]) for head, at in OFFSETS.items()],
            axis=1,
        )

    @staticmethod
    def _columns(by_head: dict[str, list[float]]) -> Logits:
        return np.concatenate([np.array(by_head[head], np.float32) for head in OFFSETS])


def calibrate(rows: Sequence[Row], logits: Logits, settings: CalibrationSettings) -> Calibration:
    """Fit `rows`, labelled in all heads and not trained on, whose `logits` these are.

    Rare values were given weight in training, so that the network names them too readily; the
    shifts take that back where `settings` say so.
    """
    temperatures, shifts = {}, {}
    for head, values in HEADS.items():
        truth = np.array([values.index(row.labels[head]) for row in rows])
        spread = settings.shift_spread if head in settings.shifted else 0.0
        temperatures[head], shifts[head] = fit_head(truth, logits[:, OFFSETS[head]], spread)
    return Calibration(temperatures, shifts)


def fit_head(truth: NDArray[np.int64], logits: Logits, spread: float) -> tuple[float, list[float]]:
    """Temperature and shifts at which `logits` (rows, values) give `truth` most likelihood.

    Few rows tell little of many values: a shift, in units of the temperature, is taken to be
    normal about zero with a standard deviation of `spread`; if that is zero, there is none.
    """
    given, right = torch.from_numpy(logits).double(), torch.from_numpy(truth)
    log_sharpness = torch.zeros((), dtype=torch.double, requires_grad=True)
    moved = torch.zeros(logits.shape[1], dtype=torch.double, requires_grad=spread > 0)
    fit = torch.optim.LBFGS(
        [part for part in (log_sharpness, moved) if part.requires_grad],
        max_iter=_FIT_STEPS,
        line_search_fn="strong_wolfe",
    )

    def sharpness() -> torch.Tensor:
        farthest = math.log(FARTHEST_TEMPERATURE)
        return log_sharpness.clamp(-farthest, farthest).exp()

    def loss() -> torch.Tensor:
        fit.zero_grad()
        entropy = functional.cross_entropy(given * sharpness() + moved, right, reduction="sum")
        total = entropy + (moved / spread).square().sum() / 2 if spread else entropy
        total.backward()
        return total

    fit.step(loss)
    temperature = 1 / float(sharpness().detach())
    shifts = [round(part * temperature, 4) for part in moved.detach().tolist()]
    return round(temperature, 4), shifts


def measure_held_out(
    corpus: Corpus,
    predict: Callable[[Sequence[str]], Logits],
    settings: CalibrationSettings,
    *,
    folds: int,
) -> tuple[Calibration, dict[str, Measures]]:
    """Calibrate, and measure every head on the held-out posts, sentiment and complaints.

    With one fold, calibrated are the calibration rows. With more, the held-out posts help: those
    of a fold are measured with a calibration fitted on all the others, and the one returned, by
    which the other sets are measured, is fitted on all.

    Posts are measured whole and in their natural mix alone. `predict` gives the logits of
    normalised texts.
    """
    held_out = predict(_texts(corpus.held_out))
    rows = [*corpus.calibration, *corpus.held_out]
    logits = np.concatenate([predict(_texts(corpus.calibration)), held_out])
    # The held-out rows come stratum by stratum, so each fold has its share of all of them.
    fold = np.concatenate(
        [np.full(len(corpus.calibration), -1), np.arange(len(corpus.held_out)) % folds]
    )

    def fitted(kept: NDArray[np.bool_]) -> Calibration:
        inside = [row for row, keep in zip(rows, kept, strict=True) if keep]
        return calibrate(inside, logits[kept], settings)

    chances = np.zeros_like(logits)
    for number in range(folds):
        chances[fold == number] = fitted(fold != number).probabilities(logits[fold == number])
    chances = chances[len(corpus.calibration) :]
    whole = fitted(np.ones(len(rows), np.bool_) if folds > 1 else fold < 0)

    measures: dict[str, Measures] = {}
    natural = np.array([row.natural for row in corpus.held_out])
    for head, values in HEADS.items():
        truth = [row.labels[head] for row in corpus.held_out]
        guess = chances[:, OFFSETS[head]]
        measures[f"posts/{head}"] = measure(truth, guess, values)
        kept = [label for label, inside in zip(truth, natural, strict=True) if inside]
        measures[f"posts-natural/{head}"] = measure(kept, guess[natural], values)

    found = whole.probabilities(predict(_texts(corpus.held_out_sentiment)))
    measures["semeval-val/sentiment"] = measure(
        [row.labels["sentiment"] for row in corpus.held_out_sentiment],
        found[:, OFFSETS["sentiment"]],
        HEADS["sentiment"],
    )

    found = whole.probabilities(predict(_texts(corpus.held_out_complaints)))
    negative = found[:, OFFSETS["gap"]][:, GAPS.index("negative")]
    # A complaint is a negative gap that leads the other values together.
    measures["complaints/gap"] = measure(
        ["other" if row.no_complaint else "complaint" for row in corpus.held_out_complaints],
        np.stack([1 - negative, negative], axis=1),
        ("other", "complaint"),
    )
    return whole, measures


def _texts(rows: Sequence[Row]) -> list[str]:
    return [row.text for row in rows]
