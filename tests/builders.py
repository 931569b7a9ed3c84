"""What tests are made of: records that need only the fields a test is about, and fake transport.

Every builder gives something valid; every field can be changed by name.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec

from models.labels import HEADS, NEUTRAL, TEAM_OF_TOUCHPOINT, Label, Labels
from pipeline.agents.base import attach
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError, partition_of
from pipeline.records import Actor, Alert, Event, Mention, Stamp
from pipeline.streaming import App, Chunk

T = TypeVar("T")

NOON: Final = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)
"""When things happen in tests, unless said otherwise: the start of an hour, long ago, so that no
clock takes it for the future."""

PATIENCE: Final = 60.0
"""Seconds a test waits for what must come; only a failure takes so long."""


def at(minutes: float = 0.0) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def some_labels(**values: str) -> Labels:
    """Neutral labels, but for those given: `some_labels(gap="negative")`."""
    chosen = NEUTRAL | values
    return Labels(
        **{
            head: Label(value, {other: float(other == value) for other in HEADS[head]})
            for head, value in chosen.items()
        },
        abstained=None,
    )


def an_event(**fields: Any) -> Event:
    """A post about the brand North; `followers` and `author` are its actor's."""
    author = fields.pop("author", "ann")
    followers = fields.pop("followers", 0)
    given: dict[str, Any] = {
        "id": "e1",
        "source": "test",
        "published": NOON,
        "text": "North is late again",
        "actor": Actor(id=author, name=author, followers=followers),
    }
    return Event(**given | fields)


def a_mention(
    brand: str = "north",
    *,
    stamp: tuple[int, int] = (0, 0),
    minutes: float = 0.0,
    weight: float = 1.0,
    event: Event | None = None,
    author: str = "ann",
    **labels: str,
) -> Mention:
    """A neutral mention, but for the labels given, `minutes` after noon."""
    judged = some_labels(**labels)
    return Mention(
        event=event or an_event(id=f"e{stamp[0]}-{stamp[1]}", published=at(minutes), author=author),
        brand=brand,
        labels=judged,
        team=TEAM_OF_TOUCHPOINT[judged.touchpoint.label],
        weight=weight,
        model="test",
        stamp=Stamp(*stamp),
        received=at(minutes),
    )


def an_alert(brand: str = "north", **fields: Any) -> Alert:
    """A firing alert about deliveries."""
    status = fields.get("status", "firing")
    identity = fields.get("id", f"{brand}.delivery.20240304T1200Z")
    given: dict[str, Any] = {
        "id": identity,
        "notification": f"{identity}.{status}",
        "brand": brand,
        "brand_name": brand.title(),
        "touchpoint": "delivery",
        "team": "Operations",
        "status": status,
        "onset": NOON,
        "updated": at(5),
        "seen": 12,
        "expected": 1.5,
        "window_minutes": 15,
        "probability": 1e-9,
        "share": 0.6,
        "reach": 40,
        "peak": 12,
    }
    return Alert(**given | fields)


def raw_event(**fields: Any) -> bytes:
    """An event as a source sends it; a field given as None is left out."""
    given: dict[str, Any] = {
        "id": "e1",
        "source": "test",
        "published": NOON.isoformat(),
        "text": "North is late again",
    }
    present = {name: value for name, value in (given | fields).items() if value is not None}
    return json.dumps(present).encode()


@dataclass(frozen=True, slots=True)
class ARecord:
    """A Kafka record."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = int(NOON.timestamp() * 1000)


def a_chunk(values: Sequence[bytes | None], *, partition: int = 0, first: int = 0) -> Chunk:
    """A chunk of these values at offsets `first` and on."""
    records = [ARecord(first + place, value) for place, value in enumerate(values)]
    return Chunk("gapwatch.test", partition, records)


@dataclass
class MemoryProducer:
    """Keeps what is sent, in order; `failing` makes sends to a topic fail.

    `journal`, shared with tables, tells what was made durable before what.
    """

    sent: list[tuple[str, int, bytes | None, bytes | None]] = field(default_factory=list)
    batches: list[tuple[str, int]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]
    ) -> None:
        """As `Producer.send`."""
        await asyncio.sleep(0)
        if topic in self.failing:
            raise ProduceError(f"{topic}[{partition}]: not confirmed: test")
        batch = [(topic, partition, key, value) for key, value in records]
        self.sent += batch
        if batch:
            self.batches.append((topic, partition))
            self.journal.append(topic)

    async def send_keyed(
        self, topic: str, partitions: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        """As `Producer.send_keyed`."""
        for key, value in records:
            await self.send(topic, partition_of(key, partitions), [(key, value)])

    def to(self, topic: str, kind: type[T]) -> list[T]:
        """What was sent to a topic, decoded."""
        return [
            msgspec.json.decode(value, type=kind)
            for name, _, _, value in self.sent
            if name == topic and value is not None
        ]


class MemoryTable(Generic[T]):
    """A `StateTable` whose changelog is a list; `restored` gives what a restart would find."""

    def __init__(
        self, kind: type[T], journal: list[str] | None = None, name: str = "state"
    ) -> None:
        self.held: dict[int, dict[bytes, T]] = defaultdict(dict)
        self.changelog: list[tuple[int, bytes, bytes | None]] = []
        self.failing = False
        self._kind = kind
        self.journal = [] if journal is None else journal
        self._name = name

    def of(self, partition: int) -> dict[bytes, T]:
        """As `StateTable.of`."""
        return self.held[partition]

    async def write(self, partition: int, keys: Iterable[bytes]) -> None:
        """As `StateTable.write`."""
        await asyncio.sleep(0)
        if self.failing:
            raise ProduceError(f"{self._name}[{partition}]: not confirmed: test")
        state = self.held[partition]
        changes = [
            (partition, key, msgspec.json.encode(state[key]) if key in state else None)
            for key in keys
        ]
        self.changelog += changes
        if changes:
            self.journal.append(self._name)

    def restored(self) -> MemoryTable[T]:
        """A table as another worker restores it: from what was made durable, nothing else."""
        other = MemoryTable(self._kind, self.journal, self._name)
        other.changelog = list(self.changelog)
        for partition, key, value in self.changelog:
            if value is None:
                other.held[partition].pop(key, None)
            else:
                other.held[partition][key] = msgspec.json.decode(value, type=self._kind)
        return other


def metric(metrics: Metrics, name: str, **labels: str) -> float:
    """A metric's value; 0 where it has none yet."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: It did not within `PATIENCE`.
    """
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (nothing to be woken by: Faust tells nobody)
            await asyncio.sleep(0.002)


class FedAgent:
    """A Faust agent under test, fed one chunk after another."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    async def put(self, chunk: Chunk) -> bool:
        """Give the agent a chunk; returns once it is done, saying whether it was acknowledged."""
        event = await self._wrapper.put(chunk, partition=chunk.partition, wait=False)
        await until(lambda: event.message.acked or self._wrapper.crashed)
        return bool(event.message.acked)

    @property
    def error(self) -> BaseException | None:
        """What the agent failed with."""
        reason: BaseException | None = self._wrapper.crash_reason
        return reason


@asynccontextmanager
async def fed(handle: Callable[[Chunk], Awaitable[None]]) -> AsyncIterator[FedAgent]:
    """Run `handle` as a Faust agent without a broker."""
    app = App("test", broker="memory://", store="memory://", web_enabled=False, autodiscover=False)
    agent = attach(app, app.chunk_topic("gapwatch.test", 4), "agent-under-test", handle)
    try:
        async with agent.test_context() as wrapper:
            yield FedAgent(wrapper)
    finally:
        # Faust makes the consumer, and in it an event loop, when the first chunk is acknowledged.
        app.consumer._thread.thread_loop.close()
