"""Fills the live view from the topics, so that any worker of a fleet shows all brands."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.records import Alert, Mention, Score
from pipeline.web.view import LiveView

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between looks at the mentions, while somebody watches."""

LOOK_FOR: Final = 2.0
"""Seconds one look may take; what has not come by then may come with the next."""

LOOK_AT: Final = 30
LOOK_AT_IN_ALL: Final = 240
"""Mentions read from the end of a partition, and of all of them, in one look."""

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

_Record = TypeVar("_Record", bound=msgspec.Struct)


class FeedError(Exception):
    """The topics cannot be followed now; the message says why."""


class TopicFeed:
    """Follows scores and alerts from their beginning, and looks at the newest mentions.

    Joins no consumer group and commits nothing: it takes no work from the workers. Watching costs
    a bounded amount however fast mentions come, because every look skips to the newest. A lost
    broker is waited for without end; a value that is no record is logged and skipped.

    Args:
        view: What to fill; it is also told how current it is.
        consumer_options: Address and security for aiokafka (`bootstrap_servers`, …).
        scores, alerts, mentions: Full topic names.
        on_score: Also told of every score, from the beginning of its topic.
        new_consumer: Makes the consumer; tests give their own.
    """

    def __init__(
        self,
        view: LiveView,
        *,
        consumer_options: dict[str, Any],
        scores: str,
        alerts: str,
        mentions: str,
        on_score: Callable[[Score], None] | None = None,
        new_consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        self._view = view
        self._options = {**_CONSUMER, **consumer_options}
        self._new_consumer = new_consumer

        def take_score(score: Score) -> None:
            view.on_score(score)
            if on_score is not None:
                on_score(score)

        self._takers = {
            scores: _taker(Score, take_score),
            alerts: _taker(Alert, view.on_alert),
            mentions: _taker(Mention, view.on_mention),
        }
        self._mentions = mentions
        self._next: dict[TopicPartition, int] = {}
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow in the background; waits for no broker."""
        self._task = asyncio.create_task(self._run(), name="gapwatch-topic-feed")

    async def stop(self) -> None:
        """Stop following and close the connection."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        while True:
            consumer = self._new_consumer(**self._options)
            try:
                await self._follow(consumer)
            except (KafkaError, OSError, FeedError) as error:
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
        log.log(level, "live page has lost its topics, retrying: %s", reason, exc_info=traceback)
        self._failures += 1
        self._view.on_feed("lost")

    def _caught_up(self) -> None:
        if self._failures:
            log.info("live page follows its topics again")
        self._failures = 0
        self._view.on_feed("live")

    async def _follow(self, consumer: Any) -> None:
        """Follow until something fails, or until partitions were added and must be assigned."""
        await consumer.start()
        everything = await self._assign(consumer)
        mentions = [tp for tp in everything if tp.topic == self._mentions]
        kept = [tp for tp in everything if tp.topic != self._mentions]
        ends = await self._seek_where_left(consumer, kept)
        await self._look(consumer, mentions)
        reading, reached = True, dict(self._next)
        looked = checked = time.monotonic()
        while True:
            self._take(await consumer.getmany(*kept, timeout_ms=500, max_records=500))
            if reading and all(self._next[tp] >= end for tp, end in ends.items()):
                reading = False
                self._caught_up()
            now = time.monotonic()
            if self._view.watchers and now - looked >= LOOK_EVERY:
                looked = now
                await self._look(consumer, mentions)
            if now - checked >= CHECK_EVERY:
                checked = now
                if self._next == reached and any(self._next[tp] < end for tp, end in ends.items()):
                    raise FeedError(f"no record came in {CHECK_EVERY:.0f} s though some are there")
                reached, ends = dict(self._next), await consumer.end_offsets(kept)
                if len(everything) != len(_partitions(consumer, self._takers)):
                    return

    async def _assign(self, consumer: Any) -> list[TopicPartition]:
        """Assign all partitions, the mentions' paused."""
        if missing := self._takers.keys() - await consumer.topics():
            raise FeedError(f"no topic {', '.join(sorted(missing))} yet")
        # Assigning one partition of a topic makes the client ask for the others.
        first = [TopicPartition(topic, 0) for topic in self._takers]
        consumer.assign(first)
        consumer.pause(*first)
        await consumer.end_offsets(first)
        everything = _partitions(consumer, self._takers)
        consumer.assign(everything)
        consumer.pause(*(tp for tp in everything if tp.topic == self._mentions))
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

    async def _look(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Take the newest mentions not seen yet, at most so many a partition."""
        most = min(LOOK_AT, max(1, LOOK_AT_IN_ALL // len(partitions)))
        ends = await consumer.end_offsets(partitions)
        behind = []
        for tp, end in ends.items():
            seen = self._next.get(tp, 0)
            start = max(end - most, seen if seen <= end else 0, 0)
            if start < end:
                consumer.seek(tp, start)
                self._next[tp] = start
                behind.append(tp)
        consumer.resume(*behind)
        waiting, until = behind, time.monotonic() + LOOK_FOR
        while waiting and (left := until - time.monotonic()) > 0:
            self._take(await consumer.getmany(*waiting, timeout_ms=int(left * 1000)))
            waiting = [tp for tp in waiting if self._next[tp] < ends[tp]]
        consumer.pause(*behind)

    def _take(self, records: dict[TopicPartition, list[Any]]) -> None:
        for tp, batch in records.items():
            for record in batch:
                self._next[tp] = record.offset + 1
                if record.value is None:  # a tombstone
                    continue
                try:
                    self._takers[tp.topic](record.value)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    place = f"{tp.topic}[{tp.partition}] offset {record.offset}"
                    log.warning("live page skips %s: %s", place, error)


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
        log.debug("live page's consumer did not stop cleanly: %r", stopping)


def _partitions(consumer: Any, topics: Iterable[str]) -> list[TopicPartition]:
    return [
        TopicPartition(topic, partition)
        for topic in topics
        for partition in sorted(consumer.partitions_for_topic(topic) or ())
    ]


def _taker(kind: type[_Record], take: Callable[[_Record], None]) -> Callable[[bytes], None]:
    decoder = msgspec.json.Decoder(kind)
    return lambda value: take(decoder.decode(value))
