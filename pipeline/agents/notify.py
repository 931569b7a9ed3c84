"""alerts → receivers: each change of an alert reaches each receiver at least once.

What is owed to whom is state, written down before an alert is acknowledged. So a receiver that is
down delays nobody else, keeps its order, and gets what it missed after a restart too. The id of a
notification never changes over attempts: receivers can drop repeats by it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from random import random
from typing import Final

import msgspec

from pipeline.metrics import Metrics
from pipeline.receivers import Outcome, Receiver
from pipeline.receivers.backoff import delay
from pipeline.records import Alert
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable

_decode: Final = msgspec.json.Decoder(Alert).decode

KEPT_SECONDS: Final = 24 * 3600.0
"""How long a resolved alert's deliveries are remembered."""

log = logging.getLogger("gapwatch")


class Owed(msgspec.Struct, array_like=True):
    """A notification one receiver has yet to get."""

    receiver: str
    alert: Alert
    since: float


class Delivery(msgspec.Struct, array_like=True):
    """What an alert's receivers were promised and are owed.

    Attributes:
        promised: `receiver status` of every notification taken on, delivered or not.
        owed: Those not delivered, oldest first.
        updated: When this last changed, epoch seconds.
    """

    promised: list[str] = msgspec.field(default_factory=list)
    owed: list[Owed] = msgspec.field(default_factory=list)
    updated: float = 0.0


def later(_ours: Delivery, theirs: Delivery) -> Delivery:
    """Of two versions of a delivery, the one written later."""
    return theirs


class Notify:
    """The notify agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        receivers: Mapping[str, Receiver],
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = random,
    ) -> None:
        self._random = random
        self._receivers = receivers
        self._brands = {r.name: frozenset(r.brands) for r in settings.receivers}
        self._expire_seconds = settings.alerts.expire_hours * 3600
        self._metrics = metrics
        self._wall = wall
        self._lock = asyncio.Lock()
        self._wake: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.table: StateTable[Delivery] | None = None

    async def start(self, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        """Begin delivering; one task a receiver.

        Args:
            crash: Stops the worker; called when what was delivered cannot be written down.
        """
        self._wake = {name: asyncio.Event() for name in self._receivers}
        self._tasks = [
            asyncio.create_task(self._guarded(name, crash), name=f"notify-{name}")
            for name in self._receivers
        ]

    async def stop(self) -> None:
        """Stop delivering. What is owed stays owed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def forget_state(self) -> None:
        """State was dropped or restored: look anew at what is owed."""
        for wake in self._wake.values():
            wake.set()

    async def handle(self, chunk: Chunk) -> None:
        """Take on a chunk's alerts; returns when what is owed is durable."""
        assert self.table is not None
        now = self._wall()
        async with self._lock:
            state = self.table.of(chunk.partition)
            changed: set[bytes] = set()
            for record in chunk.records:
                if record.value is None:
                    continue
                alert = _decode(record.value)
                key = alert.id.encode()
                delivery = state.get(key) or Delivery()
                for name in self._receivers:
                    wanted = not self._brands[name] or alert.brand in self._brands[name]
                    promise = f"{name} {alert.status}"
                    if wanted and promise not in delivery.promised:
                        delivery.promised.append(promise)
                        delivery.owed.append(Owed(name, alert, now))
                        delivery.updated = now
                        state[key] = delivery
                        changed.add(key)
            for key, delivery in list(state.items()):
                gone = [o for o in delivery.owed if self._is_orphan(o, now)]
                if gone:
                    delivery.owed = [o for o in delivery.owed if o not in gone]
                    changed.add(key)
                over = any(promise.endswith(" resolved") for promise in delivery.promised)
                if not delivery.owed and over and delivery.updated < now - KEPT_SECONDS:
                    del state[key]
                    changed.add(key)
            await self.table.write(chunk.partition, changed)
        self.forget_state()
        self._show()

    def _is_orphan(self, owed: Owed, now: float) -> bool:
        """Owed to a receiver that was taken out of the settings, long enough ago."""
        return owed.receiver not in self._receivers and owed.since < now - self._expire_seconds

    async def _guarded(self, name: str, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        try:
            await self._deliver(name)
        except Exception as error:
            log.critical("receiver %s: stopping the worker: %s", name, error, exc_info=error)
            await crash(error)

    async def _attempt(self, name: str, alert: Alert) -> Outcome:
        try:
            return await self._receivers[name].send(alert, alert.notification)
        except Exception as error:
            # A receiver's own bug must not cost the alert, nor the other receivers theirs.
            log.exception("receiver %s: failed", name)
            return Outcome("retry", f"failed with {type(error).__name__}")

    async def _deliver(self, name: str) -> None:
        """Deliver what `name` is owed, oldest first, one after another."""
        attempts = 0
        while True:
            self._wake[name].clear()
            found = self._oldest(name)
            if found is None:
                await self._wake[name].wait()
                continue
            partition, key, owed = found
            if owed.since < self._wall() - self._expire_seconds:
                outcome = Outcome("refused", "expired undelivered")
                kind = "expired"
            else:
                outcome = await self._attempt(name, owed.alert)
                kind = outcome.kind
            self._metrics.notifications.labels(name, kind).inc()
            if outcome.kind == "retry":
                attempts += 1
                pause = delay(attempts, random=self._random, retry_after=outcome.retry_after)
                log.warning(
                    "receiver %s: %s not delivered (attempt %d): %s; again in %.1f s",
                    name, owed.alert.notification, attempts, outcome.detail, pause,
                )  # fmt: skip
                await asyncio.sleep(pause)
                continue
            attempts = 0
            if outcome.kind == "refused":
                log.error(
                    "receiver %s: %s given up: %s", name, owed.alert.notification, outcome.detail
                )
            await self._settle(partition, key, owed)

    def _oldest(self, name: str) -> tuple[int, bytes, Owed] | None:
        if self.table is None:
            return None
        mine = [
            (partition, key, owed)
            for partition, state in self.table.held.items()
            for key, delivery in state.items()
            for owed in delivery.owed
            if owed.receiver == name
        ]
        return min(mine, key=lambda item: item[2].since, default=None)

    async def _settle(self, partition: int, key: bytes, owed: Owed) -> None:
        """Write down that `owed` is done, unless its partition went to another worker meanwhile."""
        assert self.table is not None
        async with self._lock:
            delivery = self.table.held.get(partition, {}).get(key)
            if delivery is None or owed not in delivery.owed:
                return
            delivery.owed.remove(owed)
            delivery.updated = self._wall()
            await self.table.write(partition, [key])
        self._show()

    def _show(self) -> None:
        assert self.table is not None
        waiting = dict.fromkeys(self._receivers, 0)
        for state in self.table.held.values():
            for delivery in state.values():
                for owed in delivery.owed:
                    if owed.receiver in waiting:
                        waiting[owed.receiver] += 1
        for name, count in waiting.items():
            self._metrics.notifications_waiting.labels(name).set(count)
