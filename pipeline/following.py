"""Following compacted topics from their beginning, outside of any consumer group."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

CHECK_EVERY: Final = 15.0
"""Seconds between checks that the brokers answer: a consumer cut off from them is only silent."""

CLOSE_FOR: Final = 5.0
"""Seconds a consumer is given to stop."""

BACK_OFF: Final = (1.0, 30.0)
"""First and longest pause before connecting again, in seconds."""

_CONSUMER: Final[dict[str, Any]] = {
    "group_id": None,
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "request_timeout_ms": 10_000,
    "retry_backoff_ms": 1_000,
    "max_partition_fetch_bytes": 256 * 1024,
}

NO_RECORD: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises where a value is no record; the last where it is nested without end."""

Taker = Callable[[bytes], None]

_Record = TypeVar("_Record", bound=msgspec.Struct)


class FollowError(Exception):
    """The topics cannot be followed now; the message says why."""


class Follower:
    """Follows topics from their beginning, and keeps on.

    Joins no consumer group and commits nothing: it takes no work from the workers. A lost broker
    is waited for without end; a value that is no record is logged and skipped.

    Args:
        who: Who follows, for the log.
        consumer_options: Address and security for aiokafka (`bootstrap_servers`, …).
        takers: What is done with a value of each topic, by full name.
        new_consumer: Makes the consumer; tests give their own.

    Attributes:
        caught_up: Set once what stood in the topics at first has been taken.
    """

    def __init__(
        self,
        who: str,
        *,
        consumer_options: Mapping[str, Any],
        takers: Mapping[str, Taker],
        new_consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        self.caught_up = asyncio.Event()
        self._who = who
        self._options = {**_CONSUMER, **consumer_options}
        self._takers = takers
        self._new_consumer = new_consumer
        self._next: dict[TopicPartition, int] = {}
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow in the background; waits for no broker."""
        self._task = asyncio.create_task(self._run(), name=f"follow-{self._who}")

    async def stop(self) -> None:
        """Stop following and close the connection."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    def on_lost(self) -> None:
        """The topics were lost; called at every try that fails."""

    def on_current(self) -> None:
        """All that stood in the topics has been taken."""

    async def _run(self) -> None:
        while True:
            consumer = self._new_consumer(**self._options)
            try:
                await self._follow(consumer)
            except (KafkaError, OSError, FollowError) as error:
                self._cut_off(error, traceback=False)
            except Exception as error:
                self._cut_off(error, traceback=True)
            finally:
                await _close(consumer)
            first, longest = BACK_OFF
            await asyncio.sleep(min(first * 2 ** min(self._failures, 10), longest))

    def _cut_off(self, error: Exception, *, traceback: bool) -> None:
        """Say so once an outage, not once a try."""
        level = logging.DEBUG if self._failures else logging.WARNING
        reason = f"{type(error).__name__}: {error}"
        log.log(
            level, "%s has lost its topics, retrying: %s", self._who, reason, exc_info=traceback
        )
        self._failures += 1
        self.on_lost()

    def _reached(self) -> None:
        if self._failures:
            log.info("%s follows its topics again", self._who)
        self._failures = 0
        self.caught_up.set()
        self.on_current()

    async def _follow(self, consumer: Any) -> None:
        """Follow until something fails, or until partitions were added and must be assigned."""
        await consumer.start()
        everything = await self._assign(consumer)
        kept = [tp for tp in everything if not self._is_aside(tp.topic)]
        aside = [tp for tp in everything if self._is_aside(tp.topic)]
        ends = await self._seek_where_left(consumer, kept)
        await self._look_aside(consumer, aside, first=True)
        reading, reached = True, dict(self._next)
        checked = time.monotonic()
        while True:
            self._take(await consumer.getmany(*kept, timeout_ms=500, max_records=500))
            if reading and all(self._next[tp] >= end for tp, end in ends.items()):
                reading = False
                self._reached()
            await self._look_aside(consumer, aside)
            now = time.monotonic()
            if now - checked >= CHECK_EVERY:
                checked = now
                if self._next == reached and any(self._next[tp] < end for tp, end in ends.items()):
                    raise FollowError(
                        f"no record came in {CHECK_EVERY:.0f} s though some are there"
                    )
                reached, ends = dict(self._next), await consumer.end_offsets(kept)
                if len(everything) != len(_partitions(consumer, self._takers)):
                    return

    def _is_aside(self, topic: str) -> bool:
        """Whether a topic is not followed but looked at now and then."""
        return False

    async def _look_aside(
        self, consumer: Any, partitions: list[TopicPartition], *, first: bool = False
    ) -> None:
        """Look at topics not followed, where it is time to; `first` after connecting."""

    async def _assign(self, consumer: Any) -> list[TopicPartition]:
        """Assign all partitions; those looked at now and then are paused."""
        if missing := self._takers.keys() - await consumer.topics():
            raise FollowError(f"no topic {', '.join(sorted(missing))} yet")
        # Assigning one partition of a topic makes the client ask for the others.
        first = [TopicPartition(topic, 0) for topic in self._takers]
        consumer.assign(first)
        consumer.pause(*first)
        await consumer.end_offsets(first)
        everything = _partitions(consumer, self._takers)
        consumer.assign(everything)
        consumer.pause(*(tp for tp in everything if self._is_aside(tp.topic)))
        return everything

    async def _seek_where_left(
        self, consumer: Any, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Go on behind the last record taken, else at the beginning; the ends there are now."""
        begins = await consumer.beginning_offsets(partitions)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        for tp, begin in begins.items():
            left = self._next.get(tp, 0)
            # A log shorter than what was read is another log: a broker without a disk came back.
            self._next[tp] = left if begin <= left <= ends[tp] else begin
            consumer.seek(tp, self._next[tp])
        return ends

    def _take(self, records: dict[TopicPartition, list[Any]]) -> None:
        for tp, batch in records.items():
            for record in batch:
                self._next[tp] = record.offset + 1
                if record.value is None:  # a tombstone
                    continue
                try:
                    self._takers[tp.topic](record.value)
                except NO_RECORD as error:
                    place = f"{tp.topic}[{tp.partition}] offset {record.offset}"
                    log.warning("%s skips %s: %s", self._who, place, error)


def taker(kind: type[_Record], take: Callable[[_Record], None]) -> Taker:
    """What decodes a value and gives it to `take`."""
    decoder = msgspec.json.Decoder(kind)
    return lambda value: take(decoder.decode(value))


async def _close(consumer: Any) -> None:
    """Stop a consumer, also one whose brokers are away.

    aiokafka's `stop` breaks off, with a cancellation that is not ours, where a fetch is waiting to
    be tried again. Without an assignment there are no fetches; a task of its own keeps the rest in.
    """
    consumer.unsubscribe()
    await asyncio.sleep(0.1)
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping], timeout=CLOSE_FOR)
    if not stopping.done() or stopping.cancelled() or stopping.exception() is not None:
        log.debug("a follower's consumer did not stop cleanly: %r", stopping)


def _partitions(consumer: Any, topics: Iterable[str]) -> list[TopicPartition]:
    return [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in sorted(consumer.partitions_for_topic(topic) or ())
    ]
