"""A worker as it is, but for its classifier and its clock: `python -m tests.faults.process CONFIG`.

The folder of the settings file is where it is told to misbehave: see `classifier`, and `CLOCK`, a
file with seconds to add to the wall clock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pipeline.cli.main import say
from pipeline.runner import run_worker
from pipeline.settings import load_settings
from tests.faults.classifier import WordClassifier

CLOCK = "clock-jump"


def main(config: Path) -> int:
    """Run the worker; returns its exit code."""
    true_time = time.time
    jump = config.parent / CLOCK

    def wrong_time() -> float:
        try:
            return true_time() + float(jump.read_text())
        except (FileNotFoundError, ValueError):
            return true_time()

    time.time = wrong_time
    return run_worker(
        load_settings(config), say=say, log_level="INFO", classifier=WordClassifier(config.parent)
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
