"""The broker measured on, and what is done with its topics from outside the worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.broker.client import client_options
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.settings import KafkaSettings, Settings

Kind = Literal["kafka", "embedded"]

PARTITIONS = 4


class Broker(NamedTuple):
    """A broker that runs.

    Attributes:
        name: What it is.
        pid: Its process.
    """

    name: str
    settings: KafkaSettings
    pid: int


def start_broker(
    wanted: Kind | None, folder: Path, stack: ExitStack, say: Callable[[str], None]
) -> Broker:
    """Start a broker that `stack` stops.

    Without a wish it is a real Apache Kafka where Java and Maven are installed, else the embedded
    broker.

    Raises:
        BrokerError: The embedded broker cannot be had.
        KafkaUnavailableError: Kafka was asked for and cannot be had.
    """
    reason = "as asked"
    if wanted != "embedded":
        try:
            from tests.kafka.server import VERSION, KafkaServer, KafkaUnavailableError
        except ImportError:
            if wanted == "kafka":
                raise
            reason = "Kafka is started by code under tests/, which is not here"
        else:
            say("starting Apache Kafka (the first time, Maven fetches it)")
            server = KafkaServer(folder / "kafka")
            try:
                server.start()
            except KafkaUnavailableError as error:
                if wanted == "kafka":
                    raise
                reason = str(error)
            else:
                stack.callback(server.stop)
                settings = KafkaSettings(
                    bootstrap_servers=server.bootstrap_servers,
                    partitions=PARTITIONS,
                    replication=1,
                    min_insync_replicas=1,
                )
                name = f"Apache Kafka {VERSION}, one node, this machine"
                return Broker(name, settings, server.pid or 0)
    broker = EmbeddedBroker()
    broker.start()
    stack.callback(broker.stop)
    return Broker(f"embedded, in memory ({reason})", broker.kafka_settings(), broker.pid or 0)


@asynccontextmanager
async def reading(settings: Settings, topics: Sequence[str]) -> AsyncIterator[tuple[Any, Any]]:
    """A consumer of all partitions of `topics` (full names), in no group; with the partitions."""
    consumer = AIOKafkaConsumer(
        **client_options(settings.kafka), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(t, n) for t in topics for n in range(PARTITIONS)]
        consumer.assign(partitions)
        yield consumer, partitions
    finally:
        await consumer.stop()


async def last_written(settings: Settings, topics: Sequence[str]) -> float:
    """Kafka timestamp of the newest record in `topics` (full names), in epoch seconds."""
    async with reading(settings, topics) as (consumer, partitions):
        ends = await consumer.end_offsets(partitions)
        waiting = {tp: end for tp, end in ends.items() if end}
        for tp in partitions:
            consumer.seek(tp, max(0, ends[tp] - 1))
        newest = 0.0
        deadline = time.monotonic() + 30
        while waiting and time.monotonic() < deadline:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                waiting.pop(tp, None)
                newest = max(newest, *(record.timestamp / 1000 for record in records))
        if waiting:
            raise RuntimeError(f"no last record came of {', '.join(map(str, waiting))}")
        return newest


async def bytes_of(settings: Settings, topic: str) -> tuple[int, int]:
    """Records of a topic (full name), and the bytes of their keys and values."""
    async with reading(settings, [topic]) as (consumer, partitions):
        ends = await consumer.end_offsets(partitions)
        count = size = 0
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                count += len(records)
                size += sum(len(r.key or b"") + len(r.value or b"") for r in records)
        return count, size


async def copy_topic(source: Settings, target: Settings, name: str) -> int:
    """Copy the records of one of our topics, partition by partition; returns how many."""
    topic, copy = source.topic(name), target.topic(name)
    producer = AIOKafkaProducer(**client_options(target.kafka), linger_ms=20)
    await producer.start()
    try:
        async with reading(source, [topic]) as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            count = 0
            while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        await producer.send(
                            copy, record.value, key=record.key, partition=record.partition
                        )
                        count += 1
            return count
    finally:
        await producer.stop()
