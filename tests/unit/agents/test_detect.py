"""detect: alerts told before state, the same ones however often the worker falls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import pytest

from pipeline.agents.detect import Detect
from pipeline.domain.alerts import State
from pipeline.domain.incident import Case
from pipeline.domain.score_drops import Course
from pipeline.domain.silences import Orders
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError, partition_of
from pipeline.records import (
    Acknowledgement,
    Alert,
    Expectation,
    GapRate,
    Mention,
    Score,
    Silence,
    hour_key,
)
from pipeline.settings import AlertSettings, BrandSettings, Settings
from pipeline.streaming import Chunk
from tests.builders import (
    NOON,
    MemoryProducer,
    MemoryTable,
    a_chunk,
    a_mention,
    an_event,
    at,
    fed,
    metric,
)

ALERTS = "gapwatch.alerts"
EXPECTATIONS = "gapwatch.expectations"

PARTITIONS = 4

SETTINGS = Settings(brands=(BrandSettings(key="north", name="North Bikes"),))


def log_of(
    start: float = 30, minutes: int = 20, per_minute: int = 5, hours_after: int = 4
) -> list[Mention]:
    """Two days of usual talk, then complaints on delivery, then usual talk, some of it late."""
    talk = [(float(m), "none") for m in range(-48 * 60, hours_after * 60, 5)]
    talk += [(float(m), "negative") for m in range(-48 * 60 + 3, hours_after * 60, 60)]
    talk += [(start + n / per_minute, "negative") for n in range(minutes * per_minute)]
    # What is published at n arrives in order but for every fourth, which is a while late.
    arrival = sorted(
        enumerate(talk), key=lambda each: each[1][0] + (70.0 if each[0] % 4 == 3 else 0.0)
    )
    return [
        a_mention(
            stamp=(0, offset),
            gap=gap,
            touchpoint="delivery",
            event=an_event(id=f"e{number}", published=at(minute), text=f"late {number}"),
        )
        for offset, (number, (minute, gap)) in enumerate(arrival)
    ]


LOG = log_of()


def chunks(log: list[Mention], size: int = 40) -> list[Chunk]:
    """A log in chunks."""
    return [chunk_of(log[first : first + size]) for first in range(0, len(log), size)]


def chunk_of(mentions: Iterable[Mention], partition: int = 0) -> Chunk:
    """A chunk of these mentions."""
    return a_chunk([msgspec.json.encode(mention) for mention in mentions], partition=partition)


@dataclass
class Bench:
    """A detect agent and all it touches; `wall` is its clock on the wall."""

    producer: MemoryProducer = field(default_factory=MemoryProducer)
    table: MemoryTable[State] = field(default_factory=lambda: MemoryTable(State))  # type: ignore[arg-type]
    metrics: Metrics = field(default_factory=Metrics)
    wall: float = 0.0
    orders: Orders = field(default_factory=Orders)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    settings: Settings = SETTINGS

    def __post_init__(self) -> None:
        self.agent = Detect(
            self.settings,
            producer=self.producer,  # type: ignore[arg-type]
            metrics=self.metrics,
            partitions=PARTITIONS,
            orders=self.orders,
            ready=self.caught_up.wait,
            wall=lambda: self.wall,
        )
        self.agent.table = self.table  # type: ignore[assignment]
        self.table.journal = self.producer.journal
        self.caught_up.set()

    async def run(self, chunks: Iterable[Chunk]) -> None:
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
        """What another worker makes of the durable state; it goes on sending to the same log."""
        return Bench(self.producer, self.table.restored(), wall=self.wall)

    @property
    def alerts(self) -> list[Alert]:
        """Alerts sent."""
        return self.producer.to(ALERTS, Alert)

    @property
    def story(self) -> tuple[dict[str, Alert], dict[str, Alert]]:
        """What receivers get, the first of each notification, and what log compaction leaves."""
        first = {alert.notification: alert for alert in reversed(self.alerts)}
        return first, {alert.id: alert for alert in self.alerts}


async def through(log: list[Mention]) -> Bench:
    """A bench that was fed the whole log."""
    bench = Bench()
    await bench.run(chunks(log))
    return bench


async def test_an_incident_is_told_from_firing_to_resolved() -> None:
    bench = await through(LOG)
    statuses = list(dict.fromkeys(alert.status for alert in bench.alerts))
    assert statuses == ["firing", "escalated", "resolved"]
    assert {alert.brand_name for alert in bench.alerts} == {"North Bikes"}


async def test_alerts_are_keyed_by_their_id() -> None:
    bench = await through(LOG)
    for topic, partition, key, value in bench.producer.sent:
        if topic != ALERTS:
            continue
        assert value is not None
        assert key == msgspec.json.decode(value, type=Alert).id.encode()
        assert partition == partition_of(key, PARTITIONS)


async def test_alerts_are_told_before_state_is_written() -> None:
    bench = Bench()
    await bench.run([chunk_of(LOG)])
    assert bench.producer.journal[-1] == "state"
    assert set(bench.producer.journal[:-1]) == {ALERTS, EXPECTATIONS}


async def test_of_a_chunk_every_change_is_told_as_it_was_and_of_figures_the_last() -> None:
    one_by_one = Bench()
    await one_by_one.run(chunks(LOG, 1))
    at_once = Bench()
    await at_once.run([chunk_of(LOG)])
    assert at_once.story == one_by_one.story
    assert len(at_once.alerts) == 3

    still_open = Bench()
    await still_open.run([chunk_of(m for m in LOG if m.event.published < at(45))])
    assert [alert.status for alert in still_open.alerts] == ["firing", "escalated", "escalated"]


async def test_an_alert_the_broker_does_not_confirm_is_told_after_the_restart() -> None:
    bench = Bench()
    bench.producer.failing.add(ALERTS)
    assert isinstance(await bench.fails(chunk_of(LOG)), ProduceError)
    assert bench.table.changelog == []

    bench.producer.failing.clear()
    again = bench.restarted()
    await again.run([chunk_of(LOG)])
    whole = Bench()
    await whole.run([chunk_of(LOG)])
    assert again.alerts == whole.alerts


async def test_a_crash_between_alerts_and_state_tells_the_same_alerts_again() -> None:
    bench = Bench()
    bench.table.failing = True
    assert isinstance(await bench.fails(chunk_of(LOG)), ProduceError)
    told = bench.alerts
    assert told

    again = bench.restarted()
    await again.run([chunk_of(LOG)])
    assert again.alerts == told + told


@pytest.mark.parametrize("state_written", [True, False])
async def test_a_restart_at_any_chunk_changes_no_alert(state_written: bool) -> None:
    whole = chunks(LOG)
    expected = (await through(LOG)).story
    first_news = len(chunks([m for m in LOG if m.event.published < at(20)])) - 1
    for crashed in range(first_news, len(whole)):
        bench = Bench()
        for chunk in whole[:crashed]:
            await bench.agent.handle(chunk)
        bench.table.failing = not state_written
        try:
            await bench.agent.handle(whole[crashed])
        except ProduceError:
            assert not state_written
        again = bench.restarted()
        # The chunk was not acknowledged: it comes again.
        for chunk in whole[crashed:]:
            await again.agent.handle(chunk)
        assert again.story == expected


async def test_replaying_everything_tells_nothing_new() -> None:
    bench = await through(LOG)
    again = Bench(table=bench.table.restored())
    await again.run(chunks(LOG))
    assert again.alerts == []


async def test_an_alert_resolves_though_nobody_says_anything_more() -> None:
    bench = Bench(wall=at(60).timestamp())
    await bench.run(chunks([m for m in LOG if m.event.published < at(45)]))
    assert "resolved" not in {alert.status for alert in bench.alerts}
    for _ in range(90):
        bench.wall += 60
        await bench.agent.settle()
    assert bench.alerts[-1].status == "resolved"
    assert all(v.open is None for v in bench.table.restored().of(0).values() if isinstance(v, Case))


async def test_settling_before_anything_was_heard_does_nothing() -> None:
    bench = Bench(wall=at(0).timestamp())
    await bench.agent.settle()
    assert bench.producer.sent == []


async def test_partitions_keep_their_own_time() -> None:
    # Partition 1 is far ahead; what comes late in partition 0 is no older for it.
    bench = Bench()
    ahead = a_mention("south", stamp=(0, 0), minutes=7 * 24 * 60)
    await bench.run([chunk_of([ahead], partition=1), *chunks(LOG)])
    assert bench.story == (await through(LOG)).story


async def test_metrics_count_changes_not_figures() -> None:
    bench = await through(LOG)
    await bench.agent.settle()
    assert len(bench.alerts) > 3
    for status in ("firing", "escalated", "resolved"):
        labels = {"brand": "north", "status": status}
        assert metric(bench.metrics, "gapwatch_alerts_total", **labels) == 1
    spikes = metric(bench.metrics, "gapwatch_spikes_total", brand="north", touchpoint="delivery")
    assert spikes == 1
    assert metric(bench.metrics, "gapwatch_alerts_open", brand="north") == 0


async def test_a_restart_does_not_count_an_open_alert_again() -> None:
    bench = Bench()
    log = [m for m in LOG if m.event.published < at(45)]
    await bench.run(chunks(log)[:-1])
    again = bench.restarted()
    await again.run(chunks(log)[-1:])
    await again.agent.settle()
    assert metric(again.metrics, "gapwatch_alerts_open", brand="north") == 1
    assert metric(again.metrics, "gapwatch_alerts_total", brand="north", status="firing") == 0


async def test_deleted_records_are_skipped() -> None:
    bench = Bench()
    await bench.run([a_chunk([None, msgspec.json.encode(LOG[0])])])
    assert bench.table.of(0)


async def test_nothing_is_judged_before_peoples_orders_are_known() -> None:
    bench = Bench()
    bench.caught_up.clear()
    judging = asyncio.create_task(bench.agent.handle(chunk_of(LOG)))
    await asyncio.sleep(0)
    assert not judging.done()
    assert bench.producer.sent == []
    bench.orders.hear_silence(silence_of_north())
    bench.caught_up.set()
    await judging
    assert {alert.silenced for alert in bench.alerts} == {"s1"}


def silence_of_north() -> Silence:
    return Silence("s1", start=at(-1e5), end=at(1e5), author="Ann", brand="north")


async def test_new_orders_are_told_without_a_mention() -> None:
    bench = Bench(wall=at(45).timestamp())
    await bench.run(chunks([m for m in LOG if m.event.published < at(45)]))
    await bench.agent.settle()
    before = len(bench.alerts)
    bench.orders.hear_silence(silence_of_north())
    bench.orders.hear_acknowledgement(Acknowledgement(bench.alerts[-1].id, "Bo", at(45)))
    await bench.agent.settle()
    await bench.agent.settle()
    told = bench.alerts[before:]
    assert [(alert.silenced, alert.acknowledged) for alert in told] == [("s1", "Bo")]
    again = bench.restarted()
    again.orders = bench.orders
    assert [a.silenced for s in again.table.of(0).values() if isinstance(s, Case) and s.open
            for a in [s.open.alert]] == ["s1"]  # fmt: skip


async def test_of_a_chunk_a_silence_that_ends_is_told_as_it_happened() -> None:
    orders = Orders()
    orders.hear_silence(Silence("s1", at(-1e5), at(40), "Ann", brand="north"))
    bench = Bench(orders=orders)
    await bench.run([chunk_of(LOG)])
    told = [(alert.status, alert.silenced) for alert in bench.alerts]
    assert ("firing", "s1") in told
    assert told[-1] == ("resolved", None)
    assert any(silenced is None for status, silenced in told if status != "resolved")


async def test_alerts_tell_how_the_score_moved() -> None:
    bench = Bench()
    half = [m for m in LOG if m.event.published < at(45)]
    bench.agent.hear(a_score(31.0))
    bench.agent.hear(a_score(-90.0, window="1h"))
    await bench.run([chunk_of(half)])
    bench.agent.hear(a_score(12.0))
    await bench.run([chunk_of(LOG[len(half) :])])
    assert (bench.alerts[0].score_before, bench.alerts[0].score_now) == (31.0, 31.0)
    assert (bench.alerts[-1].score_before, bench.alerts[-1].score_now) == (31.0, 12.0)


async def test_a_fall_of_the_score_is_an_alert_where_it_is_wanted() -> None:
    settings = SETTINGS.model_copy(update={"alerts": AlertSettings(kinds=("score",))})
    bench = Bench(settings=settings)
    talk = [m for m in LOG if m.labels.gap.label == "none"]
    for hour, chunk in enumerate(chunks(talk, len(talk) // 40)):
        bench.agent.hear(a_score(31.0 if hour < 32 else -20.0, as_of=at(60 * hour)))
        await bench.run([chunk])
    assert [alert.status for alert in bench.alerts][:1] == ["firing"]
    assert {alert.kind for alert in bench.alerts} == {"score"}
    assert restored_score(bench) == bench.alerts[-1].score_now


def restored_score(bench: Bench) -> float | None:
    courses = [v for v in bench.table.restored().of(0).values() if isinstance(v, Course)]
    return courses[0].open.score_now if courses[0].open is not None else None


def a_score(value: float, window: str = "24h", as_of: datetime = NOON) -> Score:
    return Score(
        brand="north", window=window, as_of=as_of, score=value, margin=3.0, few=False,
        mentions=100, authors=90, suggestions=0, stages={}, sentiments={}, advocacies={},
        gap=GapRate(100, 0.2, 0.1), gap_by_touchpoint={}, gap_by_team={}, share_of_voice=None,
    )  # fmt: skip


async def test_what_is_expected_is_told_as_each_hour_begins() -> None:
    bench = await through(LOG)
    told = bench.producer.to(EXPECTATIONS, Expectation)
    hours = [each.start for each in told]
    assert hours == sorted(set(hours))
    assert {each.brand for each in told} == {"north"}
    keys = [key for topic, _, key, _ in bench.producer.sent if topic == EXPECTATIONS]
    assert keys == [hour_key(each.brand, each.start) for each in told]
    before = next(each for each in told if each.start == at(0))
    # Usual talk holds a complaint an hour; nobody has complained of prices.
    assert before.below["all"] == pytest.approx(1.0, abs=0.5)
    assert "price" not in before.below
    assert bench.alerts[0].onset > at(0)


async def test_telling_what_is_expected_changes_nothing_else() -> None:
    bench = await through(LOG)
    state = {key: msgspec.json.encode(value) for key, value in bench.table.held[0].items()}
    watch, clock = bench.agent._of(0)
    watch.expectations(int(clock.time // 3600) + 5)
    assert state == {key: msgspec.json.encode(value) for key, value in bench.table.held[0].items()}


async def test_an_alert_tells_its_turns() -> None:
    bench = await through(LOG)
    last = bench.alerts[-1]
    assert [turn.what for turn in last.turns] == ["firing", "escalated", "resolved"]
    assert [turn.at for turn in last.turns] == sorted(turn.at for turn in last.turns)
