"""mentions → alerts: watch each brand's negative-gap talk, tell when it spikes.

Mentions are judged one by one in log order, so a replay tells the same alerts with the same ids.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from pipeline.domain.alerts import Rules, Series, Watch
from pipeline.domain.clock import StreamClock
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import Alert, Mention
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable

_decode: Final = msgspec.json.Decoder(Mention).decode
_encode: Final = msgspec.json.Encoder().encode


class Detect:
    """The detect agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        producer: Producer,
        metrics: Metrics,
        partitions: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        alerts = settings.alerts
        self._rules = Rules(
            window_minutes=alerts.window_minutes,
            min_mentions=alerts.min_mentions,
            min_share=alerts.min_share,
            probability=alerts.probability,
            resolve_after_minutes=alerts.resolve_after_minutes,
        )
        self._topic = settings.topic("alerts")
        self._names = {brand.key: brand.name for brand in settings.brands}
        self._producer = producer
        self._metrics = metrics
        self._partitions = partitions
        self._wall = wall
        self._watches: dict[int, Watch] = {}
        self._clocks: dict[int, StreamClock] = {}
        self._statuses: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self.table: StateTable[Series] | None = None

    def forget_state(self) -> None:
        """State was dropped or restored: read it anew."""
        self._watches.clear()
        self._clocks.clear()

    async def handle(self, chunk: Chunk) -> None:
        """Judge a chunk's mentions; returns when alerts told and series changed are durable."""
        async with self._lock:
            watch, clock = self._of(chunk.partition)
            changed: set[bytes] = set()
            alerts: list[Alert] = []
            for record in chunk.records:
                if record.value is None:
                    continue
                mention = _decode(record.value)
                before = clock.time
                now = clock.hear(mention.event.published.timestamp(), self._wall())
                if int(before // 60) != int(now // 60):
                    _gather(watch.settle(now), changed, alerts)
                _gather(watch.apply(mention, now), changed, alerts)
            await self._tell(chunk.partition, changed, alerts)

    async def settle(self) -> None:
        """Let time pass for brands nobody mentions: their alerts resolve all the same."""
        if self.table is None:
            return
        async with self._lock:
            for partition in list(self.table.held):
                watch, clock = self._of(partition)
                before = clock.time
                now = clock.now(self._wall())
                if now and int(before // 60) != int(now // 60):
                    changed: set[bytes] = set()
                    alerts: list[Alert] = []
                    _gather(watch.settle(now), changed, alerts)
                    await self._tell(partition, changed, alerts)
            self._show()

    def _of(self, partition: int) -> tuple[Watch, StreamClock]:
        watch = self._watches.get(partition)
        if watch is None:
            assert self.table is not None
            state = self.table.of(partition)
            watch = self._watches[partition] = Watch(state, self._rules, self._names)
            self._clocks[partition] = StreamClock()
            self._clocks[partition].start_at(watch.newest())
            self._statuses.update((alert.id, alert.status) for alert in watch.open_alerts())
        return watch, self._clocks[partition]

    async def _tell(self, partition: int, changed: set[bytes], alerts: list[Alert]) -> None:
        # Alerts first: were the state first, a crash between the two would lose them.
        told = list(_worth_telling(alerts))
        await self._producer.send_keyed(
            self._topic,
            self._partitions,
            [(alert.id.encode(), _encode(alert)) for alert in told],
        )
        assert self.table is not None
        await self.table.write(partition, changed)
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
        count = dict.fromkeys(self._names, 0)
        for watch in self._watches.values():
            for alert in watch.open_alerts():
                count[alert.brand] = count.get(alert.brand, 0) + 1
        for brand, number in count.items():
            self._metrics.alerts_open.labels(brand).set(number)


def _worth_telling(alerts: list[Alert]) -> Iterator[Alert]:
    """Every change of status as it happened, and of mere new figures the last of an alert."""
    last = {alert.id: at for at, alert in enumerate(alerts)}
    seen: set[str] = set()
    for at, alert in enumerate(alerts):
        if alert.notification not in seen or last[alert.id] == at:
            seen.add(alert.notification)
            yield alert


def _gather(
    outcome: tuple[set[bytes], list[Alert]], changed: set[bytes], alerts: list[Alert]
) -> None:
    changed |= outcome[0]
    alerts += outcome[1]
