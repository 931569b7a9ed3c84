"""Fuzzes one target with Atheris, guided by which code an input reaches.

Run by `python -m tests.fuzz`. Half of the inputs are bytes, mutated from the corpus; the other half
are choices by which Hypothesis makes what has the right shape.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris
from hypothesis import HealthCheck, given, settings

with atheris.instrument_imports(include=["pipeline", "models"]):
    from tests.fuzz.corpus import inputs, keep
    from tests.fuzz.targets import TARGETS

RAW, SHAPED = b"\0", b"\1"


def main() -> None:
    """Fuzz until the time is up or something breaks, which ends the process with an error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("seconds", type=int)
    parser.add_argument("scratch", type=Path)
    args = parser.parse_args()
    target = TARGETS[args.target]
    kept: list[bytes] = []

    def run(raw: bytes) -> None:
        try:
            target.run(raw)
        except Exception:
            # Smaller ones come later, should there be any: what is kept should be read by people.
            if not kept or len(raw) < len(kept[0]):
                for path in [keep(args.target, raw)]:
                    print(f"kept {path}", file=sys.stderr, flush=True)
                kept[:] = [raw]
            raise

    @settings(suppress_health_check=list(HealthCheck), deadline=None, database=None)
    @given(target.inputs)
    def shaped(raw: bytes) -> None:
        run(raw)

    def once(data: bytes) -> None:
        if data[:1] == SHAPED:
            shaped.hypothesis.fuzz_one_input(data[1:])  # type: ignore[attr-defined]
        else:
            run(data[1:])

    seeds = args.scratch / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for path in inputs(args.target):
        (seeds / path.name).write_bytes(RAW + path.read_bytes())
    (seeds / "shaped").write_bytes(SHAPED + bytes(range(256)) * 8)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={args.seconds}",
            "-max_len=16384",
            "-timeout=30",
            "-rss_limit_mb=3000",
            "-print_final_stats=1",
            f"-artifact_prefix={args.scratch}/",
            str(args.scratch),
            str(seeds),
        ],
        once,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
