"""How far topics reach, by asking.

A consumer knows that only as of its last fetch, and one that works slowly fetches seldom: what
comes in meanwhile would wait unseen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import TopicPartition

from pipeline.following import Follower

LOOK_SECONDS: Final = 2.0


class Ends(Follower):
    """Looks at the ends of topics now and then, and at nothing in them.

    Attributes:
        known: End offset of each partition, as of the last look.
    """

    def __init__(self, *, consumer_options: Mapping[str, Any], topics: Iterable[str]) -> None:
        super().__init__(
            "lag", consumer_options=consumer_options, takers=dict.fromkeys(topics, _take_none)
        )
        self.known: dict[TopicPartition, int] = {}
        self._due = 0.0

    def _is_aside(self, topic: str) -> bool:
        return True

    async def _look_aside(
        self, consumer: Any, partitions: list[TopicPartition], *, first: bool = False
    ) -> None:
        if first or time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_SECONDS
            self.known.update(await consumer.end_offsets(partitions))


def _take_none(value: bytes) -> None:
    """Nothing is read."""
