"""Latency: events come at a steady rate; how long until their mentions are in the log."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.brokers import reading
from benchmarks.machine import Cpu
from benchmarks.saturation import prepare
from benchmarks.worker import BenchmarkError, Worker
from benchmarks.workload import Workload, as_json
from pipeline.broker.client import client_options
from pipeline.records import Instant
from pipeline.settings import KafkaSettings, Settings

WARM_UP_SECONDS: Final = 3.0
"""Events of the first seconds are not counted: the model's first runs are slow."""

_LAST_SECONDS: Final = 30.0


class _Received(msgspec.Struct):
    received: Instant


_received: Final = msgspec.json.Decoder(_Received).decode


@dataclass(frozen=True, slots=True)
class LatencyRun:
    """Milliseconds from an event's Kafka timestamp to its mention's.

    Attributes:
        rate: Events a second, as they were really sent.
        written: At these percentiles: when the mention was written (its Kafka timestamp).
        seen: At these percentiles: when another process had it from the broker.
        cpu_microseconds: CPU time of the worker an event at this rate, idle costs included.
        kept_up: Whether all mentions came; the percentiles are of those that did.
    """

    mentions: int
    rate: float
    kept_up: bool
    written: dict[str, float]
    seen: dict[str, float]
    cpu_microseconds: float


def run_latency(
    folder: Path, kafka: KafkaSettings, work: Workload, *, rate: float, seconds: float
) -> LatencyRun:
    """Send events of `work` at `rate` to a worker with the model, for the warm-up and `seconds`."""
    config, settings = prepare(folder, kafka, model="default")
    with Worker(config, settings) as worker:
        worker.ready()
        return asyncio.run(_measure(worker, settings, work, rate, seconds))


async def _measure(
    worker: Worker, settings: Settings, work: Workload, rate: float, seconds: float
) -> LatencyRun:
    found: list[tuple[float, float, float]] = []
    async with reading(settings, [settings.topic("mentions")]) as (consumer, _):
        collecting = asyncio.create_task(_collect(consumer, found))
        try:
            count = min(len(work), int(rate * (WARM_UP_SECONDS + seconds)))
            began, sent, cpu = await _send(worker, settings, work, rate, count)
            deadline = time.monotonic() + _LAST_SECONDS
            expected = int(work.mentions * count / len(work) * 0.98)
            while (await _more(found) or len(found) < expected) and time.monotonic() < deadline:
                pass
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
    counted = [times for times in found if times[0] >= began + WARM_UP_SECONDS]
    return LatencyRun(
        mentions=len(counted),
        rate=count / sent,
        kept_up=len(found) >= expected,
        written=_percentiles([written - received for received, written, _ in counted]),
        seen=_percentiles([seen - received for received, _, seen in counted]),
        cpu_microseconds=cpu.total / count * 1e6,
    )


async def _more(found: list[Any]) -> bool:
    """Whether mentions still come."""
    before = len(found)
    await asyncio.sleep(1.0)
    return len(found) > before


async def _collect(consumer: Any, found: list[tuple[float, float, float]]) -> None:
    """Note of each mention: when its event came, when it was written, when it is here."""
    while True:
        records = await consumer.getmany(timeout_ms=200)
        now = time.time()
        for part in records.values():
            for record in part:
                received = _received(record.value).received.timestamp()
                found.append((received, record.timestamp / 1000, now))


async def _send(
    worker: Worker, settings: Settings, work: Workload, rate: float, count: int
) -> tuple[float, float, Cpu]:
    """Send `count` events at an even pace; when that began, how long it took, the worker's CPU."""
    producer = AIOKafkaProducer(
        **client_options(settings.kafka), acks="all", enable_idempotence=settings.kafka.idempotent
    )
    await producer.start()
    try:
        before, began, start = worker.cpu(), time.time(), time.monotonic()
        for number, event in enumerate(work.events[:count]):
            wait = start + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            published = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
            value = as_json({**event, "published": published})
            await producer.send(settings.topic("events"), value, key=event["id"].encode())
        await producer.flush()
        return began, time.monotonic() - start, worker.cpu() - before
    finally:
        await producer.stop()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        raise BenchmarkError("no mention came")
    last = len(ordered) - 1
    return {
        name: ordered[round(last * share)] * 1000
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }
