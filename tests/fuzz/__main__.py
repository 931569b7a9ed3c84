"""Fuzzes for as long as it is told: `python -m tests.fuzz --minutes 30`, or `make fuzz MINUTES=30`.

With Atheris (the extra `fuzz`; Linux on x86-64) coverage guides it; without, it is
Hypothesis alone. Either way it goes on where it was left: `.cache/fuzz` holds what it has learnt.
What breaks a target is kept in the corpus, and replayed by the tests from then on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.fuzz.corpus import keep
from tests.fuzz.targets import TARGETS, Target

CACHE = Path(__file__).parents[2] / ".cache" / "fuzz"


def guided(name: str, seconds: float) -> tuple[int, bool]:
    """Fuzz a target with Atheris; how many inputs it ran, and whether all went well."""
    scratch = CACHE / name
    scratch.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, str(int(seconds)), str(scratch)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=Path(__file__).parents[2],
    )
    ran = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    if done.returncode != 0:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", file=sys.stderr)
    return int(ran[1]) if ran else 0, done.returncode == 0


def alone(name: str, target: Target, seconds: float) -> tuple[int, bool]:
    """Fuzz a target with Hypothesis; as `guided`."""
    until = time.monotonic() + seconds
    count = 0
    smallest: list[bytes] = []

    @settings(
        max_examples=200,
        deadline=None,
        database=DirectoryBasedExampleDatabase(CACHE / "hypothesis"),
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def shaped(raw: bytes) -> None:
        nonlocal count
        count += 1
        try:
            target.run(raw)
        except Exception:
            smallest[:] = [raw]  # the last to fail is the one it was reduced to
            raise

    while time.monotonic() < until:
        try:
            shaped()
        except Exception:
            traceback.print_exc()
            print(f"kept {keep(name, smallest[0])}", file=sys.stderr)
            return count, False
    return count, True


def main() -> int:
    """Share the time among the targets; the exit code says whether all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="Only this (repeatable)")
    args = parser.parse_args()
    names = args.target or list(TARGETS)
    seconds = args.minutes * 60 / len(names)
    by_coverage = find_spec("atheris") is not None
    print(
        f"{'Atheris and ' if by_coverage else ''}Hypothesis, {seconds:.0f} s a target", flush=True
    )
    well = True
    for name in names:
        if by_coverage:
            ran, passed = guided(name, seconds)
        else:
            ran, passed = alone(name, TARGETS[name], seconds)
        print(f"{name:<10} {ran:>9,} inputs  {'ok' if passed else 'BROKEN'}", flush=True)
        well = well and passed
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
