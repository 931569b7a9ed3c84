"""Programs measured beside the worker: each a process of its own that reports on itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.worker import ROOT, BenchmarkError
from pipeline.broker.child import Child

PATIENCE: Final = 600.0


def run_program(module: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    """Run `python -m benchmarks.MODULE` to its end; returns what its last line says, as JSON.

    Raises:
        BenchmarkError: It failed, or took too long.
    """
    child = Child([sys.executable, "-m", f"benchmarks.{module}", *arguments], cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE
        while child.running:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{module} was not done in {PATIENCE:g} s")
            time.sleep(0.05)
        output = child.output()
        try:
            result: dict[str, Any] = json.loads(output.rpartition("\n")[2])
        except ValueError:
            raise BenchmarkError(f"{module} failed. It wrote:\n{output}") from None
        return result
    finally:
        child.kill()
