"""Reading a compacted topic as it stands: the latest record of each key."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.broker import BrokerError
from pipeline.broker.allowed import require_rights
from pipeline.broker.client import client_options
from pipeline.rights import Right
from pipeline.settings import Settings
from pipeline.topics import changelog_topic

T = TypeVar("T")

_PATIENCE: Final = 30.0


async def read_compacted(settings: Settings, topic: str, kind: type[T]) -> list[T]:
    """The latest record of each key of one of our compacted topics.

    Raises:
        BrokerError: The topic does not exist or cannot be read to its end.
    """
    return list((await _read_topic(settings, settings.topic(topic), kind)).values())


async def read_state(
    settings: Settings, table: str, kind: type[T], merge: Callable[[T, T], T]
) -> list[T]:
    """What an agent has written down in one of its tables, of all partitions.

    Args:
        merge: As for `StateTable`: there may be several versions of a value.

    Raises:
        BrokerError: As `read_compacted`.
    """
    found: dict[bytes, T] = {}
    versions = await _read_topic(settings, changelog_topic(settings, table), kind)
    for version, value in versions.items():
        key = version.rpartition(b"@")[0]
        found[key] = merge(found[key], value) if key in found else value
    return list(found.values())


async def read_versions(settings: Settings, table: str, kind: type[T]) -> list[T]:
    """Every version of every value that stands in a table's changelog, as workers would find it.

    Raises:
        BrokerError: As `read_compacted`.
    """
    return list((await _read_topic(settings, changelog_topic(settings, table), kind)).values())


async def _read_topic(settings: Settings, name: str, kind: type[T]) -> dict[bytes, T]:
    await require_rights(settings, [Right("topic", name, ("Read",))])
    consumer = AIOKafkaConsumer(
        **client_options(settings.kafka),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        known = await consumer.topics()
        if name not in known:
            raise BrokerError(
                f"topic {name} does not exist: start a worker (`gapwatch run`) or create the "
                "topics (`gapwatch topics create`)"
            )
        # Assigning one partition of a topic makes the client ask for the others.
        first = TopicPartition(name, 0)
        consumer.assign([first])
        await consumer.end_offsets([first])
        partitions = [
            TopicPartition(name, number)
            for number in sorted(consumer.partitions_for_topic(name) or ())
        ]
        return await _read(consumer, partitions, kind)
    except KafkaError as error:
        raise BrokerError(f"topic {name} cannot be read: {error}") from error
    finally:
        await consumer.stop()


async def _read(consumer: Any, partitions: list[TopicPartition], kind: type[T]) -> dict[bytes, T]:
    decode = msgspec.json.Decoder(kind).decode
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    latest: dict[bytes, T] = {}
    deadline = time.monotonic() + _PATIENCE
    while True:
        behind = [tp for tp in partitions if await consumer.position(tp) < ends[tp]]
        if not behind:
            return latest
        if time.monotonic() > deadline:
            raise BrokerError(f"{behind[0].topic} was not read to its end in {_PATIENCE:g} s")
        for records in (await consumer.getmany(*behind, timeout_ms=500)).values():
            for record in records:
                if record.value is None:
                    latest.pop(record.key, None)
                else:
                    latest[record.key] = decode(record.value)
