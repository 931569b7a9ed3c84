"""score: each mention counts once, and what is published follows from what is durable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.agents.score import Scores, Voices
from pipeline.domain.buckets import WINDOWS, Bucket, Totals
from pipeline.domain.clock import IDLE_SECONDS
from pipeline.domain.history import History
from pipeline.domain.scoring import score_of
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError, partition_of
from pipeline.records import Hour, Mention, Score
from pipeline.settings import BrandSettings, Settings
from pipeline.streaming import Chunk
from tests.builders import (
    NOON,
    MemoryProducer,
    MemoryTable,
    a_chunk,
    a_mention,
    at,
    fed,
    metric,
)

SCORES = "gapwatch.scores"
HOURS = "gapwatch.hours"

PARTITIONS = 4

SETTINGS = Settings(
    brands=(
        BrandSettings(key="north", name="North", rivals=("south",)),
        BrandSettings(key="south", name="South"),
    )
)


@dataclass
class Bench:
    """A score agent and all it touches; `wall` is its clock on the wall."""

    table: MemoryTable[Bucket] = field(default_factory=lambda: MemoryTable(Bucket))
    producer: MemoryProducer = field(default_factory=MemoryProducer)
    metrics: Metrics = field(default_factory=Metrics)
    voices: Voices = field(default_factory=Voices)
    history: History = field(default_factory=History)
    history_known: bool = True
    wall: float = NOON.timestamp()

    def __post_init__(self) -> None:
        self.agent = Scores(
            SETTINGS,
            producer=self.producer,  # type: ignore[arg-type]
            metrics=self.metrics,
            voices=self.voices,
            history=self.history,
            history_known=lambda: self.history_known,
            partitions=PARTITIONS,
            wall=lambda: self.wall,
        )
        self.agent.table = self.table  # type: ignore[assignment]

    async def run(self, *chunks: Chunk) -> None:
        """Feed chunks; each must be acknowledged."""
        async with fed(self.agent.handle) as agent:
            for chunk in chunks:
                assert await agent.put(chunk)

    async def hours(self) -> list[Hour]:
        """Publish; returns the hours that were sent, which are then in the history."""
        self.producer.sent.clear()
        await self.agent.publish()
        hours = self.producer.to(HOURS, Hour)
        for hour in hours:
            self.history.take(hour)
        return hours

    async def published(self) -> dict[tuple[str, str], Score]:
        """Publish; returns what was sent, by brand and window."""
        self.producer.sent.clear()
        await self.agent.publish()
        return {(s.brand, s.window): s for s in self.producer.to(SCORES, Score)}

    def restarted(self) -> Bench:
        """What another worker makes of the durable state."""
        return Bench(self.table.restored(), wall=self.wall)


def chunk_of(mentions: Iterable[Mention], partition: int = 0) -> Chunk:
    """A chunk of these mentions."""
    return a_chunk([msgspec.json.encode(mention) for mention in mentions], partition=partition)


def mentions(count: int, brand: str = "north", first: int = 0) -> list[Mention]:
    """So many promoters' mentions, at offsets `first` and on of events partition 0."""
    return [
        a_mention(brand, stamp=(0, offset), author=f"author{offset}", advocacy="promoter")
        for offset in range(first, first + count)
    ]


async def test_a_mention_counts_once_over_replayed_chunks() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(5)), chunk_of(mentions(5)), chunk_of(mentions(3, first=3)))
    assert (await bench.published())["north", "1h"].mentions == 6
    assert metric(bench.metrics, "gapwatch_replayed_total") == 5 + 2


async def test_a_mention_counts_once_over_a_restart() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(5)))
    again = bench.restarted()
    await again.run(chunk_of(mentions(7)))
    assert (await again.published())["north", "1h"].mentions == 7
    counted = {"brand": "north", "stage": "consumption"}
    assert metric(again.metrics, "gapwatch_mentions_counted_total", **counted) == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12), st.booleans()), max_size=6))
async def test_any_crashes_leave_the_scores_of_one_delivery(
    deliveries: list[tuple[int, int, bool]],
) -> None:
    log = mentions(12)
    once = Bench()
    await once.agent.handle(chunk_of(log))

    bench, acknowledged = Bench(), 0
    for back, length, confirmed in deliveries:
        first = max(0, acknowledged - back)
        chunk = log[first : first + length]
        bench.table.failing = not confirmed
        try:
            await bench.agent.handle(chunk_of(chunk or log[:1]))
        except ProduceError:
            bench = bench.restarted()
        else:
            acknowledged = max(acknowledged, first + len(chunk))
    bench.table.failing = False
    await bench.agent.handle(chunk_of(log[acknowledged:] or log))
    assert await bench.restarted().published() == await once.restarted().published()


async def test_where_buckets_cannot_be_written_nothing_is_acknowledged() -> None:
    bench = Bench()
    bench.table.failing = True
    async with fed(bench.agent.handle) as agent:
        assert not await agent.put(chunk_of(mentions(3)))
        assert isinstance(agent.error, ProduceError)
    assert (await bench.restarted().published()) == {}


async def test_only_buckets_that_changed_are_written() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(5)), chunk_of(mentions(5)))
    assert len(bench.table.changelog) == 2  # the minute and the hour, once


async def test_scores_are_published_for_every_window_keyed_by_brand_and_window() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(2), *mentions(1, "south")]))
    assert set(await bench.published()) == {
        (brand, window) for brand in ("north", "south") for window in WINDOWS
    }
    for topic, partition, key, value in bench.producer.sent:
        if topic != SCORES:
            continue
        assert value is not None
        score = msgspec.json.decode(value, type=Score)
        assert key == f"{score.brand}|{score.window}".encode()
        assert partition == partition_of(key, PARTITIONS)
        assert score.as_of == NOON
        assert score.score == 100.0


async def test_only_what_changed_is_published_again() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(2), *mentions(2, "south")]))
    assert len(await bench.published()) == 6
    assert await bench.published() == {}
    await bench.run(chunk_of(mentions(1, first=2)))
    assert {brand for brand, _ in await bench.published()} == {"north"}


async def test_a_rivals_news_changes_the_share_of_voice() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(3), *mentions(1, "south")]))
    assert (await bench.published())["north", "1h"].share_of_voice == 0.75
    await bench.run(chunk_of(mentions(2, "south", first=1)))
    scores = await bench.published()
    assert scores["north", "1h"].share_of_voice == 0.5
    assert scores["south", "1h"].share_of_voice == 1.0  # it names no rivals


async def test_a_rival_counted_by_another_worker_has_a_voice_too() -> None:
    other = Bench()
    await other.run(chunk_of(mentions(6, "south")))
    bench = Bench()
    for score in (await other.published()).values():
        bench.voices.hear(score)
    await bench.run(chunk_of(mentions(2)))
    assert (await bench.published())["north", "1h"].share_of_voice == 0.25


async def test_each_new_minute_slides_every_window() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(2)))
    await bench.published()
    await bench.run(chunk_of([a_mention("south", stamp=(0, 9), minutes=60)]))
    scores = await bench.published()
    assert scores["north", "1h"].mentions == 0
    assert scores["north", "1h"].score is None
    assert scores["north", "24h"].mentions == 2


async def test_time_passes_without_mentions() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(2)))
    await bench.published()
    bench.wall += 2 * 3600
    score = (await bench.published())["north", "1h"]
    assert score.mentions == 0
    assert score.as_of.timestamp() == bench.wall - IDLE_SECONDS


async def test_before_anything_is_counted_nothing_is_published() -> None:
    assert await Bench().published() == {}


async def test_a_restart_publishes_the_same_scores() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(4), *mentions(2, "south")]), chunk_of(mentions(2), 1))
    assert await bench.restarted().published() == await bench.published()


async def test_old_buckets_leave_memory_and_changelog() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(1)))
    await bench.run(chunk_of([a_mention(stamp=(0, 5), minutes=40 * 24 * 60)]))
    await bench.published()
    assert len(bench.table.of(0)) == 2
    assert bench.table.restored().held == bench.table.held


async def test_late_mentions_are_counted_as_late_and_nowhere_else() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(1), a_mention(stamp=(0, 1), minutes=-40 * 24 * 60)]))
    assert (await bench.published())["north", "7d"].mentions == 1
    assert metric(bench.metrics, "gapwatch_late_total", brand="north") == 1
    assert metric(bench.metrics, "gapwatch_replayed_total") == 0


async def test_a_brand_that_left_the_settings_is_counted_but_not_published() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(1, "gone"), *mentions(1)]))
    assert {brand for brand, _ in await bench.published()} == {"north"}


async def test_state_that_was_dropped_is_read_anew() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(4)))
    await bench.published()
    bench.table.held.clear()
    bench.agent.forget_state()
    assert await bench.published() == {}


async def test_metrics_tell_the_scores_and_the_gaps() -> None:
    bench = Bench()
    negative = a_mention(stamp=(0, 0), gap="negative", touchpoint="delivery", advocacy="detractor")
    await bench.run(chunk_of([negative, a_mention(stamp=(0, 1))]))
    await bench.published()
    window = {"brand": "north", "window": "1h"}
    assert metric(bench.metrics, "gapwatch_score", **window) == -50
    assert metric(bench.metrics, "gapwatch_window_mentions", **window) == 2
    gap = {"touchpoint": "delivery", "gap": "negative"}
    assert metric(bench.metrics, "gapwatch_gap_rate", **window, **gap) == 1
    assert metric(bench.metrics, "gapwatch_gap_mentions_total", brand="north", **gap) == 1


async def test_deleted_records_are_skipped() -> None:
    bench = Bench()
    await bench.run(a_chunk([None, msgspec.json.encode(a_mention())]))
    assert (await bench.published())["north", "1h"].mentions == 1


def a_score(count: int, minutes: float) -> Score:
    """North's score of the last hour, on so many mentions."""
    totals = Totals()
    for mention in mentions(count):
        totals.count(mention)
    return score_of("north", "1h", totals, as_of=at(minutes).timestamp(), few=30)


@pytest.mark.parametrize(("later", "heard"), [(5.0, 3), (0.0, 3), (-5.0, 1)])
def test_voices_keep_the_newest(later: float, heard: int) -> None:
    voices = Voices()
    voices.hear(a_score(1, 0.0))
    voices.hear(a_score(3, later))
    assert voices.mentions("north", "1h") == heard
    assert voices.mentions("south", "1h") == 0
    assert voices.newest == at(max(0.0, later)).timestamp()


async def test_hours_are_published_once_a_minute_where_they_changed() -> None:
    bench = Bench()
    await bench.run(chunk_of([*mentions(3), *mentions(2, "south")]))
    first = await bench.hours()
    assert {(hour.brand, hour.mentions) for hour in first} == {("north", 3), ("south", 2)}
    keys = {
        key for _, _, key, value in bench.producer.sent if value == msgspec.json.encode(first[0])
    }
    assert keys == {f"{first[0].brand}|{int(NOON.timestamp()) // 3600}".encode()}
    late = a_mention(stamp=(0, 9), minutes=-180, author="late")
    await bench.run(chunk_of([*mentions(2, first=3), late]))
    assert await bench.hours() == []  # not within the minute
    await bench.run(chunk_of([a_mention(stamp=(0, 10), minutes=1, author="next")]))
    changed = [(hour.start, hour.mentions) for hour in await bench.hours()]
    assert changed == [(at(-180), 1), (at(0), 6)]


async def test_a_restart_publishes_the_hours_that_were_not_and_no_others() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(3)))
    await bench.hours()
    await bench.run(chunk_of(mentions(2, first=3)))
    again = Bench(bench.table.restored(), history=bench.history, wall=bench.wall)
    assert [hour.mentions for hour in await again.hours()] == [5]
    again.agent.forget_state()
    assert await again.hours() == []


async def test_before_the_history_is_known_only_what_changes_is_published() -> None:
    bench = Bench()
    await bench.run(chunk_of(mentions(3)))
    other = Bench(bench.table.restored(), wall=bench.wall, history_known=False)
    assert await other.hours() == []
    other.history_known = True
    await other.run(chunk_of([a_mention(stamp=(0, 9), minutes=1, author="next")]))
    assert [hour.mentions for hour in await other.hours()] == [4]
