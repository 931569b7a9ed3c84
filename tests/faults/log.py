"""Looking at a cluster from outside: what is in topics, and how far the group has come."""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.broker.client import client_options
from pipeline.settings import Settings
from pipeline.topics import topic_specs


def partitions_of(settings: Settings, topic: str) -> list[TopicPartition]:
    """The partitions of one of our topics (full name)."""
    (count,) = (spec.partitions for spec in topic_specs(settings) if spec.name == topic)
    return [TopicPartition(topic, n) for n in range(count)]


async def read(settings: Settings, topic: str) -> dict[int, list[ConsumerRecord]]:
    """Every record of a topic (full name), by partition, in offset order."""
    consumer = AIOKafkaConsumer(
        **client_options(settings.kafka), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    partitions = partitions_of(settings, topic)
    found: dict[int, list[ConsumerRecord]] = {tp.partition: [] for tp in partitions}
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                found[tp.partition] += records
    finally:
        await consumer.stop()
    return found


class Onlooker:
    """A client that looks at ends and commits; an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(**client_options(settings.kafka))
        self._admin = AIOKafkaAdminClient(**client_options(settings.kafka))

    async def __aenter__(self) -> Onlooker:
        await self._consumer.start()
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()
        await self._consumer.stop()

    async def ends(self, *topics: str) -> dict[TopicPartition, int]:
        """End offsets of topics (full names)."""
        partitions = [tp for topic in topics for tp in partitions_of(self._settings, topic)]
        self._consumer.assign(partitions)
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        return ends

    async def commits(self) -> dict[TopicPartition, int]:
        """The group's committed offsets."""
        found = await self._admin.list_consumer_group_offsets(self._settings.group)
        return {tp: meta.offset for tp, meta in found.items() if meta.offset >= 0}

    async def behind(self, topics: Sequence[str]) -> int:
        """Records of topics (full names) that the group has not committed yet."""
        commits = await self.commits()
        ends = await self.ends(*topics)
        return sum(max(0, end - commits.get(tp, 0)) for tp, end in ends.items())
