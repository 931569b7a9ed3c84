"""notify: every change of an alert reaches every receiver, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from pipeline.agents.notify import KEPT_SECONDS, Delivery, Notify
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError
from pipeline.receivers import Outcome
from pipeline.records import Alert
from pipeline.settings import AlertSettings, BrandSettings, ReceiverSettings, Settings
from pipeline.streaming import Chunk
from tests.builders import NOON, MemoryTable, a_chunk, an_alert, at, fed, metric, until

HOUR = 3600.0

DELIVERED = Outcome("delivered", "200")
LATER = Outcome("retry", "503")
NEVER = Outcome("refused", "400")


class FakeReceiver:
    """Notes every attempt and answers as told; while `down` it does not answer."""

    def __init__(self, *answers: Outcome, down: bool = False) -> None:
        self.answers = list(answers)
        self.up = asyncio.Event()
        if not down:
            self.up.set()
        self.attempts: list[tuple[str, Alert]] = []

    async def send(self, alert: Alert, notification: str) -> Outcome:
        """As `Receiver.send`."""
        self.attempts.append((notification, alert))
        await self.up.wait()
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else DELIVERED

    @property
    def notifications(self) -> list[str]:
        """Ids of the attempts, in order."""
        return [notification for notification, _ in self.attempts]


@dataclass
class Bench:
    """A notify agent and all it touches; `brands` says who wants to hear only of some."""

    receivers: dict[str, FakeReceiver]
    brands: dict[str, tuple[str, ...]] = field(default_factory=lambda: defaultdict(tuple))
    table: MemoryTable[Delivery] = field(default_factory=lambda: MemoryTable(Delivery))
    metrics: Metrics = field(default_factory=Metrics)
    crashes: list[BaseException] = field(default_factory=list)
    wall: float = NOON.timestamp()

    def __post_init__(self) -> None:
        settings = Settings(
            brands=tuple(BrandSettings(key=key, name=key) for key in ("north", "south")),
            receivers=tuple(
                ReceiverSettings(
                    name=name, kind="webhook", url="https://chat.example", brands=self.brands[name]
                )
                for name in self.receivers
            ),
            alerts=AlertSettings(expire_hours=24),
        )
        self.agent = Notify(
            settings,
            receivers=self.receivers,
            metrics=self.metrics,
            wall=lambda: self.wall,
            random=lambda: 0.0,  # the shortest pause: none
        )
        self.agent.table = self.table  # type: ignore[assignment]

    async def take(self, *alerts: Alert, partition: int = 0) -> None:
        """Take on alerts, all in one chunk, through Faust."""
        async with fed(self.agent.handle) as agent:
            assert await agent.put(chunk_of(*alerts, partition=partition))

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        """Deliver meanwhile; what stops the worker is in `crashes`."""

        async def crash(error: BaseException) -> None:
            self.crashes.append(error)

        await self.agent.start(crash)
        try:
            yield
        finally:
            await self.agent.stop()

    async def deliver_all(self) -> None:
        """Deliver until nobody is owed anything."""
        async with self.delivering():
            await until(lambda: not self.owed)

    @property
    def owed(self) -> list[tuple[str, str]]:
        """Receiver and notification of everything owed."""
        return [
            (owed.receiver, owed.alert.notification)
            for state in self.table.held.values()
            for delivery in state.values()
            for owed in delivery.owed
        ]

    def restarted(self, **receivers: FakeReceiver) -> Bench:
        """What another worker, with these receivers, makes of the durable state."""
        return Bench(receivers, self.brands, self.table.restored(), wall=self.wall)


def chunk_of(*alerts: Alert, partition: int = 0) -> Chunk:
    """A chunk of these alerts."""
    return a_chunk([msgspec.json.encode(alert) for alert in alerts], partition=partition)


FIRING, ESCALATED, RESOLVED = (
    an_alert(status=status) for status in ("firing", "escalated", "resolved")
)

LIFE = [alert.notification for alert in (FIRING, ESCALATED, RESOLVED)]


async def test_every_change_reaches_every_receiver_once_in_order() -> None:
    bench = Bench({"chat": FakeReceiver(), "pager": FakeReceiver()})
    await bench.take(FIRING, ESCALATED, RESOLVED)
    await bench.deliver_all()
    assert [each.notifications for each in bench.receivers.values()] == [LIFE, LIFE]


async def test_what_comes_while_delivering_is_delivered() -> None:
    bench = Bench({"chat": FakeReceiver()})
    async with bench.delivering():
        for alert in (FIRING, ESCALATED, RESOLVED):
            await bench.take(alert)
            await until(lambda: not bench.owed)
    assert bench.receivers["chat"].notifications == LIFE


async def test_new_figures_of_a_told_status_are_no_news() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING, an_alert(seen=50, updated=at(9)))
    await bench.deliver_all()
    await bench.take(an_alert(seen=70, updated=at(20)))
    assert bench.owed == []
    assert bench.receivers["chat"].attempts == [(FIRING.notification, FIRING)]


async def test_a_replayed_chunk_owes_nothing_twice() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING)
    await bench.take(FIRING)
    assert len(bench.owed) == 1
    await bench.deliver_all()
    again = bench.restarted(chat=FakeReceiver())
    await again.take(FIRING)
    assert again.owed == []


async def test_a_receiver_hears_of_its_brands_only() -> None:
    bench = Bench(
        {"all": FakeReceiver(), "south": FakeReceiver()}, brands={"all": (), "south": ("south",)}
    )
    await bench.take(an_alert("north"), an_alert("south"))
    await bench.deliver_all()
    assert len(bench.receivers["all"].attempts) == 2
    assert [alert.brand for _, alert in bench.receivers["south"].attempts] == ["south"]


async def test_an_alert_nobody_wants_leaves_no_trace() -> None:
    bench = Bench({"south": FakeReceiver()}, brands={"south": ("south",)})
    await bench.take(an_alert("north"))
    assert bench.table.of(0) == {}


async def test_a_failed_attempt_is_made_again_with_the_same_id() -> None:
    bench = Bench({"chat": FakeReceiver(LATER, LATER, LATER)})
    await bench.take(FIRING, RESOLVED)
    await bench.deliver_all()
    assert bench.receivers["chat"].notifications == [FIRING.notification] * 4 + [
        RESOLVED.notification
    ]
    outcome = {"receiver": "chat", "outcome": "retry"}
    assert metric(bench.metrics, "gapwatch_notifications_total", **outcome) == 3


async def test_a_receiver_that_asks_for_time_is_given_it() -> None:
    bench = Bench({"chat": FakeReceiver(Outcome("retry", "429", retry_after=0.05))})
    await bench.take(FIRING)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bench.deliver_all()
    assert loop.time() - started >= 0.05


async def test_what_is_refused_is_given_up_and_the_next_is_sent() -> None:
    bench = Bench({"chat": FakeReceiver(NEVER)})
    await bench.take(FIRING, RESOLVED)
    await bench.deliver_all()
    assert bench.receivers["chat"].notifications == [FIRING.notification, RESOLVED.notification]


async def test_a_dead_receiver_delays_no_other() -> None:
    bench = Bench({"dead": FakeReceiver(down=True), "chat": FakeReceiver()})
    async with bench.delivering():
        await bench.take(FIRING, ESCALATED)
        await bench.take(RESOLVED)
        await until(lambda: bench.receivers["chat"].notifications == LIFE)
        await until(lambda: [name for name, _ in bench.owed] == ["dead"] * 3)
    assert bench.receivers["dead"].notifications == [FIRING.notification]
    assert metric(bench.metrics, "gapwatch_notifications_waiting", receiver="dead") == 3
    assert metric(bench.metrics, "gapwatch_notifications_waiting", receiver="chat") == 0


async def test_what_is_owed_survives_a_restart() -> None:
    bench = Bench({"dead": FakeReceiver(down=True), "chat": FakeReceiver()})
    async with bench.delivering():
        await bench.take(FIRING, RESOLVED)
        await until(lambda: [name for name, _ in bench.owed] == ["dead"] * 2)

    again = bench.restarted(dead=FakeReceiver(), chat=FakeReceiver())
    await again.deliver_all()
    assert again.receivers["dead"].attempts == [
        (FIRING.notification, FIRING),
        (RESOLVED.notification, RESOLVED),
    ]
    assert again.receivers["chat"].attempts == []
    assert again.restarted(dead=FakeReceiver()).owed == []


async def test_nothing_is_sent_before_it_is_owed_durably() -> None:
    bench = Bench({"chat": FakeReceiver()})
    bench.table.failing = True
    async with fed(bench.agent.handle) as agent:
        assert not await agent.put(chunk_of(FIRING))
        assert isinstance(agent.error, ProduceError)
    assert bench.restarted(chat=FakeReceiver()).owed == []


async def test_what_is_undelivered_for_too_long_is_given_up() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING)
    bench.wall += 24 * HOUR + 1
    await bench.take(RESOLVED)
    await bench.deliver_all()
    assert bench.receivers["chat"].notifications == [RESOLVED.notification]
    outcome = {"receiver": "chat", "outcome": "expired"}
    assert metric(bench.metrics, "gapwatch_notifications_total", **outcome) == 1


async def test_a_receiver_that_left_the_settings_is_owed_for_a_while() -> None:
    bench = Bench({"gone": FakeReceiver(), "chat": FakeReceiver()})
    await bench.take(FIRING)
    again = bench.restarted(chat=FakeReceiver())
    await again.take(an_alert("south"))
    assert ("gone", FIRING.notification) in again.owed
    again.wall += 24 * HOUR + 1
    await again.take(an_alert("south", status="resolved"))
    assert "gone" not in {name for name, _ in again.owed}


async def test_a_resolved_alert_is_forgotten_after_a_day() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING, RESOLVED)
    await bench.deliver_all()
    bench.wall += KEPT_SECONDS + 1
    await bench.take(an_alert("south"))
    assert set(bench.table.of(0)) == {an_alert("south").id.encode()}
    assert bench.table.restored().held == bench.table.held


async def test_an_alert_open_for_days_is_told_once() -> None:
    bench = Bench({"chat": FakeReceiver()})
    async with bench.delivering():
        for _ in range(60):
            await bench.agent.handle(chunk_of(FIRING))
            await until(lambda: not bench.owed)
            bench.wall += HOUR
    assert bench.receivers["chat"].notifications == [FIRING.notification]


async def test_a_receiver_that_breaks_is_tried_again() -> None:
    class Breaking(FakeReceiver):
        async def send(self, alert: Alert, notification: str) -> Outcome:
            outcome = await super().send(alert, notification)
            if len(self.attempts) == 1:
                raise RuntimeError("bug in a receiver")
            return outcome

    def is_delivering() -> bool:
        return any(task.get_name() == "notify-chat" for task in asyncio.all_tasks())

    bench = Bench({"chat": Breaking()})
    await bench.take(FIRING)
    async with bench.delivering():
        await until(lambda: not bench.owed or not is_delivering())
    assert bench.receivers["chat"].notifications == [FIRING.notification] * 2


async def test_a_partition_that_went_to_another_worker_is_left_alone() -> None:
    bench = Bench({"chat": FakeReceiver(down=True)})
    async with bench.delivering():
        await bench.take(FIRING, partition=3)
        await until(lambda: bench.receivers["chat"].attempts)
        written = list(bench.table.changelog)
        bench.table.held.pop(3)
        bench.agent.forget_state()
        bench.receivers["chat"].up.set()
        # What is owed in a partition that is still ours shows that the attempt has ended.
        await bench.take(an_alert("south"), partition=1)
        await until(lambda: not bench.owed)
    assert [change for change in bench.table.changelog if change[0] == 3] == written


async def test_deleted_records_are_skipped() -> None:
    bench = Bench({"chat": FakeReceiver()})
    async with fed(bench.agent.handle) as agent:
        assert await agent.put(a_chunk([None, msgspec.json.encode(FIRING)]))
    assert bench.owed == [("chat", FIRING.notification)]


async def test_a_delivery_that_cannot_be_written_down_stops_the_worker() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING)

    async def refuse(partition: int, keys: object) -> None:
        raise ProduceError("not confirmed")

    bench.table.write = refuse  # type: ignore[assignment]
    async with bench.delivering():
        await until(lambda: bool(bench.crashes))
    assert isinstance(bench.crashes[0], ProduceError)
