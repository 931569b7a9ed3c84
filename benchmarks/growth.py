"""How much more several workers do than one, on the same backlog and the same machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.machine import Cpu
from benchmarks.saturation import prepare
from benchmarks.worker import BenchmarkError, Mark, Worker, another
from benchmarks.workload import as_json
from pipeline.sending import send_events
from pipeline.settings import KafkaSettings
from pipeline.sources.files import SourceRecord

BRANDS: Final = 64
"""Enough that the mentions' partitions are alike."""

SECONDS: Final = 4.0
LEAST_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 1.0
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What workers did together while none ran out of work.

    Attributes:
        per_second: Events a second.
        worker_cores, broker_cores: Cores they used, all workers together.
    """

    per_second: float
    worker_cores: float
    broker_cores: float


def run_growth(
    folder: Path,
    kafka: KafkaSettings,
    broker: Callable[[], Cpu],
    *,
    workers: int,
    events: int,
    limit: float | None = None,
) -> Growth:
    """Let `workers` take a backlog of `events`.

    Args:
        limit: Posts a second that each worker's classifier takes; None for the null classifier.
    """
    brands = folder / "many.toml"
    brands.write_text(
        "".join(f'[[brands]]\nkey = "b{n}"\nname = "Brand{n}"\n' for n in range(BRANDS)), "utf-8"
    )
    config, settings = prepare(folder, kafka, model="null", brands_file=brands)
    if limit is not None:
        # Batches of a tenth of a second: counts are read between them.
        text = config.read_text(encoding="utf-8")
        batch = f"[model]\nbatch = {max(1, round(limit / 10))}\n"
        config.write_text(text.replace("[model]\n", batch), encoding="utf-8")
    asyncio.run(send_events(settings, _events(events)))
    with ExitStack() as stack:
        configs = [(config, settings), *(another(config) for _ in range(workers - 1))]
        running = [stack.enter_context(Worker(*each, limit=limit)) for each in configs]
        for worker in running:
            worker.ready()
        _together(running)
        return _watch(running, broker)


def _together(workers: list[Worker]) -> None:
    """Wait until all work: the last one's joining has been dealt with by all."""
    deadline = time.monotonic() + _PATIENCE
    before = [worker.mark()["events_total"] for worker in workers]
    while any(
        worker.mark()["events_total"] <= seen for worker, seen in zip(workers, before, strict=True)
    ):
        time.sleep(0.1)
        if time.monotonic() > deadline:
            raise BenchmarkError("a worker got nothing to do")
    time.sleep(_SETTLE_SECONDS)


def _watch(workers: list[Worker], broker: Callable[[], Cpu]) -> Growth:
    first, broker_first = [worker.mark() for worker in workers], broker()
    last, broker_last = first, broker_first
    while last[0].at - first[0].at < SECONDS:
        time.sleep(0.25)
        marks, broker_now = [worker.mark() for worker in workers], broker()
        if not all(mark["lag_records"] for mark in marks):
            break
        last, broker_last = marks, broker_now
    seconds = last[0].at - first[0].at
    if seconds < LEAST_SECONDS:
        raise BenchmarkError("the backlog was worked off too soon: give more events")
    return Growth(
        per_second=sum(map(_rate, first, last)),
        worker_cores=sum(
            (b.cpu - a.cpu).total / (b.at - a.at) for a, b in zip(first, last, strict=True)
        ),
        broker_cores=(broker_last - broker_first).total / seconds,
    )


def _rate(first: Mark, last: Mark) -> float:
    return (last["events_total"] - first["events_total"]) / (last.at - first.at)


def _events(count: int) -> Iterator[SourceRecord]:
    began = datetime.now(UTC) - timedelta(minutes=30)
    for number in range(count):
        event = {
            "id": f"growth-{number}",
            "source": "benchmark",
            "published": f"{began + timedelta(milliseconds=number):%Y-%m-%dT%H:%M:%S.%f}Z",
            "text": f"Brand{number % BRANDS} said two days. Day {number} and it never came.",
            "actor": {"id": f"author-{number % 9973}", "followers": number % 500},
        }
        yield SourceRecord(event["id"].encode(), as_json(event), None, number)  # type: ignore[attr-defined]
