"""A worker is killed while events come in: how long until those of its partitions are mentions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.brokers import PARTITIONS, reading
from benchmarks.state import Plan
from benchmarks.worker import BenchmarkError, Worker, another
from benchmarks.workload import as_json
from pipeline.broker.client import client_options
from pipeline.records import Stamp
from pipeline.settings import Settings

RATE: Final = 200.0
"""Events a second, many more than partitions: so a gap is the worker's, not chance's."""

BEFORE_SECONDS: Final = 5.0
AFTER_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 180.0

_CALM: Final = 0.3
_FLOWING_SECONDS: Final = 1.0


class _Stamped(msgspec.Struct):
    stamp: Stamp


_stamped: Final = msgspec.json.Decoder(_Stamped).decode


@dataclass(frozen=True, slots=True)
class Failover:
    """What the kill of one of two workers did to the mentions.

    Attributes:
        longest: Seconds without a mention from one of the events partitions: the one that was
            without longest was the killed worker's.
        shortest: The same of the one that was without for the shortest time.
        session_timeout: Seconds after which the broker gives up a worker that it does not hear of.
        megabytes_before, megabytes: Memory of the worker that is left, while there were two and
            when it has taken over.
    """

    longest: float
    shortest: float
    session_timeout: float
    megabytes_before: float
    megabytes: float


def run_failover(config: Path, settings: Settings, plan: Plan) -> Failover:
    """Start two workers on the state there is, send events, kill one."""
    with Worker(config, settings) as first:
        first.ready(PATIENCE_SECONDS)
        with Worker(*another(config)) as second:
            second.ready(PATIENCE_SECONDS)
            first.ready(PATIENCE_SECONDS)
            _calm(first, second)
            return asyncio.run(_measure(settings, plan, first, second))


def _calm(*workers: Worker) -> None:
    """Wait until nobody restores anything any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    calm = 0
    while calm < 3:
        before, began = [worker.cpu().total for worker in workers], time.monotonic()
        time.sleep(1.0)
        used = [worker.cpu().total - cpu for worker, cpu in zip(workers, before, strict=True)]
        calm = calm + 1 if max(used) < _CALM * (time.monotonic() - began) else 0
        if time.monotonic() > deadline:
            raise BenchmarkError("the workers did not come to rest")


async def _measure(settings: Settings, plan: Plan, killed: Worker, left: Worker) -> Failover:
    written: dict[int, list[float]] = {partition: [] for partition in range(PARTITIONS)}
    async with reading(settings, [settings.topic("mentions")]) as (consumer, partitions):
        await consumer.seek_to_end(*partitions)
        tasks = [
            asyncio.create_task(_send(settings, plan)),
            asyncio.create_task(_collect(consumer, written)),
        ]
        try:
            await _flowing(written, time.time())
            await asyncio.sleep(BEFORE_SECONDS)
            at, before = time.time(), left.megabytes()
            killed.kill()
            await asyncio.sleep(AFTER_SECONDS)
            await _flowing(written, time.time())
            await asyncio.sleep(AFTER_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    gaps = [_longest(times, at) for times in written.values()]
    return Failover(
        longest=max(gaps),
        shortest=min(gaps),
        session_timeout=settings.kafka.session_timeout,
        megabytes_before=before,
        megabytes=left.megabytes(),
    )


async def _flowing(written: dict[int, list[float]], since: float) -> None:
    """Wait until mentions written after `since` come from all events partitions."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(times and times[-1] > since for times in written.values()):
        await asyncio.sleep(0.05)
        if time.monotonic() > deadline:
            raise BenchmarkError("mentions did not flow again")


def _longest(times: list[float], since: float) -> float:
    times = sorted(times)
    return max(
        (after - before for before, after in pairwise(times) if after > since), default=float("inf")
    )


async def _collect(consumer: Any, written: dict[int, list[float]]) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                partition = _stamped(record.value).stamp.partition
                written[partition].append(record.timestamp / 1000)


async def _send(settings: Settings, plan: Plan) -> None:
    """Send events about the brands there is state of, at an even pace, until cancelled."""
    producer = AIOKafkaProducer(**client_options(settings.kafka), acks="all")
    await producer.start()
    names = list(plan.names())
    began = time.time()
    try:
        for number in count():
            if (wait := began + number / RATE - time.time()) > 0:
                await asyncio.sleep(wait)
            event = {
                "id": f"{began}-{number}",
                "source": "benchmark",
                "published": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
                "text": f"{names[number % len(names)]} said two days, and it took {number}.",
                "actor": {"id": f"author-{number % 5000}"},
            }
            await producer.send(settings.topic("events"), as_json(event), key=event["id"].encode())
    finally:
        await producer.stop()
