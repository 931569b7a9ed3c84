"""The model and nothing else: `python -m benchmarks.bare TEXTS BATCH`, for `benchmarks.programs`.

The same classifier as the worker's, with the same threads and cache, is given the same texts in
the order they were sent and in batches of the worker's size. Loading is not counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.machine import Cpu, busy_seconds, peak_megabytes
from models.registry import load_classifier


def main(texts_file: str, batch: str) -> None:
    """Label the texts of a JSON file; print what it took."""
    texts = json.loads(Path(texts_file).read_text(encoding="utf-8"))
    size = int(batch)
    classifier = load_classifier()
    busy, before, began = busy_seconds(), Cpu.of(os.getpid()), time.perf_counter()
    for at in range(0, len(texts), size):
        classifier.classify(texts[at : at + size])
    seconds = time.perf_counter() - began
    cpu = Cpu.of(os.getpid()) - before
    others = busy_seconds() - busy - cpu.total
    lookups = getattr(classifier, "cache_lookups", 0)
    result = {
        "seconds": seconds,
        "cpu": cpu.total,
        "others": max(0.0, others) / seconds,
        "hit_share": getattr(classifier, "cache_hits", 0) / lookups if lookups else 0.0,
        "peak_megabytes": peak_megabytes(os.getpid()),
    }
    classifier.close()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
