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
import secrets
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar

import faust
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, Message
from mode.utils.futures import notify

from pipeline.producer import Producer
from pipeline.values import Values

T = TypeVar("T")

logger = logging.getLogger("gapwatch")

FETCH_WAIT_MS: Final = 100
"""How long a broker may hold a fetch that finds nothing."""

ROOM_SECONDS: Final = 0.02

CHUNKS_IN_HAND: Final = 2
"""Chunks of a partition handed out and not yet acknowledged, at most: one in work, one waiting."""

CHUNK_SPAN_MS: Final = 60_000
"""Records of a chunk were written within so long: partitions are never further apart."""

RESTORE_RECORDS: Final = 10_000
"""Changelog records fetched at once, at most: they wait for nothing but being taken in."""

STATE_FORMAT: Final = 1
"""Raised with a change of state that earlier versions would misread. A field added at the end of a
value is none: they ignore it, and read a value without it as one with its default."""

UNBOUNDED: Final = 2**30

DRAIN_SECONDS: Final = 20.0
"""How long a stop or a rebalance waits for the chunk at hand."""


class StateError(Exception):
    """State of a newer version, which this one would misread."""


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
    """Fetches without stalls, and takes from all partitions of a topic in `App.aligned` alike.

    aiokafka empties one partition's prefetched records before the next. In a backlog that tears
    event time apart: one partition would be hours ahead of the others, and a spike that shows
    in all of them together in none alone.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust has a broker hold a fetch for 1.5 s. aiokafka has one fetch under way a broker, so
        # one that asks only for idle partitions would hold up the busy ones for as long.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        fetch = super()._fetch_records
        self._go_back_for_dropped(consumer, active_partitions or set())
        open_partitions = self.consumer.with_room(active_partitions or set())
        if active_partitions and len(open_partitions) < len(active_partitions):
            # Look again soon: an acknowledgement makes room without anything being fetched.
            timeout = ROOM_SECONDS
            if not open_partitions:
                await asyncio.sleep(ROOM_SECONDS)
                return {}
        if all(tp.topic in self.app.changelogs for tp in open_partitions):
            max_records = RESTORE_RECORDS
        aligned = [tp for tp in open_partitions if tp.topic in self.app.aligned]
        if not aligned or max_records is None:
            records: dict[TP, list[Any]] = await fetch(
                consumer, open_partitions, timeout, max_records
            )
            return records
        records = await fetch(consumer, open_partitions, timeout, max_records)
        if records:
            others = open_partitions.difference(aligned)
            rest = await fetch(consumer, others, 0, max_records) if others else {}
            for tp, more in rest.items():
                records.setdefault(tp, []).extend(more)
            for tp in aligned:
                room = max_records - len(records.get(tp, ()))
                if room > 0:
                    topped = await fetch(consumer, {tp}, 0, room)
                    records.setdefault(tp, []).extend(topped.get(tp, ()))
        return records

    def _go_back_for_dropped(self, consumer: Any, partitions: set[TP]) -> None:
        """Fetch again what was fetched and never handed out (see `ChunkConsumer.behind`)."""
        assignment = consumer._subscription.subscription.assignment
        for tp in partitions:
            state = assignment.state_value(tp) if assignment is not None else None
            if state is not None and state.has_valid_position:
                missing = self.consumer.behind(tp, state._position)
                if missing is not None:
                    consumer.seek(tp, missing)


class ChunkConsumer(driver.Consumer):
    """Delivers chunks for the topics in `App.chunked`, single messages for all others."""

    _chunks: dict[TP, deque[Message]]
    _positions: dict[TP, int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._chunks = defaultdict(deque)
        self._positions = {}
        self._sought: set[TP] = set()
        self._in_hand: dict[TP, set[Message]] = defaultdict(set)
        self._next: dict[TP, int] = {}
        self._gaps: dict[TP, tuple[int, int]] = {}
        self._tails: dict[TP, tuple[int, int]] = {}
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> FairConsumerThread:
        return FairConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 (Faust's signature)
    ) -> AsyncIterator[tuple[TP, Message]]:
        """As Faust's, but with a partition's records handed over as one message."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        waiting: list[tuple[int, TP, Message]] = []
        for tp, batch in records.items():
            waiting += ((since, tp, message) for since, message in self._messages(tp, batch))
        # What came earlier goes first, whatever its partition: after an outage the partitions'
        # records would otherwise be hours apart.
        waiting.sort(key=itemgetter(0))
        for _, tp, message in waiting:
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                if tp.topic in self.app.chunked:
                    self._hand_out(tp, message)
                yield tp, message

    def _messages(self, tp: TP, batch: Sequence[Any]) -> Iterator[tuple[int, Message]]:
        """A partition's records as messages with a chunk each, or each as its own, in order.

        Each comes with the time it was written (milliseconds), never earlier than the one before.
        """
        if tp.topic in self.app.changelogs:
            if batch:
                yield 0, self._as_message(tp, batch)
            return
        if tp.topic not in self.app.chunked:
            for record in batch:
                yield 0, self._to_message(tp, record)
            return
        since = 0
        for part in _within(CHUNK_SPAN_MS, self._in_sequence(tp, batch)):
            since = max(since, part[0].timestamp)
            yield since, self._as_message(tp, part)

    def _as_message(self, tp: TP, part: Sequence[Any]) -> Message:
        # Faust moves its read position by a message's offset: the last one's.
        message: Message = self._to_message(tp, part[-1])
        message.key = None
        message.value = Chunk(tp.topic, tp.partition, part)
        return message

    def _in_sequence(self, tp: TP, batch: Sequence[Any]) -> Sequence[Any]:
        """The records of `batch` that follow what was handed out last; none if some are missing.

        Around a rebalance Faust drops what it fetched but could not deliver, and a fetch that was
        under way may come late. So order is checked here, and `behind` has what is missing fetched
        again. A gap that is there a second time is the log's own: records compacted or deleted.
        """
        expected = self._expected(tp)
        if expected is None:
            return []
        batch = [record for record in batch if record.offset >= expected]
        if not batch or any(a.offset >= b.offset for a, b in pairwise(batch)):
            return []
        gap = expected, batch[0].offset
        if batch[0].offset == expected or self._gaps.get(tp) == gap:
            return batch
        self._gaps[tp] = gap
        return []

    def behind(self, tp: TP, position: int) -> int | None:
        """Where to go back to, if records before the fetch `position` were never handed out.

        Called between fetches, from the consumer's thread.
        """
        expected = self._expected(tp)
        if expected is None or position <= expected:
            return None
        if self._tails.get(tp) == (expected, position):
            # Nothing came from there the last time either: the log holds no records there.
            self._next[tp] = position
            return None
        self._tails[tp] = expected, position
        return expected

    def _expected(self, tp: TP) -> int | None:
        """Offset to hand out next; None until a rebalance is over, and its state held here.

        Before that Faust may still empty the queues, and a chunk lost from one, with the next one
        handled, would be a hole under a stamp.
        """
        return self._next.get(tp) if self.app.settled and self.app.holds_state_of(tp) else None

    def _hand_out(self, tp: TP, message: Message) -> None:
        if tp in self._sought:
            # From the committed offset on again: this covers what was handed out before.
            self._sought.discard(tp)
            self._chunks[tp].clear()
        self._next[tp] = message.offset + 1
        self._chunks[tp].append(message)
        self._in_hand[tp].add(message)

    def with_room(self, partitions: set[TP]) -> set[TP]:
        """Those that may be handed out more of; what is not chunked always may."""
        return {tp for tp in partitions if len(self._in_hand.get(tp, ())) < CHUNKS_IN_HAND}

    def ack(self, message: Message) -> bool:
        """Mark a chunk as done once every agent that reads it has acknowledged it."""
        if not isinstance(message.value, Chunk):
            return bool(super().ack(message))
        if message.acked:
            return False
        message.acked = True
        self._in_hand[message.tp].discard(message)
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

    async def wait_empty(self) -> None:
        """Wait for agents to finish the chunks they have begun, then commit.

        Faust waits for every message it has handed to an agent. One that another agent also reads,
        and never will since its queue was emptied for a rebalance, it would wait for in vain.
        """
        while True:
            await self.app.wait_idle(DRAIN_SECONDS)
            begun = self.app.begun
            await self.commit_and_end_transactions()
            if self.app.begun == begun:
                return
            # An agent has taken another chunk meanwhile, which was waiting for it.

    async def perform_seek(self) -> None:
        """Go back to the committed offsets.

        Chunks in hand may still be finished and committed, until the first one is handed out anew.
        """
        self._sought.update(self._chunks)
        self._in_hand.clear()
        self._next.clear()
        self._gaps.clear()
        self._tails.clear()
        try:
            await super().perform_seek()
        except IllegalStateError:
            # Partitions left meanwhile: the next rebalance is under way, and seeks at its end.
            # Until then nothing is handed out.
            return
        chunked = {tp for tp in self.assignment() if tp.topic in self.app.chunked}
        following = {tp: self._committed_offset.get(tp) for tp in chunked}
        new = [tp for tp, offset in following.items() if offset is None]
        following.update(await self.earliest_offsets(*new) if new else {})
        self._positions.update(following)
        self._next.update(following)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was handed out of partitions that are no longer ours."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._chunks.pop(tp, None)
            self._sought.discard(tp)
            self._in_hand.pop(tp, None)
            self._next.pop(tp, None)
            self._positions.pop(tp, None)

    def positions(self) -> dict[TP, int]:
        """Next offset to handle, for each chunked partition assigned here."""
        return dict(self._positions)

    def lag(self) -> dict[TP, int]:
        """Records waiting or in hand, for each chunked partition assigned here."""
        waiting = {}
        for tp in self.assignment():
            if tp.topic in self.app.chunked:
                fetched, asked = self.highwater(tp), self.app.ends.get(tp)
                if fetched is not None or asked is not None:
                    end = max(fetched or 0, asked or 0)
                    waiting[tp] = max(0, end - self._positions.get(tp, 0))
        return waiting


def _within(span: int, batch: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Consecutive parts of `batch`, each of records written within `span` milliseconds."""
    start = 0
    for at, record in enumerate(batch):
        if record.timestamp - batch[start].timestamp > span:
            yield batch[start:at]
            start = at
    if start < len(batch):
        yield batch[start:]


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = ChunkConsumer


class App(faust.App):
    """The Faust application of a worker."""

    chunked: set[str]
    aligned: set[str]
    changelogs: set[str]
    kept: dict[str, set[str]]
    """By topic, the changelogs of what its agents keep."""
    begun: int
    """Chunks that agents have taken so far."""
    ends: Mapping[TP, int]
    """Where partitions end, as far as somebody has asked."""
    unfit: bool
    """Whether it has met state that it must not work with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.chunked = set()
        self.aligned = set()
        self.changelogs = set()
        self.kept = defaultdict(set)
        self.ends = {}
        self.unfit = False
        self.begun = 0
        self._in_work = 0
        self._idle = asyncio.Event()
        self._idle.set()
        super().__init__(*args, **kwargs)

    def begin_work(self) -> None:
        """An agent has taken a chunk."""
        self.begun += 1
        self._in_work += 1
        self._idle.clear()

    def end_work(self, chunks: int = 1) -> None:
        """An agent has acknowledged chunks it took, or never will."""
        self._in_work -= chunks
        if not self._in_work:
            self._idle.set()

    async def wait_idle(self, seconds: float) -> None:
        """Wait until no agent works on a chunk, or so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("stopped waiting for the chunk at hand after %s s", seconds)

    def chunk_topic(self, name: str, partitions: int, *, aligned: bool = False) -> ChunkTopic:
        """The topic `name`, read in chunks.

        Its agents' queues have no limit of their own: `CHUNKS_IN_HAND` bounds them. (Faust's limit
        pauses a partition until the queue is nearly empty, which under steady load is never.)

        Args:
            aligned: Take from all its partitions alike (see `FairConsumerThread`).
        """
        self.chunked.add(name)
        if aligned:
            self.aligned.add(name)
        return ChunkTopic(
            self, topics=[name], partitions=partitions, internal=False, acks=True, maxsize=UNBOUNDED
        )

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        # Faust would commit and start the agent again, past what it failed on.
        await self.stop_on_failure(str(agent), error)

    async def stop_on_failure(self, name: str, error: BaseException) -> None:
        """Stop the worker because agent `name` failed; what it had in hand comes again."""
        if not self.crashed:
            logger.critical("agent %s failed, stopping the worker: %s", name, error, exc_info=error)
            await self.crash(error)

    def _create_directories(self) -> None:
        """Make none: state is in memory, restored from topics. The root may be read-only."""

    def _new_transport(self) -> ChunkTransport:
        return ChunkTransport(self.conf.broker_consumer, self)

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        # After a crash the chunk at hand will never be acknowledged, and must not be.
        if self.crashed:
            return
        try:
            # A commit waits for its broker, however long that is away.
            async with asyncio.timeout(2 * DRAIN_SECONDS):
                await consumer.wait_empty()
        except TimeoutError:
            logger.warning("gave up committing what is finished: it will come again")

    @property
    def settled(self) -> bool:
        """Whether no rebalance is under way, and the last one's state is restored."""
        restored = self.tables.recovery.completed.is_set()
        return not self.rebalancing and restored and not self.unfit

    def holds_state_of(self, tp: TP) -> bool:
        """Whether the state that a partition's agents keep is assigned here too.

        Faust assigns topics together that the same workers have subscribed to. Where one has
        joined with some of its topics only, partitions and their state may go to different
        workers, until it joins again.
        """
        active = self.tables.recovery.active_tps
        return all(TP(name, tp.partition) in active for name in self.kept.get(tp.topic, ()))

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and state is restored."""
        return bool(self.started and self.settled)


class StateTable(faust.Table, Generic[T]):
    """An agent's state: values by key, apart for each partition, restored from a changelog topic.

    The values are live objects that the agent may change; `write` makes the changes durable. Held
    are partitions assigned to this worker; those it keeps a copy of, as a standby for another
    worker, are not seen until they are its own.

    A worker that lost its partitions without knowing (stopped, or cut off) may still write when it
    comes back. So nobody overwrites another's record: each assignment of a partition writes under
    a name of its own, and of a key's several versions the reader takes the one that is furthest.
    A version is deleted only together with the writing of one that holds all it held.
    """

    def __init__(
        self,
        app: App,
        *,
        name: str,
        source: str,
        partitions: int,
        producer: Producer,
        decode: Callable[[bytes], T],
        encode: Callable[[T], bytes],
        merge: Callable[[T, T], T],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """As `faust.Table`.

        Args:
            source: The topic whose agent keeps it.
            merge: What is known from two versions of a value, the second one read later. It must
                not matter how often and in which order versions are merged.
            on_change: Called when state was dropped or restored.
        """
        self._states: dict[int, Values[T]] = defaultdict(lambda: Values(decode, merge))
        self._versions: dict[int, dict[bytes, tuple[bytes, ...]]] = defaultdict(dict)
        self._writers: dict[int, bytes] = {}
        self._read: dict[int, int] = {}
        self._standby: set[int] = set()
        self._producer = producer
        self._encode = encode
        self._on_change = on_change or (lambda: None)
        self._failing: asyncio.Future[None] | None = None
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            recovery_buffer_size=2,  # in chunks; 1 would have Faust read on for ever
        )
        app.tables.add(self)
        app.changelogs.add(self.changelog_topic_name)
        app.kept[source].add(self.changelog_topic_name)

    def of(self, partition: int) -> Values[T]:
        """The live values of a partition, by key."""
        return self._states[partition]

    @property
    def held(self) -> Mapping[int, Values[T]]:
        """All partitions assigned to this worker, with their values."""
        return {
            partition: values
            for partition, values in self._states.items()
            if partition not in self._standby
        }

    async def write(self, partition: int, keys: Iterable[bytes]) -> None:
        """Make the present values of `keys` durable; keys without a value are deleted.

        Raises:
            ProduceError: The broker did not confirm. State and log differ then: stop the worker.
        """
        state, versions = self._states[partition], self._versions[partition]
        writer = self._writers.get(partition)
        if writer is None:
            token = secrets.token_hex(4)
            name = token if STATE_FORMAT == 1 else f"{STATE_FORMAT}.{token}"
            writer = self._writers[partition] = name.encode()
        mine = (writer,)
        changes: list[tuple[bytes | None, bytes | None]] = []
        for key in keys:
            known = versions.pop(key, ())
            if key in state:
                changes.append((_version(key, writer), self._encode(state[key])))
                # What was known of others' versions is in this one. It goes after it, never before.
                changes += [(_version(key, other), None) for other in known if other != writer]
                versions[key] = mine
            else:
                changes += [(_version(key, other), None) for other in known]
        if changes:
            for taken in await self._producer.send(self.changelog_topic_name, partition, changes):
                # Where somebody else wrote in between, that is still to be read.
                if taken.start == self._read.get(partition, -1) + 1:
                    self._read[partition] = taken.stop - 1

    def persisted_offset(self, tp: TP) -> int | None:
        """Up to where the changelog is in what is held; Faust restores what comes after it."""
        return self._read.get(tp.partition)

    def apply_changelog_batch(self, batch: Iterable[EventT]) -> None:
        """Take in what was read; it may be older than what is held, or read before."""
        if self.app.unfit:
            return
        try:
            for event in batch:
                self._restore(event.message.value)
        except StateError as error:
            # Faust would only log it, and wait for the end of the restoration for ever.
            self.app.unfit = True
            self._failing = asyncio.ensure_future(self.app.stop_on_failure(self.name, error))
            raise

    def _restore(self, chunk: Chunk) -> None:
        state, versions = self._states[chunk.partition], self._versions[chunk.partition]
        read = self._read.get(chunk.partition, -1)
        alone: dict[bytes, tuple[bytes, ...]] = {}
        for record in chunk.records:
            assert record.key is not None
            key, _, writer = record.key.rpartition(b"@")
            if b"." in writer and int(writer.partition(b".")[0]) > STATE_FORMAT:
                raise StateError(
                    f"{self.changelog_topic_name} was written by a newer version, in a form that "
                    "this one would misread: run that version, or build the state anew "
                    "(`gapwatch replay`)"
                )
            known = versions.get(key, ())
            if record.value is not None:
                # A writer's later record holds its earlier ones.
                later = record.offset > read and known == (writer,)
                state.take(key, record.value, supersedes=later)
                if writer not in known:
                    # A partition's keys have few writers: what they share is kept once.
                    versions[key] = (
                        (*known, writer) if known else alone.setdefault(writer, (writer,))
                    )
            elif writer in known:
                left = tuple(other for other in known if other != writer)
                if left:
                    versions[key] = left
                else:
                    del versions[key]
                    state.pop(key, None)
        self._read[chunk.partition] = max(read, chunk.records[-1].offset)

    def _new_changelog_topic(self, **_: Any) -> ChunkTopic:
        return ChunkTopic(
            self.app,
            topics=[self._changelog_topic_name()],
            partitions=self.partitions,
            internal=True,
            acks=False,
            maxsize=UNBOUNDED,
        )

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Drop partitions that left, and stale remains of those that come back.

        A standby partition that becomes ours keeps what was read of it. One of ours that becomes
        a standby is read anew: what it holds may be further than what was ever confirmed.

        What stays may have been another's in between, without our knowing. Whoever had it may
        still delete the version it read of us: what we write from now on must not be called so.
        """
        standby = {tp for tp in self.app.assignor.assigned_standbys() if self._is_kept_in(tp)}
        demoted = {tp for tp in standby if tp.partition not in self._standby}
        for tp in revoked | newly_assigned | demoted:
            if self._is_kept_in(tp):
                for kept in (self._states, self._versions, self._read):
                    kept.pop(tp.partition, None)
                self.app.tables.recovery.revoke(tp)
        self._writers.clear()
        self._standby = {tp.partition for tp in standby}
        self._on_change()

    def _is_kept_in(self, tp: TP) -> bool:
        return bool(tp.topic == self.changelog_topic_name)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Tell the agent that its state may have changed."""
        await super().on_recovery_completed(active_tps, standby_tps)
        self._on_change()


def _version(key: bytes, writer: bytes) -> bytes:
    """The name of a writer's record of a key."""
    return b"%s@%s" % (key, writer)
