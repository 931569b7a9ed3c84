"""`python -m benchmarks.incidents`: false alarms and time to detect, on simulated talk.

Series of every kind run for weeks through the detector, as the worker runs them; false alarms are
counted once a series is warm. Then incidents of known onset, size and shape are added to copies of
each, mention by mention. The same counts go through the rules people use (`benchmarks/rules.py`),
each tuned, for each kind of series, to as many false alarms as ours.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.rules import REST, RULES, Exceedances, exceedances, records, tuned
from benchmarks.talk import DAY, HORIZON, KINDS, SHAPES, SIZES, WEEK, Counts, incident, talk
from pipeline.domain.spikes import SERIES_OF_A_BRAND, Detector, Past

WARM_WEEKS: Final = 2
EPOCH: Final = 17_003 * DAY
"""The first minute: midnight of a Monday."""

MISSED: Final = HORIZON * 60.0
"""Seconds: what is not found by then is missed."""

PLACES: Final = 30
"""A minute's mentions are judged one by one, or in so many groups where there are more."""

Case = tuple[str, str]
"""Shape and size of an incident."""

CASES: Final = tuple(itertools.product(SHAPES, SIZES))

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Past).decode


@dataclass(frozen=True, slots=True)
class Task:
    """A series to simulate."""

    seed: int
    kind: str
    weeks: int
    budget: float
    least: int


@dataclass
class Outcome:
    """What a series came to.

    Attributes:
        kind: Kind of series.
        alarms: False alarms once it was warm.
        early: Alarms before.
        first: Alarms on its first day, apart.
        excused: Alarms soon after a lasting shift.
        stirs: Stirs a week that the detector has learnt of.
        highest: Per rule, its highest values while false alarms were counted.
        found: Per incident, seconds from onset to alarm.
        rivals: Per rule and incident, its record values after onset.
    """

    kind: str
    alarms: int = 0
    early: int = 0
    first: int = 0
    excused: int = 0
    stirs: float = 0.0
    highest: dict[str, Exceedances] = field(default_factory=dict)
    found: dict[Case, float] = field(default_factory=dict)
    rivals: dict[tuple[str, Case], Exceedances] = field(default_factory=dict)


def run(task: Task) -> Outcome:
    """Simulate a series, and incidents on copies of it."""
    end = task.weeks * WEEK
    simulated = talk(task.seed, task.kind, end + 2 * DAY)
    detector = Detector(budget=task.budget, min_mentions=task.least)
    past = detector.past(EPOCH)
    outcome = Outcome(task.kind)
    last = -REST
    for minute in _spikes(detector, past, simulated.counts, 0, end):
        if minute - last >= REST:
            if simulated.excused[0] <= minute < simulated.excused[1]:
                outcome.excused += 1
            elif minute < DAY:
                outcome.first += 1
            elif minute < WARM_WEEKS * WEEK:
                outcome.early += 1
            else:
                outcome.alarms += 1
        last = minute
    outcome.stirs = past.stirs / past.weeks
    for name, (rule, bucket) in RULES.items():
        outcome.highest[name] = exceedances(rule, bucket, simulated.counts, WARM_WEEKS * WEEK, end)
    if task.kind != "shifting":
        _incidents(task, detector, past, simulated.counts, simulated.rate, end, outcome)
    return outcome


def _spikes(detector: Detector, past: Past, counts: Counts, start: int, end: int) -> list[int]:
    """Minutes at whose end a series is a spike."""
    found = []
    for at in np.flatnonzero(counts[start:end]):
        minute = start + int(at)
        detector.count(past, EPOCH + minute, int(counts[minute]))
        if detector.judge(past, EPOCH + minute).spike:
            found.append(minute)
    return found


def _incidents(
    task: Task,
    detector: Detector,
    past: Past,
    counts: Counts,
    rate: np.ndarray,
    end: int,
    outcome: Outcome,
) -> None:
    rng = np.random.default_rng([task.seed, 1])
    onset = end + int(rng.integers(DAY))
    _spikes(detector, past, counts, end, onset)
    state = _encode(past)
    usual = float(rate[onset : onset + 60].mean())
    for number, case in enumerate(CASES):
        extra = incident(task.seed * 100 + number, usual, *case)
        with_it = counts[onset : onset + HORIZON] + extra
        outcome.found[case] = _seconds(detector, _decode(state), with_it, onset, rng)
        history = np.concatenate([counts[onset - 15 * DAY : onset], with_it])
        for name, (rule, bucket) in RULES.items():
            outcome.rivals[name, case] = records(rule, bucket, history, 15 * DAY)


def _seconds(
    detector: Detector, past: Past, counts: Counts, onset: int, rng: np.random.Generator
) -> float:
    """Seconds from onset until the alarm, judged as mentions arrive."""
    for minute, many in enumerate(counts.tolist()):
        if not many:
            continue
        groups = min(many, PLACES)
        times = np.sort(rng.uniform(0, 60, groups)).tolist()
        for group, second in enumerate(times):
            size = many // groups + (group < many % groups)
            detector.count(past, EPOCH + onset + minute, size)
            if detector.judge(past, EPOCH + onset + minute).spike:
                return float(minute * 60 + second)
    return MISSED


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--series", default=1000, show_default=True, help="Series, of all kinds together.")
@click.option("--weeks", default=6, show_default=True, type=click.IntRange(min=3))
@click.option("--budget", default=1.0, show_default=True, help="False alarms a brand and week.")
@click.option("--min-mentions", "least", default=8, show_default=True)
@click.option("--quick", is_flag=True, help="50 series: a look, in a minute or so.")
@click.option("--cost", is_flag=True, help="CPU and state of a series instead.")
@click.option("--example", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a series with two incidents instead, a CSV file.")  # fmt: skip
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(
    series: int,
    weeks: int,
    budget: float,
    least: int,
    quick: bool,
    cost: bool,
    example: Path | None,
    processes: int,
) -> None:
    """Measure the detector on simulated talk; everything follows from seeds."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    if cost:
        show_cost(console, weeks)
        return
    if example:
        write_example(example)
        return
    began = time.monotonic()
    if quick:
        series = 50
    tasks = [
        Task(seed, kind, weeks, budget, least)
        for seed in range(series // len(KINDS))
        for kind in KINDS
    ]
    with multiprocessing.Pool(processes) as pool:
        outcomes = list(pool.imap_unordered(run, tasks, chunksize=1))
    show_false_alarms(console, outcomes, weeks, budget)
    show_incidents(console, outcomes)
    console.print(f"{len(tasks)} series of {weeks} weeks in {time.monotonic() - began:.0f} s")


def write_example(path: Path) -> None:
    """Four weeks of a quarter-hour series, with a burst and a slow swell in the last of them."""
    counts = talk(11, "bursty", 4 * WEEK).counts.copy()
    usual = float(counts.mean())
    for number, (at, shape) in enumerate(((24 * DAY + 10 * 60, "burst"), (26 * DAY, "ramp"))):
        counts[at : at + HORIZON] += incident(number, usual, shape, "medium")
    quarters = counts.reshape(-1, 15).sum(axis=1)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    lines = (
        f"{start + timedelta(minutes=15 * at):%Y-%m-%d %H:%M},{count}\n"
        for at, count in enumerate(quarters)
    )
    path.write_text("timestamp,value\n" + "".join(lines), encoding="utf-8")


def show_false_alarms(console: Console, outcomes: list[Outcome], weeks: int, budget: float) -> None:
    """False alarms a brand and week against the budget."""
    table = Table("series", "what", f"false alarms a brand and week (budget {budget:g})",
                  "series-weeks", "until then", "first day, a series", "stirs a week",
                  "shifts told")  # fmt: skip
    for kind, words in (*KINDS.items(), ("all", "")):
        some = [one for one in outcomes if kind in (one.kind, "all")]
        many = len(some) * (weeks - WARM_WEEKS)
        early = sum(one.early for one in some) / (len(some) * (WARM_WEEKS - DAY / WEEK))
        first = sum(one.first for one in some) / len(some)
        count = sum(one.alarms for one in some)
        each = SERIES_OF_A_BRAND / many
        table.add_row(
            kind,
            words,
            f"{count * each:.2f} ± {2 * np.sqrt(max(count, 1)) * each:.2f}",
            str(many),
            f"{early * SERIES_OF_A_BRAND:.2f}",
            f"{first:.2f}",
            f"{np.mean([one.stirs for one in some]):.2f}",
            f"{sum(one.excused > 0 for one in some) / len(some):.0%}" if kind == "shifting" else "",
        )
    console.print(table)


def show_incidents(console: Console, outcomes: list[Outcome]) -> None:
    """Share found and time to detect, beside the rules at as many false alarms."""
    some = [one for one in outcomes if one.found]
    times: dict[str, dict[Case, list[float]]] = {"Gapwatch": {}}
    for case in CASES:
        times["Gapwatch"][case] = [one.found[case] for one in some]
    for name in RULES:
        times[name] = {case: [] for case in CASES}
        for kind in KINDS:
            alike = [one for one in some if one.kind == kind]
            if not alike:
                continue
            threshold = tuned(
                (one.highest[name] for one in alike), sum(one.alarms for one in alike)
            )
            for one, case in itertools.product(alike, CASES):
                rival = one.rivals[name, case]
                over = rival.minutes[rival.values >= threshold]
                times[name][case].append(float(over[0]) * 60 if len(over) else MISSED)
    for shape in SHAPES:
        table = Table(f"{shape}: detector", *(f"{size}: found, median, p95" for size in SIZES))
        for name, found in times.items():
            cells = []
            for size in SIZES:
                values = np.array(found[shape, size])
                share = np.mean(values < MISSED)
                median, late = np.quantile(values, [0.5, 0.95])
                cells.append(f"{share:.0%}  {_span(median)}  {_span(late)}")
            table.add_row(name, *cells)
        console.print(table)


def _span(seconds: float) -> str:
    if seconds >= MISSED:
        return "missed"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def show_cost(console: Console, weeks: int) -> None:
    """CPU of a mention, counted and judged, and the state a series has at the end."""
    table = Table("series", "mentions", "CPU a mention", "CPU a week", "bytes of state")
    sizes = []
    for kind in KINDS:
        simulated = talk(7, kind, weeks * WEEK)
        detector = Detector()
        past = detector.past(EPOCH)
        mentions = np.repeat(np.arange(weeks * WEEK), simulated.counts)[:200_000].tolist()
        began = time.process_time()
        for minute in mentions:
            detector.count(past, EPOCH + minute)
            detector.judge(past, EPOCH + minute)
        spent = time.process_time() - began
        sizes.append(len(_encode(past)))
        table.add_row(
            kind,
            f"{len(mentions):,}",
            f"{spent / len(mentions) * 1e6:.1f} µs",
            f"{spent / (mentions[-1] / WEEK) * 1e3:.0f} ms",
            str(sizes[-1]),
        )
    console.print(table)
    console.print(
        f"10,000 brands × {SERIES_OF_A_BRAND} series: {min(sizes) * 80_000 / 2**20:.0f} MiB "
        f"encoded if all are as the smallest here, {max(sizes) * 80_000 / 2**20:.0f} MiB as the "
        "largest"
    )


if __name__ == "__main__":
    main()
