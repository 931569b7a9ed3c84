"""`python -m benchmarks.nab DIR`: the Numenta Anomaly Benchmark's score on Twitter mention counts.

The benchmark's own data (realTweets: companies' mentions, 5-minute counts, windows around labelled
anomalies) is not part of this repository: DIR holds its CSV files and `windows.json`. The scorer
follows the published formula (Lavin and Ahmad, "Evaluating Real-Time Anomaly Detection
Algorithms", ICMLA 2015), standard profile.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.backtest import Row, backtest, read_series

TRUE_POSITIVE: Final = 1.0
FALSE_POSITIVE: Final = 0.11
FALSE_NEGATIVE: Final = 1.0
"""Weights of the standard profile."""

PROBATION: Final = 0.15
PROBATION_ROWS: Final = 750
"""The first 15 % of a series, though at most 15 % of 5,000 rows, count neither way."""

LEVELS: Final = 300
"""Thresholds tried at most, spread over the scores there are."""

PUBLISHED: Final = {
    "ARTime": 81.9,
    "CAD OSE": 74.5,
    "Skyline": 69.0,
    "Numenta HTM": 68.0,
    "Twitter ADVec": 59.6,
    "windowed Gaussian": 51.4,
}
"""Published scores over all ten realTweets series, each with its own best threshold."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A series with its windows, as row numbers (first, last)."""

    name: str
    rows: list[Row]
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Rows at the start that count neither way."""
        return min(math.floor(PROBATION * len(self.rows)), PROBATION_ROWS)

    @property
    def counted(self) -> list[tuple[int, int]]:
        """Windows with a row that counts."""
        return [(first, last) for first, last in self.windows if last >= self.probation]


def worth(position: float) -> float:
    """The scaled sigmoid: near 1 at a window's start (−1), 0 at its end (0), −1 far behind it."""
    return -1.0 if position > 3.0 else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def raw_score(series: Labelled, scores: list[float], threshold: float) -> float:
    """Sum over windows and false alarms when rows with `scores` ≥ `threshold` are detections."""
    detected = [
        row for row, score in enumerate(scores) if score >= threshold and row >= series.probation
    ]
    total = 0.0
    for first, last in series.counted:
        at = bisect_left(detected, first)
        if at < len(detected) and detected[at] <= last:
            position = -(last - detected[at] + 1) / (last - first + 1)
            total += TRUE_POSITIVE * worth(position) / worth(-1.0)
        else:
            total -= FALSE_NEGATIVE
    for row in detected:
        before = [window for window in series.windows if window[0] <= row]
        if not before:
            total -= FALSE_POSITIVE
        elif row > before[-1][1]:
            first, last = before[-1]
            total += FALSE_POSITIVE * worth((row - last) / (last - first))
    return total


def nab_score(
    series: Iterable[Labelled], scores: dict[str, list[float]], threshold: float
) -> float:
    """The NAB score: 100 for a perfect detector, 0 for one that never detects."""
    raw = 0.0
    windows = 0
    for one in series:
        raw += raw_score(one, scores[one.name], threshold)
        windows += len(one.counted)
    nothing, perfect = -FALSE_NEGATIVE * windows, TRUE_POSITIVE * windows
    return 100.0 * (raw - nothing) / (perfect - nothing)


def best_threshold(series: list[Labelled], scores: dict[str, list[float]]) -> float:
    """The one threshold over all series that scores best, as NAB chooses it."""
    levels = sorted({score for one in series for score in scores[one.name] if score > 0.0})
    if len(levels) > LEVELS:
        levels = [levels[round(at)] for at in np.linspace(0, len(levels) - 1, LEVELS)]
    return max([*levels, 0.5, math.inf], key=lambda level: nab_score(series, scores, level))


def ours(series: Labelled, budget: float) -> list[float]:
    """Scores as `gapwatch backtest` prints them."""
    return [row.score for row in backtest(series.rows, budget=budget)]


def windowed_gaussian(series: Labelled) -> list[float]:
    """The benchmark's simplest detector, to see that the scorer is right.

    How unusual a value is for a normal distribution with mean and deviation of the 6,400 rows
    before, which move on every 100 rows.
    """
    values = np.array([row.value for row in series.rows])
    scores = []
    mean, deviation = 0.0, 1.0
    start = 0
    for at, value in enumerate(values):
        scores.append(1.0 - 0.5 * math.erfc(abs(value - mean) / deviation / math.sqrt(2.0)))
        length = at + 1 - start
        if length <= 6400 or length == 6500:
            start = max(start, at + 1 - 6400)
            window = values[start : at + 1]
            mean, deviation = float(window.mean()), float(window.std()) or 1e-6
    scores[0] = 0.0
    return scores


def load(folder: Path) -> list[Labelled]:
    """The series that `windows.json` names."""
    found = []
    for name, windows in sorted(json.loads((folder / "windows.json").read_text()).items()):
        with (folder / name).open(encoding="utf-8", newline="") as lines:
            rows = read_series(lines, name)
        at = {row.at: number for number, row in enumerate(rows)}
        edges = [
            tuple(at[datetime.fromisoformat(edge).replace(tzinfo=UTC)] for edge in window)
            for window in windows
        ]
        short = name.removesuffix(".csv").removeprefix("Twitter_volume_")
        found.append(Labelled(short, rows, [(first, last) for first, last in edges]))
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--budget", default=1.0, show_default=True, help="False alarms a week and series.")
def main(folder: Path, budget: float) -> None:
    """Score the detector on the labelled series in FOLDER."""
    series = load(folder)
    mine = {one.name: ours(one, budget) for one in series}
    gaussian = {one.name: windowed_gaussian(one) for one in series}
    table = Table(
        "detector (published: over ten series)", "threshold", "all", *(one.name for one in series)
    )

    def row(name: str, scores: dict[str, list[float]], threshold: float) -> None:
        each = (nab_score([one], scores, threshold) for one in series)
        table.add_row(
            name,
            f"{threshold:.4f}",
            f"{nab_score(series, scores, threshold):.1f}",
            *(f"{score:.1f}" for score in each),
        )

    row("Gapwatch, as it alerts", mine, 0.5)
    row("Gapwatch, best threshold", mine, best_threshold(series, mine))
    row("windowed Gaussian, here", gaussian, best_threshold(series, gaussian))
    for name, score in PUBLISHED.items():
        table.add_row(f"{name}, published", "best", f"{score:.1f}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)
    for one in series:
        weeks = (one.rows[-1].at - one.rows[0].at).total_seconds() / 604_800
        spikes = sum(score >= 0.5 for score in mine[one.name])
        console.print(f"{one.name}: {spikes} spikes, {spikes / weeks:.2f} a week")


if __name__ == "__main__":
    main()
