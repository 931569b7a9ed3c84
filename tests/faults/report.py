"""The table of docs/reliability.md, from the log of runs: `python -m tests.faults.report LOG`."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import msgspec


def report(runs: list[dict[str, Any]]) -> str:
    """A Markdown table: for each fault the runs it was part of, and a line for all."""
    by_fault: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        for name in set(run["faults"]):
            by_fault[name].append(run)
    lines = [
        "| fault | runs | events | lost | double | wrong | recovery, median / longest |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, part in [*sorted(by_fault.items()), ("**all**", runs)]:
        seconds = [run["recovery"] for run in part]
        cells = [
            name.replace("_", " "),
            f"{len(part)}",
            f"{sum(run['events'] for run in part):,}",
            f"{sum(run['lost'] for run in part)}",
            f"{sum(run['double'] for run in part)}",
            f"{sum(not run['ok'] for run in part)}",
            f"{median(seconds):.1f} s / {max(seconds):.1f} s",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    injected = sum(len(run["faults"]) for run in runs)
    seeds = sorted(run["seed"] for run in runs)
    lines.append("")
    lines.append(f"{len(runs)} runs, {injected} faults, seeds {seeds[0]} to {seeds[-1]}.")
    return "\n".join(lines)


if __name__ == "__main__":
    logged = Path(sys.argv[1]).read_bytes().splitlines()
    print(report([msgspec.json.decode(line) for line in logged]))
