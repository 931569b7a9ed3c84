"""A worker whose classifier takes so many posts a second, and no more.

`python -m benchmarks.limited CONFIG RATE`, for `benchmarks.growth`.

It stands for a model elsewhere, on a GPU or behind an API: the worker waits for it and uses no
processor meanwhile.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from models.labels import Labels, neutral_labels
from pipeline.cli.main import say
from pipeline.runner import run_worker
from pipeline.settings import load_settings


class LimitedClassifier:
    """Neutral labels, and no more than `rate` a second, however many ask at once."""

    version = "limited"

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._labels = neutral_labels()
        self._one = threading.Lock()

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """As `Classifier.classify`."""
        with self._one:
            time.sleep(len(texts) / self._rate)
        return [self._labels] * len(texts)

    def close(self) -> None:
        """Nothing to give back."""


def main(config: str, rate: str) -> int:
    """Run the worker; returns its exit code."""
    return run_worker(
        load_settings(Path(config)),
        say=say,
        log_level="WARNING",
        classifier=LimitedClassifier(float(rate)),
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
