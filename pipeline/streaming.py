"""Faust, taught to hand agents many records at a time and to keep state written in batches.

Faust's way of a single message (queue, decode, stream, ack) costs more than our work on it. So a
fetch's records of one partition travel as one Faust message, a `Chunk`. Faust's groups, rebalances
and recovery stay as they are; only delivery and the commit arithmetic know of chunks.

State is kept in changelog topics that Faust restores. It is written by us as one record batch per
partition, all or nothing and confirmed, before anything is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, Message
from mode.utils.futures import notify

from pipeline.producer import Producer

T = TypeVar("T")

logger = logging.getLogger("gapwatch")

LEAST_SHARE: Final = 32
"""Records taken of each partition at a time, at least: smaller chunks cost more than they align."""

DRAIN_SECONDS: Final = 20.0
"""How long a stop or a rebalance waits for the chunk at hand."""


class Record(Protocol):
    """What a chunk holds: a record as aiokafka gives it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition, in offset order, at least one."""

    topic: str
    partition: int
    records: Sequence[Record]


class ChunkTopic(faust.Topic):
    """A topic whose agents receive `Chunk`s; values are left as bytes."""

    def _compile_decode(self) -> None:
        async def decode(message: Message, *, propagate: bool = False) -> EventT:
            return self._create_event(None, message.value, headers=message.headers, message=message)

        self.decode = decode


class FairConsumerThread(driver.AIOKafkaConsumerThread):
    """Takes from all partitions of a topic in `App.aligned` alike.

    aiokafka empties one partition's prefetched records before the next. In a backlog that tears
    event time apart: one partition would be hours ahead of the others, and a spike that shows
    in all of them together in none alone.
    """

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        aligned = [tp for tp in active_partitions or () if tp.topic in self.app.aligned]
        if not aligned or max_records is None:
            records: dict[TP, list[Any]] = await super()._fetch_records(
                consumer, active_partitions, timeout, max_records
            )
            return records
        share = max(LEAST_SHARE, max_records // len(aligned))
        records = await super()._fetch_records(consumer, active_partitions, timeout, share)
        if records:
            others = active_partitions.difference(aligned)
            if others:
                rest = await super()._fetch_records(consumer, others, 0, max_records)
                for tp, more in rest.items():
                    records.setdefault(tp, []).extend(more)
            for tp in aligned:
                room = share - len(records.get(tp, ()))
                if room > 0:
                    topped = await super()._fetch_records(consumer, {tp}, 0, room)
                    records.setdefault(tp, []).extend(topped.get(tp, ()))
        return records


class ChunkConsumer(driver.Consumer):
    """Delivers chunks for the topics in `App.chunked`, single messages for all others."""

    _chunks: dict[TP, deque[Message]]
    _positions: dict[TP, int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._chunks = defaultdict(deque)
        self._positions = {}
        self._sought: set[TP] = set()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> FairConsumerThread:
        return FairConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 (Faust's signature)
    ) -> AsyncIterator[tuple[TP, Message]]:
        """As Faust's, but with a partition's records handed over as one message."""
        generation = self.app.consumer_generation_id
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, message in self._messages(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                if isinstance(message.value, Chunk):
                    self._hand_out(tp, message)
                yield tp, message

    def _hand_out(self, tp: TP, message: Message) -> None:
        if tp in self._sought:
            # From the committed offset on again: this covers what was handed out before.
            self._sought.discard(tp)
            self._chunks[tp].clear()
        self._chunks[tp].append(message)

    def _messages(self, records: Mapping[TP, Sequence[Any]]) -> Iterator[tuple[TP, Message]]:
        for tp, batch in records.items():
            if tp.topic in self.app.chunked:
                if batch:
                    # Faust moves its read position by a message's offset: the last one's.
                    message = self._to_message(tp, batch[-1])
                    message.key = None
                    message.value = Chunk(tp.topic, tp.partition, batch)
                    yield tp, message
            else:
                for record in batch:
                    yield tp, self._to_message(tp, record)

    def ack(self, message: Message) -> bool:
        """Mark a chunk as done once every agent that reads it has acknowledged it."""
        if not isinstance(message.value, Chunk):
            return bool(super().ack(message))
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        self._acked[message.tp]  # makes the partition one to commit
        self._positions[message.tp] = message.offset + 1
        self._n_acked += 1
        notify(self._waiting_for_ack)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.app.chunked:
            offset: int | None = super()._new_offset(tp)
            return offset
        chunks = self._chunks[tp]
        done = None
        while chunks and chunks[0].acked:
            done = chunks.popleft().offset + 1
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self.app.chunked:
            await super()._add_gap(tp, offset_from, offset_to)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets.

        Chunks in hand may still be finished and committed, until the first one is handed out anew.
        """
        self._sought.update(self._chunks)
        await super().perform_seek()
        self._positions.update(
            (tp, offset) for tp, offset in self._committed_offset.items() if offset is not None
        )

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was handed out of partitions that are no longer ours."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._chunks.pop(tp, None)
            self._sought.discard(tp)
            self._positions.pop(tp, None)

    def positions(self) -> dict[TP, int]:
        """Next offset to handle, for each chunked partition assigned here."""
        return dict(self._positions)

    def lag(self) -> dict[TP, int]:
        """Records waiting or in hand, for each chunked partition assigned here."""
        waiting = {}
        for tp in self.assignment():
            if tp.topic in self.app.chunked:
                end = self.highwater(tp)
                if end is not None:
                    waiting[tp] = max(0, end - self._positions.get(tp, 0))
        return waiting


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer


class App(faust.App):
    """The Faust application of a worker."""

    chunked: set[str]
    aligned: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.chunked = set()
        self.aligned = set()
        super().__init__(*args, **kwargs)

    def chunk_topic(self, name: str, partitions: int, *, aligned: bool = False) -> ChunkTopic:
        """The topic `name`, read in chunks. At most four chunks wait in an agent's queue.

        Args:
            aligned: Take from all its partitions alike (see `FairConsumerThread`).
        """
        self.chunked.add(name)
        if aligned:
            self.aligned.add(name)
        return ChunkTopic(
            self, topics=[name], partitions=partitions, internal=False, acks=True, maxsize=4
        )

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        # Faust would commit and start the agent again, past what it failed on.
        logger.critical("agent %s failed, stopping the worker: %s", agent, error, exc_info=error)
        await self.crash(error)

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(self.conf.broker_consumer, self)

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        # After a crash the chunk at hand will never be acknowledged, and must not be.
        if self.crashed:
            return
        try:
            await asyncio.wait_for(consumer.wait_empty(), DRAIN_SECONDS)
        except TimeoutError:
            logger.warning("stopped waiting for the chunk at hand after %s s", DRAIN_SECONDS)

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and state is restored."""
        return bool(
            not self.rebalancing and self.started and self.tables.recovery.completed.is_set()
        )


class StateTable(faust.Table, Generic[T]):
    """An agent's state: values by key, apart for each partition, restored from a changelog topic.

    The values are live objects that the agent may change; `write` makes the changes durable. Only
    partitions assigned to this worker are held.
    """

    def __init__(
        self,
        app: App,
        *,
        name: str,
        partitions: int,
        producer: Producer,
        decode: Callable[[bytes], T],
        encode: Callable[[T], bytes],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._states: dict[int, dict[bytes, T]] = defaultdict(dict)
        self._producer = producer
        self._decode = decode
        self._encode = encode
        self._on_change = on_change or (lambda: None)
        super().__init__(app, name=name, partitions=partitions, key_type=bytes, value_type=bytes)
        app.tables.add(self)

    def of(self, partition: int) -> dict[bytes, T]:
        """The live values of a partition, by key."""
        return self._states[partition]

    @property
    def held(self) -> dict[int, dict[bytes, T]]:
        """All partitions held, with their values."""
        return self._states

    async def write(self, partition: int, keys: Iterable[bytes]) -> None:
        """Make the present values of `keys` durable; keys without a value are deleted.

        Raises:
            ProduceError: The broker did not confirm. State and log differ then: stop the worker.
        """
        state = self._states[partition]
        changes = [(key, self._encode(state[key]) if key in state else None) for key in keys]
        if changes:
            await self._producer.send(self.changelog_topic_name, partition, changes)

    def apply_changelog_batch(self, batch: Iterable[EventT]) -> None:
        """Take in what recovery read."""
        for event in batch:
            state = self._states[event.message.partition]
            value = event.message.value
            if value is None:
                state.pop(event.message.key, None)
            else:
                state[event.message.key] = self._decode(value)

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Drop partitions that left, and stale remains of those that come back."""
        for tp in revoked | newly_assigned:
            if tp.topic == self.changelog_topic_name:
                self._states.pop(tp.partition, None)
        self._on_change()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Tell the agent that its state may have changed."""
        await super().on_recovery_completed(active_tps, standby_tps)
        self._on_change()
