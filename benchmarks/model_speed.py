"""`python -m benchmarks.model_speed`: the classifier's speed beside what it replaces.

Every way to label posts runs in a process of its own, pinned to one core, on the same posts of the
sample day. What is told is posts a second of CPU time: on a machine that has other work to do, the
clock on the wall says more of that work. Our classifier is measured whole, from the text as it came
to six labels with probabilities; the pipelines give one label. Needs the extra `torch`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.machine import machine
from benchmarks.model_run import BATCHES, WORKER_BATCH
from benchmarks.programs import run_program
from benchmarks.report import Row, show, show_json
from benchmarks.workload import sample_posts

SAME: Final = 8.0
"""Times the pipeline of the same encoder, one by one."""

LARGER: Final = 50.0
"""Times the pipeline of an encoder with 12 layers, 768 wide, one by one."""

TOKENIZING: Final = 0.05
LANGUAGE: Final = 0.05

_WAYS: Final = {
    "onnx": "int8, six heads (ours)",
    "torch": "float in torch, six heads",
    "pipeline": "pipeline(), same encoder",
    "pipeline-large": "pipeline(), 12 layers, 768 wide",
}
_POSTS: Final = 3_000


def measure(folder: Path) -> Iterator[Row]:
    """Run the ways one after the other; rows come as they are known."""
    file = folder / "texts.json"
    distinct, reposted = sample_posts(_POSTS, distinct=True).texts, sample_posts(_POSTS).texts
    file.write_text(json.dumps({"distinct": distinct, "reposted": reposted}), encoding="utf-8")
    found: dict[str, Mapping[str, Any]] = {}
    for way, name in _WAYS.items():
        found[way] = run_program("model_run", [way, "1", str(file)])
        for batch in BATCHES:
            yield _row(name, f"batch {batch}", found[way][str(batch)])
        if way == "onnx":
            yield _row(name, f"batch {WORKER_BATCH}, as a worker", found[way][str(WORKER_BATCH)])
            yield _row(name, "the same, a stream with reposts", found[way]["stream"])
    ours = found["onnx"][str(WORKER_BATCH)]["per_cpu_second"]
    for way, goal in (("pipeline", SAME), ("pipeline-large", LARGER)):
        times = ours / found[way]["1"]["per_cpu_second"]
        yield Row(
            "ours as a worker ÷", f"{_WAYS[way]}, one by one", f"{times:.1f} ×",
            "a core", f"≥ {goal:.0f} ×", times >= goal, times,
        )  # fmt: skip
    parts = run_program("model_run", ["parts", "1", str(file)])
    goals = {"tokenizing": TOKENIZING, "language": LANGUAGE}
    for step in ("normalising", "language", "tokenizing"):
        share = parts[step] / parts["all"]
        goal = goals.get(step)
        yield Row(
            "before the network",
            step,
            f"{share:.1%}",
            f"{parts[step]:.0f} of {parts['all']:,.0f} µs a post",
            f"≤ {goal:.0%}" if goal else "",
            share <= goal if goal else None,
            share,
        )


def _row(part: str, what: str, found: Mapping[str, float]) -> Row:
    speed = found["per_cpu_second"]
    note = f"{found['speed']:,.0f} by the clock on the wall"
    return Row(part, what, f"{speed:,.0f} posts/s", note, value=speed)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(as_json: bool) -> None:
    """Measure the classifier's speed on one core, beside what it replaces; about two minutes."""
    if not sys.platform.startswith("linux"):
        raise click.ClickException("processes are pinned to a core: Linux is needed")
    if missing := [name for name in ("torch", "transformers") if find_spec(name) is None]:
        raise click.ClickException(
            f"{' and '.join(missing)} missing: pip install 'gapwatch[torch]'"
        )
    began = time.monotonic()
    facts = machine()
    rows = []
    with tempfile.TemporaryDirectory(prefix="gapwatch-") as folder:
        for row in measure(Path(folder)):
            click.echo(f"{time.monotonic() - began:5.0f} s  {row.part}, {row.what}: {row.figure}",
                       err=True)  # fmt: skip
            rows.append(row)
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    (show_json if as_json else show)(sys.stdout, facts, rows)


if __name__ == "__main__":
    main()
