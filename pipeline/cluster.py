"""What operators' commands do with a cluster: read topics, see how far workers are, write state.

They change what workers rest on, so none of them works while there are workers.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.broker import BrokerError
from pipeline.broker.client import client_options
from pipeline.producer import ProduceError, Producer
from pipeline.settings import Settings
from pipeline.topics import changelog_topic, describe

T = TypeVar("T")

_PATIENCE: Final = 30.0
_STILL_SECONDS: Final = 2.0
_READ_AHEAD: Final = 500
"""Records of a partition held back until those of other partitions that are older are read."""


class Cluster:
    """Our topics and our group; an async context manager.

    Raises:
        BrokerError: On leaving too, whatever its clients failed with.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._options = options = client_options(settings.kafka)
        self._consumer = AIOKafkaConsumer(
            **options, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        self.admin = AIOKafkaAdminClient(**options)
        self.producer = Producer(options, idempotent=settings.kafka.idempotent)
        self._counts: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            for client in (self._consumer, self.admin, self.producer):
                await client.start()
            await self.look()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._stop()
        if isinstance(error, KafkaError | ProduceError | TimeoutError):
            servers = self.settings.kafka.bootstrap_servers
            raise BrokerError(f"Kafka at {servers}: {error}") from error

    async def _stop(self) -> None:
        await self.producer.stop()
        await self.admin.close()
        await self._consumer.stop()

    async def look(self) -> None:
        """See which topics there are."""
        self._counts = {name: len(parts) for name, parts in (await describe(self.admin)).items()}

    async def settled(self, topic: str, partitions: int) -> None:
        """Wait until a topic (full name) has so many partitions, with leaders.

        Raises:
            BrokerError: It has not.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = (await describe(self.admin)).get(topic, ())
            if len(found) == partitions and all(part["leader"] >= 0 for part in found):
                self._counts[topic] = partitions
                return
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"topic {topic} has not {partitions} partitions with leaders after "
                    f"{_PATIENCE:g} s: are all brokers up?"
                )
            await asyncio.sleep(0.1)

    def count(self, topic: str) -> int:
        """Partitions of a topic (full name); 0 where it does not exist."""
        return self._counts.get(topic, 0)

    def partitions(self, *topics: str) -> list[TopicPartition]:
        """All partitions of topics (full names)."""
        return [TopicPartition(topic, n) for topic in topics for n in range(self.count(topic))]

    async def require_no_workers(self) -> None:
        """Make sure that nobody works for our group.

        The embedded broker cannot tell: it forgets who has left when the next one joins.

        Raises:
            BrokerError: Somebody does, or did until a moment ago.
        """
        if not self.settings.kafka.idempotent:
            return
        group = self.settings.group
        (response,) = await _patiently(lambda: self.admin.describe_consumer_groups([group]))
        members = response.groups[0][5]
        if members:
            raise BrokerError(
                f"{len(members)} workers of group {group} are running: stop them first. One that "
                f"was killed is given up after {self.settings.kafka.session_timeout:g} s"
            )

    async def require_still(self, topic: str) -> dict[TopicPartition, range]:
        """Make sure that nothing is being written to a topic; what it holds.

        Raises:
            BrokerError: Something was written within a moment.
        """
        before = await self.held(topic)
        await asyncio.sleep(_STILL_SECONDS)
        after = await self.held(topic)
        if any(after[tp].stop != span.stop for tp, span in before.items()):
            raise BrokerError(
                f"events are coming into {topic}: pause who sends them until this is done"
            )
        return after

    async def held(self, *topics: str) -> dict[TopicPartition, range]:
        """Offsets that topics (full names) hold, by partition."""
        partitions = self.partitions(*topics)
        if not partitions:
            return {}
        self._consumer.assign(partitions)
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        if not self.settings.kafka.idempotent:
            await self._correct(ends)
        return {tp: range(begins[tp], ends[tp]) for tp in partitions}

    async def _correct(self, ends: dict[TopicPartition, int]) -> None:
        """Find out the true ends: the embedded broker tells where the last batch begins."""
        unsure = [tp for tp, end in ends.items() if end]
        self._consumer.assign(unsure)
        for tp in unsure:
            self._consumer.seek(tp, ends[tp] - 1)
        async with asyncio.timeout(_PATIENCE):
            while unsure:
                await self._consumer.getmany(*unsure, timeout_ms=200)
                for tp in list(unsure):
                    if (end := self._consumer.highwater(tp)) is not None:
                        ends[tp] = max(ends[tp], end)
                        unsure.remove(tp)

    async def waiting(self, topic: str) -> dict[TopicPartition, range]:
        """Offsets of a topic that the group has not committed yet, by partition."""
        group = self.settings.group
        committed = await _patiently(lambda: self.admin.list_consumer_group_offsets(group))
        found = {}
        for tp, span in (await self.held(topic)).items():
            done = committed[tp].offset if tp in committed else -1
            found[tp] = range(min(max(span.start, done), span.stop), span.stop)
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Have the group go on from these offsets; refused by the broker while it has members."""
        consumer = AIOKafkaConsumer(
            **self._options, group_id=self.settings.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(dict(offsets))
        finally:
            await consumer.stop()

    async def at_time(self, topic: str, seconds: float) -> dict[TopicPartition, int]:
        """Offsets of a topic's first records written at or after a moment, by partition."""
        partitions = self.partitions(topic)
        self._consumer.assign(partitions)
        ends = await self._consumer.end_offsets(partitions)
        moment = max(0, int(seconds * 1000))
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, moment))
        return {tp: found[tp].offset if found.get(tp) else ends[tp] for tp in partitions}

    async def records(self, spans: Mapping[TopicPartition, range]) -> AsyncIterator[ConsumerRecord]:
        """The records at these offsets, each partition's in order, earlier written ones first.

        Raises:
            BrokerError: They are not to be had.
        """
        read: dict[TopicPartition, deque[ConsumerRecord]] = {
            tp: deque() for tp, span in spans.items() if span
        }
        self._consumer.assign(list(read))
        for tp in read:
            self._consumer.seek(tp, spans[tp].start)
        deadline = time.monotonic() + _PATIENCE
        while read:
            for tp in [tp for tp, records in read.items() if not records]:
                if await self._consumer.position(tp) >= spans[tp].stop:
                    del read[tp]
            if empty := [tp for tp, records in read.items() if not records]:
                for tp, records in (
                    await self._consumer.getmany(*empty, timeout_ms=200, max_records=_READ_AHEAD)
                ).items():
                    read[tp].extend(r for r in records if r.offset < spans[tp].stop)
                    deadline = time.monotonic() + _PATIENCE
                if time.monotonic() > deadline:
                    raise BrokerError(f"{empty[0].topic} cannot be read to its end")
                continue
            while read and all(read.values()):
                yield min(read.values(), key=lambda records: records[0].timestamp).popleft()

    async def latest(self, topic: str) -> dict[bytes, ConsumerRecord]:
        """The latest record of each key of a compacted topic (full name); none that are deleted."""
        found: dict[bytes, ConsumerRecord] = {}
        async for record in self.records(await self.held(topic)):
            if record.value is None:
                found.pop(record.key, None)
            elif record.key is not None:
                found[record.key] = record
        return found

    async def versions(self, table: str) -> dict[bytes, ConsumerRecord]:
        """What stands in the changelog of a table, by key and writer."""
        return await self.latest(changelog_topic(self.settings, table))

    async def state(
        self, table: str, decode: Callable[[bytes], T], merge: Callable[[T, T], T]
    ) -> dict[int, dict[bytes, T]]:
        """What a table holds, by partition and key."""
        found: dict[int, dict[bytes, T]] = defaultdict(dict)
        for version, record in (await self.versions(table)).items():
            state, value = found[record.partition], decode(record.value)
            key = version.rpartition(b"@")[0]
            state[key] = merge(state[key], value) if key in state else value
        return found

    async def write_state(
        self, table: str, partition: int, values: Iterable[tuple[bytes, Any]], writer: str
    ) -> None:
        """Write values as another version of theirs, by the name of who writes."""
        changes: Sequence[tuple[bytes, bytes]] = [
            (b"%s@%s" % (key, writer.encode()), value) for key, value in values
        ]
        await self.producer.send(changelog_topic(self.settings, table), partition, changes)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again for a while what cannot be answered yet: a new cluster has no coordinators."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return await ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
