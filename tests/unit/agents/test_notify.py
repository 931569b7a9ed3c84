"""notify: every change of an alert reaches every receiver, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from pipeline.agents.notify import KEPT_SECONDS, Notify
from pipeline.domain.deliveries import Delivery, merged
from pipeline.metrics import Metrics
from pipeline.producer import ProduceError
from pipeline.receivers import Notice, Outcome, Rate
from pipeline.records import Alert
from pipeline.settings import AlertSettings, BrandSettings, Settings
from pipeline.streaming import Chunk
from tests.builders import NOON, MemoryTable, a_chunk, an_alert, at, fed, metric, until

HOUR = 3600.0

DELIVERED = Outcome("delivered", "200")
LATER = Outcome("retry", "503")
NEVER = Outcome("refused", "400")
GONE = Outcome("gone", "410")

FAST = Rate(per_second=1e6, burst=1000)


class FakeReceiver:
    """Notes every attempt and answers as told; while `down` it does not answer."""

    def __init__(
        self,
        *answers: Outcome,
        down: bool = False,
        refreshes: bool = False,
        folds: bool = False,
        rate: Rate = FAST,
    ) -> None:
        self.rate = rate
        self.refreshes = refreshes
        self.folds = folds
        self.answers = list(answers)
        self.up = asyncio.Event()
        if not down:
            self.up.set()
        self.notices: list[Notice] = []

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        self.notices.append(notice)
        await self.up.wait()
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else DELIVERED

    async def close(self) -> None:
        """As `Receiver.close`."""

    @property
    def attempts(self) -> list[tuple[str, Alert]]:
        """Id and alert of the attempts, in order."""
        return [(notice.notification, notice.alert) for notice in self.notices]

    @property
    def notifications(self) -> list[str]:
        """Ids of the attempts, in order."""
        return [notice.notification for notice in self.notices]


@dataclass
class Bench:
    """A notify agent and all it touches; `routes` says who wants to hear only of some."""

    receivers: dict[str, FakeReceiver]
    routes: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    table: MemoryTable[Delivery] = field(default_factory=lambda: MemoryTable(Delivery))
    metrics: Metrics = field(default_factory=Metrics)
    crashes: list[BaseException] = field(default_factory=list)
    wall: float = NOON.timestamp()
    offset: int = 0

    def __post_init__(self) -> None:
        settings = Settings(
            brands=tuple(BrandSettings(key=key, name=key) for key in ("north", "south")),
            receivers=tuple(
                {"name": name, "kind": "webhook", "url": "https://chat.example"}
                | self.routes.get(name, {})
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
        """Take on alerts, all in one chunk behind those before, through Faust."""
        async with fed(self.agent.handle) as agent:
            chunk = chunk_of(*alerts, partition=partition, first=self.offset)
            self.offset += len(alerts)
            assert await agent.put(chunk)

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
            (owed.receiver, owed.notification)
            for state in self.table.held.values()
            for delivery in state.values()
            for owed in delivery.owed
        ]

    def restarted(self, **receivers: FakeReceiver) -> Bench:
        """What another worker, with these receivers, makes of the durable state."""
        return Bench(
            receivers, self.routes, self.table.restored(), wall=self.wall, offset=self.offset
        )


def chunk_of(*alerts: Alert, partition: int = 0, first: int = 0) -> Chunk:
    """A chunk of these alerts."""
    values = [msgspec.json.encode(alert) for alert in alerts]
    return a_chunk(values, partition=partition, first=first)


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


async def test_who_was_told_what_and_when_is_remembered() -> None:
    bench = Bench({"chat": FakeReceiver(), "pager": FakeReceiver()})
    await bench.take(FIRING)
    await bench.deliver_all()
    bench.wall += 60
    await bench.take(RESOLVED)
    await bench.deliver_all()
    delivery = bench.table.held[0][FIRING.id.encode()]
    assert delivery.alert == FIRING.id
    assert sorted((done.receiver, done.notification, done.at) for done in delivery.done) == [
        ("chat", FIRING.notification, bench.wall - 60),
        ("chat", RESOLVED.notification, bench.wall),
        ("pager", FIRING.notification, bench.wall - 60),
        ("pager", RESOLVED.notification, bench.wall),
    ]


async def test_new_figures_of_a_told_status_are_no_news() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING, an_alert(seen=50, updated=at(9)))
    await bench.deliver_all()
    await bench.take(an_alert(seen=70, updated=at(20)))
    assert bench.owed == []
    assert bench.receivers["chat"].attempts == [(FIRING.notification, FIRING)]


async def test_a_replayed_chunk_owes_nothing_twice() -> None:
    bench = Bench({"chat": FakeReceiver()})
    silenced = an_alert(silenced="s1")
    for replay in (False, True):
        bench.offset = 0
        await bench.take(FIRING)
        if not replay:
            await bench.deliver_all()
        await bench.take(silenced)
        assert [each for _, each in bench.owed] == [f"{FIRING.id}.silenced.s1"]
    await bench.deliver_all()
    again = bench.restarted(chat=FakeReceiver())
    again.offset = 0
    await again.take(FIRING, silenced)
    assert again.owed == []


async def test_a_receiver_hears_of_its_brands_only() -> None:
    bench = Bench(
        {"all": FakeReceiver(), "south": FakeReceiver()}, {"south": {"brands": ("south",)}}
    )
    await bench.take(an_alert("north"), an_alert("south"))
    await bench.deliver_all()
    assert len(bench.receivers["all"].attempts) == 2
    assert [alert.brand for _, alert in bench.receivers["south"].attempts] == ["south"]


async def test_an_alert_nobody_wants_leaves_no_trace() -> None:
    bench = Bench({"south": FakeReceiver()}, {"south": {"brands": ("south",)}})
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
        for offset in range(60):
            await bench.agent.handle(chunk_of(FIRING, first=offset))
            await until(lambda: not bench.owed)
            bench.wall += HOUR
    assert bench.receivers["chat"].notifications == [FIRING.notification]


async def test_a_receiver_that_breaks_is_tried_again() -> None:
    class Breaking(FakeReceiver):
        async def send(self, notice: Notice) -> Outcome:
            outcome = await super().send(notice)
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


EDITING = {"refreshes": True, "folds": True}


async def test_a_receiver_that_edits_is_told_new_figures_quietly_with_its_handle() -> None:
    bench = Bench({"chat": FakeReceiver(Outcome("delivered", "200", handle="m1"), **EDITING)})
    await bench.take(FIRING)
    await bench.deliver_all()
    again = bench.restarted(chat=FakeReceiver(**EDITING))
    await again.take(an_alert(seen=20, updated=at(6)), an_alert(seen=30, updated=at(7)))
    assert len(again.owed) == 1  # the latest figures only
    await again.deliver_all()
    await again.take(ESCALATED)
    await again.deliver_all()
    assert [(n.alert.seen, n.handle, n.quiet, n.told) for n in again.receivers["chat"].notices] == [
        (30, "m1", True, True),
        (12, "m1", False, True),
    ]


async def test_news_supersedes_what_waits_to_be_told_quietly() -> None:
    bench = Bench({"chat": FakeReceiver(**EDITING)})
    await bench.take(FIRING)
    await bench.deliver_all()
    await bench.take(an_alert(seen=20, updated=at(6)), RESOLVED)
    assert bench.owed == [("chat", RESOLVED.notification)]


async def test_of_what_waits_for_one_that_folds_the_last_says_all() -> None:
    bench = Bench({"chat": FakeReceiver(LATER, folds=True), "log": FakeReceiver(LATER)})
    await bench.take(FIRING, ESCALATED, RESOLVED)
    await bench.deliver_all()
    assert bench.receivers["chat"].notifications == [RESOLVED.notification] * 2
    assert not bench.receivers["chat"].notices[-1].told
    assert bench.receivers["log"].notifications == [LIFE[0], *LIFE]
    folded = {"receiver": "chat", "outcome": "folded"}
    assert metric(bench.metrics, "gapwatch_notifications_total", **folded) == 2


async def test_news_that_waits_is_told_as_news_though_figures_wait_behind_it() -> None:
    bench = Bench({"board": FakeReceiver(LATER, **EDITING)})
    await bench.take(FIRING, an_alert(seen=20, updated=at(6)))
    await bench.deliver_all()
    told = [(n.notification, n.quiet) for n in bench.receivers["board"].notices]
    assert told[:2] == [(FIRING.notification, False)] * 2
    assert [quiet for _, quiet in told[2:]] == [True]


async def test_a_replay_tells_nobody_anew_of_what_is_over() -> None:
    bench = Bench({"team": FakeReceiver()})
    life = [an_alert(), an_alert(status="escalated", severity=5), an_alert(status="resolved")]
    await bench.take(*life)
    await bench.deliver_all()
    before = bench.receivers["team"].notifications
    silenced = msgspec.structs.replace(life[0], silenced="s1")
    await bench.take(silenced, *life)
    assert bench.owed == []
    assert bench.receivers["team"].notifications == before


async def test_what_is_resolved_is_told_to_those_who_heard_of_it() -> None:
    bench = Bench({"chat": FakeReceiver()}, {"chat": {"min_severity": 5}})
    await bench.take(FIRING, RESOLVED)
    assert bench.owed == []
    await bench.take(an_alert("south", severity=6), an_alert("south", status="resolved"))
    assert len(bench.owed) == 2


async def test_an_alert_that_grows_severe_enough_is_told_then() -> None:
    bench = Bench({"chat": FakeReceiver()}, {"chat": {"min_severity": 5}})
    await bench.take(an_alert(severity=3))
    assert bench.owed == []
    await bench.take(an_alert(severity=5))
    assert bench.owed == [("chat", FIRING.notification)]


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        ({"touchpoints": ("delivery",)}, True),
        ({"touchpoints": ("price",)}, True),
        ({"touchpoints": ("all",)}, False),
        ({"teams": ("Operations",)}, True),
        ({"teams": ("Marketing",)}, False),
        ({"kinds": ("gap",)}, True),
        ({"kinds": ("rival", "delight")}, False),
    ],
)
async def test_alerts_are_routed(route: dict[str, Any], wanted: bool) -> None:
    bench = Bench({"chat": FakeReceiver()}, {"chat": route})
    await bench.take(an_alert(touchpoints=("delivery", "price")))
    assert bool(bench.owed) is wanted


async def test_a_silenced_alert_is_not_told_until_the_silence_is_over() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(an_alert(silenced="s1"), an_alert(status="escalated", silenced="s1"))
    assert bench.table.of(0) == {}
    await bench.take(ESCALATED)
    assert bench.owed == [("chat", ESCALATED.notification)]


async def test_a_silence_on_what_was_told_is_told_when_it_begins_and_ends() -> None:
    bench = Bench({"chat": FakeReceiver(), "board": FakeReceiver(**EDITING)})
    await bench.take(FIRING)
    await bench.deliver_all()
    for seen in (20, 30):
        await bench.take(an_alert(silenced="s1", seen=seen))
        await bench.deliver_all()
    await bench.take(an_alert(seen=40))
    await bench.deliver_all()
    told = [(n.notification, n.silence, n.quiet) for n in bench.receivers["chat"].notices]
    assert told == [
        (FIRING.notification, None, False),
        (f"{FIRING.id}.silenced.s1", "begun", False),
        (f"{FIRING.id}.unsilenced.s1", "over", False),
    ]
    assert [n.quiet for n in bench.receivers["board"].notices] == [False, False, True, False]


async def test_what_ends_under_a_silence_goes_quietly_to_those_who_keep_up() -> None:
    bench = Bench({"chat": FakeReceiver(), "board": FakeReceiver(**EDITING)})
    await bench.take(FIRING)
    await bench.deliver_all()
    await bench.take(an_alert(silenced="s1"))
    await bench.deliver_all()
    await bench.take(an_alert(status="resolved", silenced="s1"))
    assert [name for name, _ in bench.owed] == ["board"]
    await bench.deliver_all()
    last = bench.receivers["board"].notices[-1]
    assert (last.alert.status, last.quiet) == ("resolved", True)


async def test_what_is_silenced_before_it_could_be_told_is_not_told() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING, an_alert(silenced="s1"))
    assert bench.owed == []
    await bench.take(FIRING)
    assert bench.owed == [("chat", FIRING.notification)]


@pytest.mark.parametrize("restraint", ["cool-down", "limit"])
async def test_of_our_own_restraint_nothing_is_said(restraint: str) -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING)
    await bench.deliver_all()
    await bench.take(an_alert(status="escalated", silenced=restraint))
    assert bench.owed == []
    await bench.take(ESCALATED)
    assert bench.owed == [("chat", ESCALATED.notification)]


async def test_once_taken_on_figures_alone_are_not_told_even_quietly() -> None:
    bench = Bench({"board": FakeReceiver(**EDITING)})
    await bench.take(FIRING)
    await bench.deliver_all()
    quiet = []
    for changes in (
        {"acknowledged": "mia"},
        {"acknowledged": "mia", "seen": 30},
        {"acknowledged": "mia", "severity": 4},
    ):
        await bench.take(an_alert(**changes))
        quiet.append(bool(bench.owed))
        await bench.deliver_all()
    assert quiet == [True, False, True]
    await bench.take(an_alert(status="escalated", acknowledged="mia", severity=4))
    assert bench.owed == [("board", ESCALATED.notification)]


NIGHT = {"hours": "18:00-20:00"}


async def test_what_comes_outside_the_hours_waits_for_them_without_expiring() -> None:
    bench = Bench({"chat": FakeReceiver(folds=True)}, {"chat": {"hours": "mon 18:00-20:00"}})
    bench.wall += 9 * HOUR  # Monday, 21:00
    await bench.take(FIRING)
    async with bench.delivering():
        await asyncio.sleep(0)
        assert bench.receivers["chat"].notices == []
        bench.wall += (6 * 24 + 22) * HOUR  # the next Monday, 19:00
        bench.agent.forget_state()
        await until(lambda: not bench.owed)
    assert bench.receivers["chat"].notifications == [FIRING.notification]


async def test_what_is_urgent_does_not_wait_for_the_hours() -> None:
    route = NIGHT | {"outside_hours": "urgent", "urgent_severity": 8}
    bench = Bench({"chat": FakeReceiver()}, {"chat": route})
    await bench.take(an_alert(severity=3), an_alert("south", severity=9))
    async with bench.delivering():
        await until(lambda: len(bench.owed) == 1)
    assert [alert.brand for _, alert in bench.receivers["chat"].attempts] == ["south"]


async def test_what_is_dropped_outside_the_hours_is_told_if_it_lasts_into_them() -> None:
    bench = Bench({"chat": FakeReceiver()}, {"chat": NIGHT | {"outside_hours": "drop"}})
    await bench.take(FIRING)
    await bench.take(an_alert("south"), an_alert("south", status="resolved"))
    assert bench.owed == []
    bench.wall += 6 * HOUR
    await bench.take(an_alert(seen=30))
    assert bench.owed == [("chat", FIRING.notification)]


async def test_a_receiver_that_is_gone_is_left_alone_and_what_it_is_owed_is_kept() -> None:
    bench = Bench({"chat": FakeReceiver(GONE), "pager": FakeReceiver()})
    await bench.take(FIRING)
    async with bench.delivering():
        await until(lambda: [name for name, _ in bench.owed] == ["chat"])
        await bench.take(RESOLVED)
        await until(lambda: [name for name, _ in bench.owed] == ["chat"] * 2)
    assert bench.receivers["chat"].notifications == [FIRING.notification]
    assert metric(bench.metrics, "gapwatch_receiver_disabled", receiver="chat") == 1
    assert metric(bench.metrics, "gapwatch_receiver_disabled", receiver="pager") == 0
    (delivery,) = bench.table.restored().of(0).values()
    assert delivery.owed[0].trouble == "410"

    again = bench.restarted(chat=FakeReceiver(), pager=FakeReceiver())
    await again.deliver_all()
    assert again.receivers["chat"].notifications == [FIRING.notification, RESOLVED.notification]


async def test_what_a_gone_receiver_is_owed_expires() -> None:
    bench = Bench({"chat": FakeReceiver(GONE)})
    await bench.take(FIRING)
    async with bench.delivering():
        await until(lambda: metric(bench.metrics, "gapwatch_receiver_disabled", receiver="chat"))
        bench.wall += 25 * HOUR
        bench.agent.forget_state()
        await until(lambda: not bench.owed)
    (delivery,) = bench.table.restored().of(0).values()
    assert [(lost.receiver, lost.why) for lost in delivery.lost] == [
        ("chat", "expired undelivered")
    ]


async def test_why_something_waits_is_written_down() -> None:
    bench = Bench({"chat": FakeReceiver(LATER, LATER, down=True)})
    await bench.take(FIRING)
    async with bench.delivering():
        bench.receivers["chat"].up.set()
        await until(lambda: len(bench.receivers["chat"].notices) >= 2)
    written = [
        msgspec.json.decode(value, type=Delivery).owed[0].trouble
        for _, _, value in bench.table.changelog
        if value is not None and msgspec.json.decode(value, type=Delivery).owed
    ]
    assert written == ["", "503"]  # not once an attempt


async def test_a_receiver_is_not_sent_to_more_often_than_its_service_takes() -> None:
    bench = Bench({"chat": FakeReceiver(rate=Rate(per_second=20, burst=2))})
    await bench.take(FIRING, ESCALATED, RESOLVED, an_alert("south"))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bench.deliver_all()
    assert loop.time() - started >= 2 / 20 - 0.01


async def test_how_long_delivery_took_is_measured() -> None:
    bench = Bench({"chat": FakeReceiver()})
    await bench.take(FIRING)
    bench.wall += 2
    await bench.deliver_all()
    assert metric(bench.metrics, "gapwatch_notification_seconds_sum", receiver="chat") == 2


async def test_of_two_workers_views_of_a_delivery_what_either_has_settled_is_settled() -> None:
    bench = Bench(
        {"chat": FakeReceiver(Outcome("delivered", "", handle="m1")), "log": FakeReceiver()}
    )
    await bench.take(FIRING)
    key = FIRING.id.encode()
    before = bench.table.restored().of(0)[key]
    await bench.deliver_all()
    after = bench.table.restored().of(0)[key]
    await bench.take(RESOLVED)
    newest = bench.table.restored().of(0)[key]
    for one, other in ((before, after), (after, before)):
        both = merged(one, other)
        assert both.owed == []
        assert both.known["chat"].handle == "m1"
    # The worker that settled did not know of the resolution, and the other not of the delivery.
    other = msgspec.structs.replace(newest, owed=[*before.owed, *newest.owed], known=before.known)
    for both in (merged(after, other), merged(other, after)):
        assert {o.notification for o in both.owed} == {RESOLVED.notification}
        assert both.known["chat"].delivered
        assert merged(both, other) == both
