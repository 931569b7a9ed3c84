"""History through the pipeline, as if live: the agents themselves, with memory for a broker."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, BinaryIO, Final, cast

import msgspec

from models.classifier import Classifier
from models.registry import load_classifier
from pipeline.agents.classify import Classify
from pipeline.agents.detect import Detect
from pipeline.domain.silences import Orders
from pipeline.domain.spikes import WEEK
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import Alert, Mention
from pipeline.settings import Settings, SettingsError
from pipeline.sources.files import read_events
from pipeline.streaming import Chunk, StateTable

TOGETHER: Final = 500
"""Events in a chunk."""

Pair = tuple[bytes | None, bytes | None]


@dataclass
class Rehearsal:
    """What came of it.

    Attributes:
        events: Events read.
        mentions: Mentions they became.
        rejected: Events that could not be processed.
        alerts: Every alert that would have fired, in order, as it stood at the end.
        told: When each, by its id, was told first.
        first, last: Earliest and latest mention; None without any.
    """

    events: int = 0
    mentions: int = 0
    rejected: int = 0
    alerts: list[Alert] = field(default_factory=list)
    told: dict[str, datetime] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    @property
    def weeks(self) -> float:
        """Time between the first mention and the last."""
        if self.first is None or self.last is None:
            return 0.0
        return (self.last - self.first).total_seconds() / WEEK


@dataclass(frozen=True, slots=True)
class Line:
    """A record as a topic would hold it (a `streaming.Record`)."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


class MemoryTopics:
    """Topics in memory: takes what agents send."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Pair]] = defaultdict(list)

    async def send(self, topic: str, partition: int, records: Iterable[Pair]) -> None:
        self.topics[topic] += records

    async def send_keyed(self, topic: str, partitions: int, records: Sequence[Pair]) -> None:
        self.topics[topic] += records

    def take(self, topic: str) -> list[Pair]:
        return self.topics.pop(topic, [])


class MemoryTable:
    """An agent's state, which nothing needs to outlive."""

    def __init__(self) -> None:
        self.held: dict[int, dict[bytes, Any]] = defaultdict(dict)

    def of(self, partition: int) -> dict[bytes, Any]:
        return self.held[partition]

    async def write(self, partition: int, keys: Iterable[bytes]) -> None:
        pass


def rehearse(
    settings: Settings, stream: BinaryIO, name: str, classifier: Classifier | None = None
) -> Rehearsal:
    """Run events through classification, brand matching and detection.

    Args:
        settings: Brands, and when talk becomes an alert.
        stream: Events, in the order in which they would have arrived.
        name: The file's name.
        classifier: Default: the one the settings name.

    Raises:
        SettingsError: There are no brands.
        SourceError: The file cannot be read.
    """
    if not settings.brands:
        raise SettingsError("no brands to listen for: add [[brands]] to the settings file")
    own = classifier is None
    classifier = classifier or load_classifier(settings.model.name)
    try:
        with ThreadPoolExecutor(1) as executor:
            return asyncio.run(_rehearse(settings, stream, name, classifier, executor))
    finally:
        if own:
            classifier.close()


async def _rehearse(
    settings: Settings,
    stream: BinaryIO,
    name: str,
    classifier: Classifier,
    executor: ThreadPoolExecutor,
) -> Rehearsal:
    log, metrics, found = MemoryTopics(), Metrics(), Rehearsal()
    producer = cast(Producer, log)

    async def at_once() -> None:
        """No order of silence or acknowledgement is waited for."""

    classify = Classify(settings, producer=producer, classifier=classifier, executor=executor,
                        metrics=metrics, partitions=1)  # fmt: skip
    detect = Detect(settings, producer=producer, metrics=metrics, partitions=1, orders=Orders(),
                    ready=at_once)  # fmt: skip
    classify.table = cast("StateTable[Any]", MemoryTable())
    detect.table = cast("StateTable[Any]", MemoryTable())
    latest: dict[str, Alert] = {}
    decode = msgspec.json.Decoder(Alert).decode
    for lines in _chunks(stream, name):
        found.events += len(lines)
        await classify.handle(Chunk(settings.topic("events"), 0, lines))
        found.rejected += len(log.take(settings.topic("rejected")))
        mentions = log.take(settings.topic("mentions"))
        if not mentions:
            continue
        _note(found, mentions)
        await detect.handle(
            Chunk(
                settings.topic("mentions"),
                0,
                [Line(found.mentions + at, key, value) for at, (key, value) in enumerate(mentions)],
            )
        )
        for _, value in log.take(settings.topic("alerts")):
            if value is not None:
                alert = decode(value)
                latest[alert.id] = alert
                found.told.setdefault(alert.id, alert.updated)
    found.alerts = sorted(latest.values(), key=lambda alert: found.told[alert.id])
    return found


def _chunks(stream: BinaryIO, name: str) -> Iterator[list[Line]]:
    lines = (
        Line(offset, record.key, record.value)
        for offset, record in enumerate(read_events(stream, name=name))
    )
    while chunk := list(islice(lines, TOGETHER)):
        yield chunk


def _note(found: Rehearsal, mentions: list[Pair]) -> None:
    decode = msgspec.json.Decoder(Mention).decode
    times = [decode(value).event.published for _, value in mentions if value is not None]
    found.mentions += len(times)
    found.first = min([*times, *([found.first] if found.first else [])])
    found.last = max([*times, *([found.last] if found.last else [])])
