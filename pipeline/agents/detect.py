"""mentions → alerts: watch each brand's gap talk, tell when it spikes, and what was expected.

Mentions are judged one by one in log order, so a replay tells the same alerts with the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from pipeline.agents.base import steady_time
from pipeline.domain.alerts import State, Watch, writing_order
from pipeline.domain.clock import StreamClock
from pipeline.domain.erasures import Erasures
from pipeline.domain.lifecycle import Brand, Rules
from pipeline.domain.score_drops import WINDOW
from pipeline.domain.silences import Orders
from pipeline.domain.spikes import Detector
from pipeline.domain.terms import words
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import Alert, Expectation, Mention, Score, hour_key
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable

_decode: Final = msgspec.json.Decoder(Mention).decode
_encode: Final = msgspec.json.Encoder().encode


class Detect:
    """The detect agent.

    Args:
        orders: Silences and acknowledgements, kept current by whoever follows their topics.
        erasures: Authors who are to be forgotten, kept current likewise.
        ready: Returns once these hold what stands in the topics: nothing is judged before.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        producer: Producer,
        metrics: Metrics,
        partitions: int,
        orders: Orders,
        ready: Callable[[], Awaitable[object]],
        erasures: Erasures | None = None,
        wall: Callable[[], float] = steady_time,
    ) -> None:
        alerts = settings.alerts
        self._kinds = frozenset(alerts.kinds)
        self._rules = Rules(
            min_mentions=alerts.min_mentions,
            min_share=alerts.min_share,
            resolve_after_minutes=alerts.resolve_after_minutes,
            cooldown_minutes=alerts.cooldown_minutes,
            max_messages_per_hour=alerts.max_messages_per_hour,
            score_drop=alerts.score_drop,
        )
        # The budget is a brand's: the series of all kinds of spikes share it.
        kinds = len(self._kinds & {"gap", "delight"}) or 1
        self._detector = Detector(
            budget=alerts.false_alarms_per_week / kinds, min_mentions=alerts.min_mentions
        )
        self._topic = settings.topic("alerts")
        self._expectations = settings.topic("expectations")
        self._brands = _brands(settings)
        self._producer = producer
        self._metrics = metrics
        self._partitions = partitions
        self._orders = orders
        self._erasures = erasures or Erasures()
        self._ready = ready
        self._wall = wall
        self._heeded = 0
        self._scores: dict[str, Score] = {}
        self._watches: dict[int, Watch] = {}
        self._clocks: dict[int, StreamClock] = {}
        self._statuses: dict[str, str] = {}
        self._shown: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self.table: StateTable[State] | None = None

    def hear(self, score: Score) -> None:
        """Take note of a published score: alerts tell how it moved."""
        if score.window == WINDOW:
            self._scores[score.brand] = score

    def forget_state(self) -> None:
        """State was dropped or restored: read it anew."""
        self._watches.clear()
        self._clocks.clear()

    async def handle(self, chunk: Chunk) -> None:
        """Judge a chunk's mentions; returns when alerts told and state changed are durable."""
        await self._ready()
        async with self._lock:
            watch, clock = self._of(chunk.partition)
            changed: set[bytes] = set()
            alerts: list[Alert] = []
            expected: list[Expectation] = []
            _gather(watch.forget_authors(), changed, alerts)
            for record in chunk.records:
                if record.value is None:
                    continue
                mention = _decode(record.value)
                before = clock.time
                now = clock.hear(mention.event.published.timestamp(), self._wall())
                if int(before // 60) != int(now // 60):
                    expected += _expectations(watch, before, now)
                    _gather(watch.settle(now), changed, alerts)
                _gather(watch.apply(mention, now), changed, alerts)
            await self._tell(chunk.partition, changed, alerts, expected)

    async def settle(self) -> None:
        """Let time pass for brands nobody mentions, and tell what people's orders change."""
        if self.table is None:
            return
        await self._ready()
        async with self._lock:
            ordered, self._heeded = self._heeded != self._orders.revision, self._orders.revision
            for partition in list(self.table.held):
                watch, clock = self._of(partition)
                before = clock.time
                now = clock.now(self._wall())
                changed: set[bytes] = set()
                alerts: list[Alert] = []
                expected: list[Expectation] = []
                if now and int(before // 60) != int(now // 60):
                    expected = _expectations(watch, before, now)
                    _gather(watch.settle(now), changed, alerts)
                if now and ordered:
                    _gather(watch.heed(now), changed, alerts)
                _gather(watch.forget_authors(), changed, alerts)
                await self._tell(partition, changed, alerts, expected)
            self._show()

    def _of(self, partition: int) -> tuple[Watch, StreamClock]:
        watch = self._watches.get(partition)
        if watch is None:
            assert self.table is not None
            watch = self._watches[partition] = Watch(
                self.table.of(partition),
                self._rules,
                self._detector,
                kinds=self._kinds,
                brands=self._brands,
                orders=self._orders,
                erasures=self._erasures,
                score=self._scores.get,
            )
            self._clocks[partition] = StreamClock()
            self._clocks[partition].start_at(watch.newest())
            self._statuses.update((alert.id, alert.status) for alert in watch.open_alerts())
        return watch, self._clocks[partition]

    async def _tell(
        self,
        partition: int,
        changed: set[bytes],
        alerts: list[Alert],
        expected: list[Expectation],
    ) -> None:
        # Alerts first: were the state first, a crash between the two would lose them.
        told = list(_worth_telling(alerts))
        await self._producer.send_keyed(
            self._topic,
            self._partitions,
            [(alert.id.encode(), _encode(alert)) for alert in told],
        )
        await self._producer.send_keyed(
            self._expectations,
            self._partitions,
            [(hour_key(each.brand, each.start), _encode(each)) for each in expected],
        )
        assert self.table is not None
        await self.table.write(partition, writing_order(changed))
        for alert in told:
            if self._statuses.get(alert.id) == alert.status:
                continue  # new figures of an alert told before
            self._metrics.alerts.labels(alert.brand, alert.status).inc()
            if alert.status == "firing":
                self._metrics.spikes.labels(alert.brand, alert.touchpoint).inc()
            if alert.status == "resolved":
                self._statuses.pop(alert.id, None)
            else:
                self._statuses[alert.id] = alert.status

    def _show(self) -> None:
        count = dict.fromkeys(self._brands, 0)
        for watch in self._watches.values():
            for alert in watch.open_alerts():
                count[alert.brand] = count.get(alert.brand, 0) + 1
        for brand, number in count.items():
            if self._shown.get(brand) != number:
                self._metrics.alerts_open.labels(brand).set(number)
        self._shown = count


def _expectations(watch: Watch, before: float, now: float) -> list[Expectation]:
    """What is expected of the hour that has begun, if one has."""
    hour = int(now // 3600)
    return watch.expectations(hour) if hour != int(before // 3600) else []


def _brands(settings: Settings) -> dict[str, Brand]:
    """What alerts need to know of the brands."""
    rival_of: dict[str, list[str]] = {brand.key: [] for brand in settings.brands}
    for brand in settings.brands:
        for rival in brand.rivals:
            rival_of[rival].append(brand.key)
    return {
        brand.key: Brand(
            name=brand.name,
            words=frozenset(
                word
                for names in (brand.aliases, brand.handles, brand.hashtags, brand.accounts)
                for name in (brand.name, *names)
                for word in words(name.replace("@", " "))
            ),
            rival_of=tuple(rival_of[brand.key]),
        )
        for brand in settings.brands
    }


def _worth_telling(alerts: list[Alert]) -> Iterator[Alert]:
    """Every change of status or silence as it happened, and of mere new figures the last."""
    last = {alert.id: at for at, alert in enumerate(alerts)}
    seen: set[tuple[str, str | None]] = set()
    for at, alert in enumerate(alerts):
        what = alert.notification, alert.silenced
        if what not in seen or last[alert.id] == at:
            seen.add(what)
            yield alert


def _gather(
    outcome: tuple[set[bytes], list[Alert]], changed: set[bytes], alerts: list[Alert]
) -> None:
    changed |= outcome[0]
    alerts += outcome[1]
