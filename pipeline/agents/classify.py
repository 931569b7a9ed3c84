"""events → mentions: decode, drop repeats, find brands, label, and send on.

Nothing is skipped in silence: an event becomes mentions, or is counted as unmatched, as a repeat
or as an erased author's, or goes to the rejected topic.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from models.classifier import Classifier
from models.labels import TEAM_OF_TOUCHPOINT, Labels
from pipeline.domain.brands import BrandMatcher
from pipeline.domain.intake import (
    RefusedError,
    RejectWatch,
    came_in,
    dead_letter,
    read_record,
    received_at,
)
from pipeline.domain.privacy import Privacy
from pipeline.domain.repeats import Block, Repeats, hash_id
from pipeline.domain.scoring import weight
from pipeline.domain.stages import WORDLESS, with_stage
from pipeline.metrics import Metrics
from pipeline.producer import Producer, partition_of
from pipeline.records import Event, Mention, Rejected, Stamp
from pipeline.settings import Settings
from pipeline.streaming import Chunk, Record, StateTable

MAX_SOURCES: Final = 50
"""Source names shown in metrics; further ones are counted as `other`."""

_encode = msgspec.json.Encoder().encode


class RejectShareError(Exception):
    """Nearly all events are rejected: something upstream is broken."""


class PartitionsError(Exception):
    """The events topic was given partitions that the state has not."""


@dataclass(slots=True)
class _Batch:
    """What became of a chunk's events."""

    taken: list[tuple[Record, Event, tuple[str, ...]]] = field(default_factory=list)
    rejected: list[tuple[bytes | None, Rejected]] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    repeats: int = 0
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk with what its events turned out to be, and the labels of those taken."""

    chunk: Chunk
    batch: _Batch
    labels: list[Labels]


class Classify:
    """The classify agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        producer: Producer,
        classifier: Classifier,
        executor: Executor,
        metrics: Metrics,
        partitions: int,
        privacy: Privacy | None = None,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """As above.

        Args:
            privacy: What may be kept of authors.
            ready: Returns once `privacy` knows who is to be forgotten: nothing is taken before.
        """
        self._settings = settings
        self._producer = producer
        self._classifier = classifier
        self._executor = executor
        self._metrics = metrics
        self._privacy = privacy or Privacy()
        self._ready = ready
        self._matcher = BrandMatcher(settings.brands)
        self._watch = RejectWatch(settings.intake.max_reject_share)
        self._sources: set[str] = set()
        self._repeats: dict[int, Repeats] = {}
        self._mentions_topic = settings.topic("mentions")
        self._rejected_topic = settings.topic("rejected")
        self._partitions = partitions
        self._partition_of = lru_cache(maxsize=65_536)(
            lambda brand: partition_of(brand.encode(), partitions)
        )
        self._cache_seen = (0, 0)
        self.table: StateTable[Block] | None = None

    def forget_state(self) -> None:
        """State was dropped or restored: read it anew."""
        self._repeats.clear()

    async def handle(self, chunk: Chunk) -> None:
        """Both steps, one after the other."""
        await self.finish(await self.prepare(chunk))

    async def prepare(self, chunk: Chunk) -> Prepared:
        """Find out what is to come of a chunk; may run while the one before is being finished.

        Raises:
            PartitionsError: Its partition was added, and it is not known which ids came before.
        """
        if chunk.partition >= self._settings.kafka.of_events:
            raise PartitionsError(
                f"topic {chunk.topic} was given more partitions; stop the workers and run "
                "`gapwatch topics grow`, so that repeats are still known as such"
            )
        if self._ready is not None:
            await self._ready()
        batch = self._sort(chunk)
        return Prepared(chunk, batch, await self._label(batch))

    async def finish(self, prepared: Prepared) -> None:
        """Send on what comes of a chunk; returns when all of it is confirmed.

        Raises:
            ProduceError: A result was not confirmed.
            RejectShareError: More events are rejected than settings allow.
        """
        chunk, batch = prepared.chunk, prepared.batch
        mentions = self._mentions(chunk, batch, prepared.labels)
        if batch.rejected:
            await self._producer.send(
                self._rejected_topic,
                chunk.partition % self._partitions,
                [(key, _encode(rejected)) for key, rejected in batch.rejected],
            )
        # All of this chunk is confirmed before the next leaves: no mention overtakes another.
        await asyncio.gather(
            *(
                self._producer.send(self._mentions_topic, partition, records)
                for partition, records in mentions.items()
            )
        )
        if self.table is not None:
            # Written after the mentions are out: an id must not outlive what it stands for.
            await self.table.write(chunk.partition, batch.blocks)
        self._measure(chunk, batch)

    def _sort(self, chunk: Chunk) -> _Batch:
        batch = _Batch()
        intake = self._settings.intake
        repeats = self._repeats_of(chunk.partition)
        fresh: dict[bytes, int] = {}
        for record in chunk.records:
            try:
                event = read_record(
                    record, max_ahead=intake.max_ahead, max_bytes=intake.max_event_bytes
                )
            except RefusedError as refused:
                letter = dead_letter(refused, record, chunk.topic, chunk.partition)
                batch.rejected.append(self._privacy.keep_letter(record.key, letter))
                continue
            batch.sources[event.source] += 1
            hashed = hash_id(event.id)
            if fresh.setdefault(hashed, record.offset) != record.offset or repeats.is_repeat(
                hashed, record.offset
            ):
                batch.repeats += 1
                continue
            brands = self._matcher.match(event)
            if not brands:
                batch.unmatched += 1
            elif self._privacy.is_erased(event):
                batch.erased += 1
            else:
                # Only now: brands know their own accounts by name.
                batch.taken.append((record, self._privacy.keep(event), brands))
        new = [(hashed, offset) for hashed, offset in fresh.items() if hashed not in repeats]
        batch.blocks = self._remember(chunk.partition, new, came_in(chunk.records[-1]))
        return batch

    async def _label(self, batch: _Batch) -> list[Labels]:
        """Labels of the taken events, in order; words go to the model in a thread of its own."""
        texts = [event.text for _, event, _ in batch.taken if event.text]
        judged: list[Labels] = []
        if texts:
            started = time.perf_counter()
            judged = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._classifier.classify, texts
            )
            self._metrics.model_seconds.observe(time.perf_counter() - started)
            self._metrics.classified.inc(len(texts))
            for labels in judged:
                if labels.abstained is not None:
                    self._metrics.abstained.labels(labels.abstained).inc()
        by_text = iter(judged)
        return [
            with_stage(next(by_text), event.activity) if event.text else WORDLESS[event.activity]
            for _, event, _ in batch.taken
        ]

    def _mentions(
        self, chunk: Chunk, batch: _Batch, labels: list[Labels]
    ) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
        """Encoded mentions by mentions partition, in offset order within each."""
        score = self._settings.score
        by_partition: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
        for (record, event, brands), judged in zip(batch.taken, labels, strict=True):
            for brand in brands:
                mention = Mention(
                    event=event,
                    brand=brand,
                    labels=judged,
                    team=TEAM_OF_TOUCHPOINT[judged.touchpoint.label],
                    # What was not judged must not make the score milder than people are.
                    weight=0.0
                    if judged.abstained
                    else weight(event, judged.stage.label, score.stage_weights, reach=score.reach),
                    model=self._classifier.version,
                    stamp=Stamp(chunk.partition, record.offset),
                    received=received_at(record),
                )
                by_partition.setdefault(self._partition_of(brand), []).append(
                    (brand.encode(), _encode(mention))
                )
        return by_partition

    def _repeats_of(self, partition: int) -> Repeats:
        repeats = self._repeats.get(partition)
        if repeats is None:
            blocks = self.table.of(partition) if self.table is not None else {}
            repeats = Repeats(self._settings.intake.repeats_kept, blocks)
            self._repeats[partition] = repeats
        return repeats

    def _remember(self, partition: int, new: list[tuple[bytes, int]], at: float) -> list[bytes]:
        """Know these ids from now on; returns the keys of the blocks to be written.

        Args:
            partition: Events partition.
            new: Hashed ids, each with its offset.
            at: When they came in, epoch seconds.
        """
        if self.table is None:
            return []
        repeats = self._repeats_of(partition)
        state = self.table.of(partition)
        changed = []
        if new:
            key = str(new[0][1]).encode()
            block = Block(
                seen=at,
                ids=b"".join(hashed for hashed, _ in new),
                offsets=[offset for _, offset in new],
            )
            state[key] = block
            repeats.remember(key, block)
            changed.append(key)
        for key in repeats.forget(at):
            state.pop(key, None)
            changed.append(key)
        return changed

    def _measure(self, chunk: Chunk, batch: _Batch) -> None:
        metrics = self._metrics
        now = time.time()
        metrics.batch_size.observe(len(chunk.records))
        for source, count in batch.sources.items():
            if len(self._sources) < MAX_SOURCES:
                self._sources.add(source)
            metrics.events.labels(source if source in self._sources else "other").inc(count)
        for brand, count in Counter(b for _, _, brands in batch.taken for b in brands).items():
            metrics.mentions.labels(brand).inc(count)
        reasons: Counter[str] = Counter(rejected.reason for _, rejected in batch.rejected)
        for reason, count in reasons.items():
            metrics.rejected.labels(reason).inc(count)
        metrics.unmatched.inc(batch.unmatched)
        metrics.repeats.inc(batch.repeats)
        metrics.erased.inc(batch.erased)
        for record, _, _ in batch.taken:
            metrics.latency.observe(max(0.0, now - record.timestamp / 1000))
        lookups = getattr(self._classifier, "cache_lookups", 0)
        hits = getattr(self._classifier, "cache_hits", 0)
        metrics.cache_lookups.inc(lookups - self._cache_seen[0])
        metrics.cache_hits.inc(hits - self._cache_seen[1])
        self._cache_seen = (lookups, hits)
        wrong = self._watch.note(len(chunk.records), reasons)
        if wrong is not None:
            raise RejectShareError(wrong)
