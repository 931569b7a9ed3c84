"""Measure exported weights: `python -m models.training.measure --data DIR [--weights DIR]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from models.bundle import packaged_folder
from models.evaluation import Measures
from models.onnx import OnnxClassifier
from models.training.data import Corpus, Floats, load_corpus
from models.training.holdout import Calibration, measure_held_out
from models.training.settings import Settings

_DRAWS: Final = 2_000


class Plan(msgspec.Struct, frozen=True):
    """What decides the outcome of a training run; it is `plan.json` in the run's folder.

    Attributes:
        settings: The configuration.
        data: File name to SHA-256 of the data it reads.
        encoder: SHA-256 of the pretrained weights the student starts from.
        teacher: SHA-256 of those the teachers start from, if there are any.
    """

    settings: Settings
    data: dict[str, str]
    encoder: str
    teacher: str | None


class Verdict(msgspec.Struct, frozen=True):
    """How good a trained network is.

    Attributes:
        calibration: What makes probabilities of its logits.
        measures: Its quality on the held-out rows (`holdout.measure_held_out`).
    """

    calibration: Calibration
    measures: dict[str, Measures]


class Run(msgspec.Struct, frozen=True):
    """What a training run leaves in `run.json`.

    Attributes:
        plan: What it did.
        seconds: How long it took, from the last time it was started.
        student: The verdict on the result, before quantisation.
        teachers: The verdict on each teacher.
    """

    plan: Plan
    seconds: int
    student: Verdict
    teachers: list[Verdict]


class Agreement(msgspec.Struct, frozen=True):
    """How near the int8 model is to a float network, on the held-out posts.

    Attributes:
        rows: Posts compared.
        cosine: Mean cosine of the two logit vectors of a post.
        flips: Head to the share of posts whose label differs.
    """

    rows: int
    cosine: float
    flips: dict[str, float]


class Metrics(msgspec.Struct, frozen=True):
    """The content of `metrics.json`.

    Attributes:
        held_out: The exported model's quality on the held-out rows.
        agreement: Its nearness to the float weights beside it, which lie on the int8 grid.
        rounding: Its nearness to the network as it was trained.
        run: The training run it came from.
    """

    held_out: dict[str, Measures]
    agreement: Agreement
    rounding: Agreement
    run: Run


def corpus_of(run: Run, folder: Path) -> Corpus:
    """The corpus in `folder`, split as `run` split it."""
    settings = run.plan.settings
    return load_corpus(folder, settings.data.held_out, settings.data.calibration, settings.seed)


def measure_weights(weights: Path, corpus: Corpus, run: Run) -> dict[str, Measures]:
    """Measures of the weights in the folder `weights`, exported from `run`, as it was measured."""
    classifier = OnnxClassifier(weights)
    given = run.student.calibration
    settings = run.plan.settings.calibration

    def logits(texts: Sequence[str]) -> Floats:
        return given.unshift(classifier.logits(texts))

    try:
        return measure_held_out(corpus, logits, settings, folds=settings.folds)[1]
    finally:
        classifier.close()


def macro_f1_range(found: Measures) -> tuple[float, float]:
    """The middle 90 % of what the macro F1 is on other draws of as many rows (bootstrap)."""
    confusion = np.array(found.confusion)
    draw = np.random.default_rng(found.rows)
    tables = draw.multinomial(found.rows, (confusion / found.rows).ravel(), _DRAWS)
    tables = tables.reshape(_DRAWS, *confusion.shape)
    both = tables.sum(1) + tables.sum(2)
    f1 = 2 * np.einsum("dvv->dv", tables) / np.maximum(both, 1)
    scores = f1.sum(1) / np.maximum((both > 0).sum(1), 1)
    low, high = np.quantile(scores, [0.05, 0.95])
    return float(low), float(high)


def print_measures(measures: dict[str, Measures]) -> None:
    """A line for each measured set and head."""
    for name, found in measures.items():
        low, high = macro_f1_range(found)
        print(
            f"{name:26}{found.rows:6} rows   accuracy {found.accuracy:.3f}   "
            f"macro F1 {found.macro_f1:.3f} ({low:.3f} to {high:.3f})   "
            f"macro recall {found.macro_recall:.3f}   "
            f"calibration error {found.calibration_error:.3f}"
        )


def main() -> None:
    """Print the held-out measures of exported weights, on the split of their training run."""
    parser = argparse.ArgumentParser(prog="python -m models.training.measure", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with posts.tsv and others")
    parser.add_argument("--weights", type=Path, default=packaged_folder(), help="exported folder")
    arguments = parser.parse_args()
    metrics = msgspec.json.decode((arguments.weights / "metrics.json").read_bytes(), type=Metrics)
    corpus = corpus_of(metrics.run, arguments.data)
    print_measures(measure_weights(arguments.weights, corpus, metrics.run))


if __name__ == "__main__":
    main()
