"""Fills the live view from the topics, so that any worker of a fleet shows all brands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.domain.deliveries import Delivery
from pipeline.following import Follower, taker
from pipeline.records import Alert, Expectation, Hour, Mention, Score
from pipeline.web.view import LiveView

LOOK_EVERY: Final = 1.0
"""Seconds between looks at the mentions, while somebody watches."""

LOOK_FOR: Final = 2.0
"""Seconds one look may take; what has not come by then may come with the next."""

LOOK_AT: Final = 30
LOOK_AT_IN_ALL: Final = 240
"""Mentions read from the end of a partition, and of all of them, in one look."""


class TopicFeed(Follower):
    """Follows scores, hours and alerts from their beginning, and looks at the newest mentions.

    Watching costs a bounded amount however fast mentions come, because every look skips to the
    newest.

    Args:
        view: What to fill; it is also told how current it is.
        consumer_options: Address and security for aiokafka (`bootstrap_servers`, …).
        scores, hours, expectations, alerts, deliveries, mentions: Full topic names;
            `deliveries` is the changelog of the notify agents.
        on_score: Also told of every score, from the beginning of its topic.
        new_consumer: Makes the consumer; tests give their own.
    """

    def __init__(
        self,
        view: LiveView,
        *,
        consumer_options: Mapping[str, Any],
        scores: str,
        hours: str,
        expectations: str,
        alerts: str,
        deliveries: str,
        mentions: str,
        on_score: Callable[[Score], None] | None = None,
        new_consumer: Callable[..., Any] = AIOKafkaConsumer,
    ) -> None:
        def take_score(score: Score) -> None:
            view.on_score(score)
            if on_score is not None:
                on_score(score)

        super().__init__(
            "live page",
            consumer_options=consumer_options,
            takers={
                scores: taker(Score, take_score),
                hours: taker(Hour, view.on_history),
                expectations: taker(Expectation, view.on_history),
                alerts: taker(Alert, view.on_alert),
                deliveries: taker(Delivery, view.on_delivery),
                mentions: taker(Mention, view.on_mention),
            },
            new_consumer=new_consumer,
        )
        self._view = view
        self._mentions = mentions
        self._looked = 0.0

    def on_lost(self) -> None:
        """Tell the view."""
        self._view.on_feed("lost")

    def on_current(self) -> None:
        """Tell the view."""
        self._view.on_feed("live")

    def _is_aside(self, topic: str) -> bool:
        return topic == self._mentions

    async def _look_aside(
        self, consumer: Any, partitions: list[TopicPartition], *, first: bool = False
    ) -> None:
        now = time.monotonic()
        if first or (self._view.watchers and now - self._looked >= LOOK_EVERY):
            self._looked = now
            await self._look(consumer, partitions)

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
