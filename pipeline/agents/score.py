"""mentions → scores, hours: count each mention once in its buckets, publish what they say.

Counting is acknowledged work; publishing is not. Scores and hours follow from the buckets alone, so
what was not published before a crash is published after it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from models.labels import TOUCHPOINTS
from pipeline.agents.base import steady_time
from pipeline.domain.buckets import WINDOWS, BrandBuckets, Bucket, BucketKey
from pipeline.domain.clock import StreamClock
from pipeline.domain.history import History
from pipeline.domain.scoring import hour_of, score_of, with_voice
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import GapRate, Mention, Score, hour_key
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable

_decode: Final = msgspec.json.Decoder(Mention).decode
_encode: Final = msgspec.json.Encoder().encode

PAUSE_EVERY: Final = 500
"""Hours looked at in one go: after a start there may be hundreds of each brand."""


class Voices:
    """Mentions of each brand and window, as last published by whichever worker counts them."""

    def __init__(self) -> None:
        self._mentions: dict[tuple[str, str], tuple[float, int]] = {}
        self.newest = 0.0

    def hear(self, score: Score) -> None:
        """Take note of a published score; older ones than known are ignored."""
        as_of = score.as_of.timestamp()
        key = score.brand, score.window
        if as_of >= self._mentions.get(key, (0.0, 0))[0]:
            self._mentions[key] = as_of, score.mentions
            self.newest = max(self.newest, as_of)

    def mentions(self, brand: str, window: str) -> int:
        """Mentions of a brand in a window; 0 where nothing was published."""
        return self._mentions.get((brand, window), (0.0, 0))[1]


class Scores:
    """The score agent.

    Args:
        voices: What all workers publish.
        history: The hours they have published.
        history_known: Whether `history` holds what stands in its topic.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        producer: Producer,
        metrics: Metrics,
        voices: Voices,
        history: History,
        history_known: Callable[[], bool],
        partitions: int,
        wall: Callable[[], float] = steady_time,
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._metrics = metrics
        self._voices = voices
        self._history = history
        self._history_known = history_known
        self._partitions = partitions
        self._wall = wall
        self._rivals = {brand.key: brand.rivals for brand in settings.brands}
        self._clock = StreamClock()
        self._buckets: dict[int, BrandBuckets] = {}
        self._dirty: set[str] = set()
        self._dirty_hours: set[tuple[int, str, int]] = set()
        self._compared: set[int] = set()
        self._minute = 0
        self._lock = asyncio.Lock()
        self.table: StateTable[Bucket] | None = None

    def forget_state(self) -> None:
        """State was dropped or restored: read it anew."""
        self._buckets.clear()
        self._compared.clear()
        self._minute = 0
        self._metrics.forget_scores()

    async def handle(self, chunk: Chunk) -> None:
        """Count a chunk's mentions; returns when the changed buckets are durable."""
        assert self.table is not None
        async with self._lock:
            buckets = self._buckets_of(chunk.partition)
            changed: set[bytes] = set()
            counted: Counter[tuple[str, str]] = Counter()
            gaps: Counter[tuple[str, str, str]] = Counter()
            replayed = 0
            for record in chunk.records:
                if record.value is None:
                    continue
                mention = _decode(record.value)
                now = self._clock.hear(mention.event.published.timestamp(), self._wall())
                news, late, keys = buckets.apply(mention, now)
                changed |= keys
                if news:
                    labels = mention.labels
                    counted[mention.brand, labels.stage.label] += 1
                    if labels.gap.label != "none":
                        gaps[mention.brand, labels.touchpoint.label, labels.gap.label] += 1
                    self._dirty.add(mention.brand)
                elif late:
                    self._metrics.late.labels(mention.brand).inc()
                else:
                    replayed += 1
            for key in map(BucketKey.decode, changed):
                if key.span == "h":
                    self._dirty_hours.add((chunk.partition, key.brand, key.number))
            await self.table.write(chunk.partition, changed)
        for counted_key, count in counted.items():
            self._metrics.counted.labels(*counted_key).inc(count)
        for gap_key, count in gaps.items():
            self._metrics.gaps.labels(*gap_key).inc(count)
        self._metrics.replayed.inc(replayed)

    async def publish(self) -> None:
        """Publish the scores that changed since the last time, and drop buckets grown too old."""
        if self.table is None:
            return
        async with self._lock:
            now = max(self._clock.now(self._wall()), self._voices.newest)
            self._clock.start_at(now)
            for partition in list(self.table.held):
                self._buckets_of(partition)
            now = self._clock.now(self._wall())
            if not now:
                return
            # A window slides with its buckets: each new minute can change every brand's score.
            everyone = int(now // 60) != self._minute
            self._minute = int(now // 60)
            due = [
                (buckets, brand)
                for buckets in self._buckets.values()
                for brand in buckets.brands
                if brand in self._rivals
                and (
                    everyone
                    or brand in self._dirty
                    or any(rival in self._dirty for rival in self._rivals[brand])
                )
            ]
            self._dirty.clear()
            scores = [
                self._score(buckets, brand, window, now)
                for buckets, brand in due
                for window in WINDOWS
            ]
            # Rivals' shares rest on each other's counts: know all before any share is told.
            for score in scores:
                self._voices.hear(score)
            scores = [self._with_voice(score) for score in scores]
            await self._producer.send_keyed(
                self._settings.topic("scores"),
                self._partitions,
                [(f"{s.brand}|{s.window}".encode(), _encode(s)) for s in scores],
            )
            for score in scores:
                self._show(score)
            if everyone:
                await self._publish_hours()
                for partition, buckets in list(self._buckets.items()):
                    if self._buckets.get(partition) is buckets:  # no rebalance meanwhile
                        await self.table.write(partition, buckets.expire(now))

    async def _publish_hours(self) -> None:
        """Publish the hours that changed; of partitions new to us, those published otherwise."""
        due, self._dirty_hours = self._dirty_hours, set()
        if self._history_known():
            for partition in self._buckets.keys() - self._compared:
                self._compared.add(partition)
                buckets = self._buckets[partition]
                due |= {(partition, b, n) for b in buckets.brands for n in buckets.hours(b)}
        hours = []
        for at, (partition, brand, number) in enumerate(sorted(due)):
            if at % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
            held = self._buckets.get(partition)
            totals = held.hour(brand, number) if held is not None else None
            if totals is not None:
                hour = hour_of(brand, number, totals)
                if hour != self._history.hour(brand, hour.start):
                    hours.append(hour)
        await self._producer.send_keyed(
            self._settings.topic("hours"),
            self._partitions,
            [(hour_key(hour.brand, hour.start), _encode(hour)) for hour in hours],
        )

    def _buckets_of(self, partition: int) -> BrandBuckets:
        buckets = self._buckets.get(partition)
        if buckets is None:
            assert self.table is not None
            buckets = self._buckets[partition] = BrandBuckets(self.table.of(partition))
            self._clock.start_at(buckets.newest())
        return buckets

    def _score(self, buckets: BrandBuckets, brand: str, window: str, now: float) -> Score:
        return score_of(
            brand,
            window,
            buckets.window(brand, window, now),
            as_of=now,
            few=self._settings.score.few,
        )

    def _with_voice(self, score: Score) -> Score:
        rivals = sum(
            self._voices.mentions(rival, score.window) for rival in self._rivals[score.brand]
        )
        return with_voice(score, rivals)

    def _show(self, score: Score) -> None:
        metrics = self._metrics
        labels = score.brand, score.window
        if score.score is not None and score.margin is not None:
            metrics.score.labels(*labels).set(score.score)
            metrics.score_margin.labels(*labels).set(score.margin)
        metrics.window_mentions.labels(*labels).set(score.mentions)
        if score.share_of_voice is not None:
            metrics.share_of_voice.labels(*labels).set(score.share_of_voice)
        rates: dict[str, GapRate] = {"all": score.gap}
        rates.update((name, score.gap_by_touchpoint[name]) for name in TOUCHPOINTS)
        for touchpoint, rate in rates.items():
            metrics.gap_rate.labels(*labels, touchpoint, "negative").set(rate.below)
            metrics.gap_rate.labels(*labels, touchpoint, "positive").set(rate.above)
