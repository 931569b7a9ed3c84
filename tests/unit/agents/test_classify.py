"""classify: events in, mentions and dead letters out; nothing lost, nothing acknowledged early."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import pytest

from models.labels import Labels
from pipeline.agents.classify import MAX_SOURCES, Classify, PartitionsError, RejectShareError
from pipeline.domain.repeats import Block
from pipeline.domain.stages import WORDLESS
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError, partition_of
from pipeline.records import Mention, Rejected, Stamp
from pipeline.settings import BrandSettings, Settings
from pipeline.streaming import Chunk
from tests.builders import (
    NOON,
    ARecord,
    MemoryProducer,
    MemoryTable,
    a_chunk,
    at,
    fed,
    metric,
    raw_event,
    some_labels,
)

MENTIONS = "gapwatch.mentions"
REJECTED = "gapwatch.rejected"

PARTITIONS = 4

SETTINGS = Settings(
    brands=(
        BrandSettings(key="north", name="North", accounts=("@north_official",)),
        BrandSettings(key="south", name="South"),
    )
)

LATE = some_labels(gap="negative", touchpoint="delivery", sentiment="negative", stage="creation")


class WordClassifier:
    """Judges posts with "late" in them, and remembers what it was asked."""

    version = "words-1"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        """Labels of `texts`, in order."""
        if self.failing:
            raise RuntimeError("model failed")
        self.asked += texts
        return [LATE if "late" in text else some_labels() for text in texts]

    def close(self) -> None:
        """Nothing to give back."""


@dataclass
class Bench:
    """A classify agent and all it touches."""

    executor: ThreadPoolExecutor
    producer: MemoryProducer = field(default_factory=MemoryProducer)
    classifier: WordClassifier = field(default_factory=WordClassifier)
    metrics: Metrics = field(default_factory=Metrics)
    table: MemoryTable[Block] = field(default_factory=lambda: MemoryTable(Block))

    def __post_init__(self) -> None:
        self.agent = Classify(
            SETTINGS,
            producer=self.producer,  # type: ignore[arg-type]
            classifier=self.classifier,
            executor=self.executor,
            metrics=self.metrics,
            partitions=PARTITIONS,
        )
        self.agent.table = self.table  # type: ignore[assignment]
        self.table.journal = self.producer.journal

    async def run(self, *chunks: Chunk) -> None:
        """Feed chunks; each must be acknowledged."""
        async with fed(self.agent.handle) as agent:
            for chunk in chunks:
                assert await agent.put(chunk)

    async def fails(self, chunk: Chunk) -> BaseException | None:
        """Feed a chunk that must not be acknowledged; returns the agent's error."""
        async with fed(self.agent.handle) as agent:
            assert not await agent.put(chunk)
            return agent.error

    def restarted(self) -> Bench:
        """What another worker makes of the durable state."""
        return Bench(self.executor, table=self.table.restored())

    @property
    def mentions(self) -> list[Mention]:
        """Mentions sent."""
        return self.producer.to(MENTIONS, Mention)

    @property
    def stamps(self) -> list[Stamp]:
        """Stamps of the mentions sent."""
        return [mention.stamp for mention in self.mentions]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(1) as executor:
        yield Bench(executor)


def events(*texts: str, first_id: int = 0) -> list[bytes | None]:
    """Events with these texts and ids of their own."""
    return [raw_event(id=f"e{n}", text=text) for n, text in enumerate(texts, first_id)]


async def test_an_event_becomes_a_mention_with_labels_weight_and_stamp(bench: Bench) -> None:
    raw = raw_event(text="North is late", actor={"name": "ann", "followers": 9})
    await bench.run(a_chunk([raw], partition=2, first=40))

    (mention,) = bench.mentions
    assert mention.event.text == "North is late"
    assert mention.brand == "north"
    assert mention.labels == LATE
    assert mention.team == "Operations"
    assert mention.weight == 6.0  # creation 3, times 1 + log10(1 + 9)
    assert mention.model == "words-1"
    assert mention.stamp == Stamp(2, 40)
    assert mention.received == NOON


async def test_an_event_about_two_brands_becomes_a_mention_of_each(bench: Bench) -> None:
    await bench.run(a_chunk(events("North or South?"), first=7))
    assert {(m.brand, m.stamp) for m in bench.mentions} == {
        ("north", Stamp(0, 7)),
        ("south", Stamp(0, 7)),
    }


async def test_mentions_go_to_their_brands_partition_keyed_by_brand(bench: Bench) -> None:
    await bench.run(a_chunk(events("North", "South", "North and South")))
    for topic, partition, key, value in bench.producer.sent:
        assert topic == MENTIONS
        assert value is not None
        brand = msgspec.json.decode(value, type=Mention).brand.encode()
        assert key == brand
        assert partition == partition_of(brand, PARTITIONS)


async def test_a_chunks_mentions_of_a_partition_leave_as_one_batch_in_offset_order(
    bench: Bench,
) -> None:
    await bench.run(a_chunk(events("North a", "North b", "other", "North c"), first=10))
    assert bench.producer.batches == [(MENTIONS, partition_of(b"north", PARTITIONS))]
    assert [stamp.offset for stamp in bench.stamps] == [10, 11, 13]


async def test_bad_events_are_rejected_whole_and_hold_nothing_up(bench: Bench) -> None:
    records = [
        ARecord(3, b'{"id": \xff', key=b"k1"),
        ARecord(4, raw_event(id="e4", text="North")),
        ARecord(5, raw_event(id=None), key=None),
    ]
    await bench.run(Chunk("gapwatch.events", 1, records))

    sent = [each for each in bench.producer.sent if each[0] == REJECTED]
    assert [(partition, key) for _, partition, key, _ in sent] == [(1, b"k1"), (1, None)]
    letters = bench.producer.to(REJECTED, Rejected)
    assert [(each.reason, each.partition, each.offset) for each in letters] == [
        ("not_utf8", 1, 3),
        ("invalid", 1, 5),
    ]
    assert letters[1].event == raw_event(id=None).decode()
    assert bench.stamps == [Stamp(1, 4)]
    assert metric(bench.metrics, "gapwatch_rejected_total", reason="invalid") == 1


async def test_a_partition_that_was_added_by_hand_is_not_touched(bench: Bench) -> None:
    added = SETTINGS.kafka.of_events
    assert isinstance(await bench.fails(a_chunk(events("North"), partition=added)), PartitionsError)
    assert bench.producer.sent == []


async def test_an_event_that_mentions_no_brand_is_counted_and_goes_no_further(
    bench: Bench,
) -> None:
    await bench.run(a_chunk(events("weather is fine", "North", "northern lights")))
    assert bench.stamps == [Stamp(0, 1)]
    assert bench.classifier.asked == ["North"]
    assert metric(bench.metrics, "gapwatch_unmatched_total") == 2


async def test_a_brands_own_posts_are_no_mentions(bench: Bench) -> None:
    raw = raw_event(text="North is sorry", actor={"name": "north_official"})
    await bench.run(a_chunk([raw]))
    assert bench.mentions == []


async def test_an_activity_without_words_is_labelled_by_its_type_without_the_model(
    bench: Bench,
) -> None:
    await bench.run(a_chunk([raw_event(text=None, type="Like", object="North's page")]))
    (mention,) = bench.mentions
    assert mention.labels == WORDLESS["Like"]
    assert mention.weight == 2.0
    assert bench.classifier.asked == []


async def test_labels_go_to_the_events_they_were_made_for(bench: Bench) -> None:
    values: list[bytes | None] = [
        raw_event(id="e0", text="North is late"),
        raw_event(id="e1", text=None, type="View", object="North"),
        raw_event(id="e2", text="North is fine"),
        raw_event(id="e3", text="North is late", type="Announce"),
    ]
    await bench.run(a_chunk(values))
    assert [(m.labels.gap.label, m.labels.stage.label) for m in bench.mentions] == [
        ("negative", "creation"),
        ("none", "consumption"),
        ("none", "consumption"),
        ("negative", "curation"),
    ]


async def test_the_same_id_in_another_record_is_dropped_and_counted(bench: Bench) -> None:
    await bench.run(
        a_chunk([raw_event(id="a", text="North 1"), raw_event(id="a", text="North 1")], first=0),
        a_chunk([raw_event(id="a", text="North 1"), raw_event(id="b", text="North 2")], first=2),
    )
    assert bench.stamps == [Stamp(0, 0), Stamp(0, 3)]
    assert metric(bench.metrics, "gapwatch_repeats_total") == 2


async def test_the_same_record_again_is_a_replay_and_its_mention_is_sent_again(
    bench: Bench,
) -> None:
    chunk = a_chunk(events("North 1", "North 2"), first=5)
    await bench.run(chunk, chunk)
    assert [stamp.offset for stamp in bench.stamps] == [5, 6, 5, 6]
    assert bench.mentions[:2] == bench.mentions[2:]
    assert metric(bench.metrics, "gapwatch_repeats_total") == 0


async def test_a_restart_tells_replays_from_repeats_as_before(bench: Bench) -> None:
    await bench.run(a_chunk(events("North 1", "North 2"), first=5))
    again = bench.restarted()
    # Replayed from offset 6, with other chunk boundaries, and event e0 once more at offset 7.
    await again.run(a_chunk([*events("North 2", first_id=1), *events("North 1")], first=6))
    assert again.stamps == [Stamp(0, 6)]
    assert metric(again.metrics, "gapwatch_repeats_total") == 1


async def test_what_comes_too_early_is_told_by_the_log_and_not_by_a_workers_clock(
    bench: Bench,
) -> None:
    chunk = a_chunk(events("North 1", "North 2"))
    early, fair = (
        dataclasses.replace(record, timestamp=int(at(minutes).timestamp() * 1000))
        for record, minutes in zip(chunk.records, (-6, -4), strict=True)
    )
    await bench.run(dataclasses.replace(chunk, records=[early, fair]))
    assert [letter.reason for letter in bench.producer.to(REJECTED, Rejected)] == ["too_early"]
    assert bench.stamps == [Stamp(0, fair.offset)]


async def test_ids_are_remembered_partition_by_partition(bench: Bench) -> None:
    await bench.run(a_chunk(events("North"), partition=0), a_chunk(events("North"), partition=1))
    assert bench.stamps == [Stamp(0, 0), Stamp(1, 0)]


async def test_ids_are_remembered_only_after_the_mentions_are_out(bench: Bench) -> None:
    await bench.run(a_chunk(events("North")))
    assert bench.producer.journal == [MENTIONS, "state"]


@pytest.mark.parametrize("topic", [MENTIONS, REJECTED])
async def test_what_the_broker_does_not_confirm_is_not_acknowledged(
    bench: Bench, topic: str
) -> None:
    bench.producer.failing.add(topic)
    chunk = a_chunk([*events("North"), b"bad"], first=3)

    assert isinstance(await bench.fails(chunk), ProduceError)
    assert bench.table.changelog == []

    again = bench.restarted()
    await again.run(chunk)
    assert again.stamps == [Stamp(0, 3)]
    assert [letter.offset for letter in again.producer.to(REJECTED, Rejected)] == [4]


async def test_where_ids_cannot_be_remembered_nothing_is_acknowledged(bench: Bench) -> None:
    bench.table.failing = True
    assert isinstance(await bench.fails(a_chunk(events("North"))), ProduceError)


async def test_a_model_that_fails_stops_the_worker_before_anything_leaves(bench: Bench) -> None:
    bench.classifier.failing = True
    error = await bench.fails(a_chunk([*events("North"), b"bad"]))
    assert "model failed" in str(error)
    assert bench.producer.sent == []


async def test_a_flood_of_bad_events_stops_the_worker_and_says_why(bench: Bench) -> None:
    error = await bench.fails(a_chunk([b"bad"] * 1000))
    assert isinstance(error, RejectShareError)
    assert "1000 of the last 1000 events were rejected" in str(error)


async def test_metrics_tell_events_by_source_up_to_a_limit(bench: Bench) -> None:
    values: list[bytes | None] = [
        raw_event(id=f"e{n}", source=f"s{n}") for n in range(MAX_SOURCES + 5)
    ]
    await bench.run(a_chunk(values))
    assert metric(bench.metrics, "gapwatch_events_total", source="s0") == 1
    assert metric(bench.metrics, "gapwatch_events_total", source="other") == 5
    assert metric(bench.metrics, "gapwatch_mentions_total", brand="north") == MAX_SOURCES + 5
