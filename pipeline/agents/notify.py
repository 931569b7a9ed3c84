"""alerts → receivers: what changes about an alert reaches each receiver at least once.

What is owed to whom is state, written down before an alert is acknowledged. So a receiver that is
down delays nobody else, keeps its order, and gets what it missed after a restart too. The id of a
notification never changes over attempts: receivers can drop repeats by it.

News is a change of status, or a silence that begins or ends on an alert the receiver knows. Mere
new figures, and what changes under a silence, go quietly to receivers that edit their message or
keep up as machines do, and to no others; once somebody has taken an alert on, figures alone go to
none. Of several notices of one alert that wait for a receiver that `folds`, the last is sent: what
was never told is told with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from random import random
from typing import Final, Literal

import msgspec

from pipeline.domain.deliveries import Delivery, Done, Known, Lost, Owed
from pipeline.domain.erasures import Erasures
from pipeline.metrics import Metrics
from pipeline.receivers import Notice, Outcome, Receiver
from pipeline.receivers.backoff import delay
from pipeline.receivers.rate import Bucket
from pipeline.records import Alert
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable

_decode: Final = msgspec.json.Decoder(Alert).decode

KEPT_SECONDS: Final = 24 * 3600.0
"""How long a resolved alert's deliveries are remembered."""

log = logging.getLogger("gapwatch")


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be done next for a receiver.

    Attributes:
        owed: What is owed of one alert and is done with together, oldest first.
        expired: Whether it has waited for too long.
    """

    partition: int
    key: bytes
    owed: list[Owed]
    expired: bool

    @property
    def last(self) -> Owed:
        """The one that is sent."""
        return self.owed[-1]


class Notify:
    """The notify agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        receivers: Mapping[str, Receiver],
        metrics: Metrics,
        erasures: Erasures | None = None,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = random,
    ) -> None:
        self._random = random
        self._receivers = receivers
        self._settings = {receiver.name: receiver for receiver in settings.receivers}
        self._expire_seconds = settings.alerts.expire_hours * 3600
        self._metrics = metrics
        self._erasures = erasures or Erasures()
        self._erased = 0
        self._wall = wall
        self._lock = asyncio.Lock()
        self._wake: dict[str, asyncio.Event] = {}
        self._gone: set[str] = set()
        self._sending: set[tuple[str, bytes]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.table: StateTable[Delivery] | None = None

    async def start(self, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        """Begin delivering; one task a receiver.

        Args:
            crash: Stops the worker; called when what was delivered cannot be written down.
        """
        for name in self._receivers:
            self._metrics.receiver_disabled.labels(name).set(0)
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
        self._erased = 0
        self._look_again()

    def _look_again(self) -> None:
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
                alert = self._erasures.scrubbed(_decode(record.value))
                key = alert.id.encode()
                delivery = state.get(key) or Delivery(alert=alert.id)
                if record.offset <= delivery.applied:
                    continue
                news = [
                    self._take(name, alert, delivery, now, record.timestamp / 1000)
                    for name in self._receivers
                ]
                if any(news) or (key in state and delivery.over != (alert.status == "resolved")):
                    delivery.applied = record.offset
                    delivery.over = alert.status == "resolved"
                    delivery.updated = now
                    state[key] = delivery
                    changed.add(key)
            changed |= self._tidy(state, now)
            await self.table.write(chunk.partition, changed)
        self._look_again()
        self._show()

    async def forget_authors(self) -> None:
        """Drop the posts of authors who are to be forgotten from what is owed."""
        if self.table is None or self._erased == self._erasures.revision:
            return
        async with self._lock:
            self._erased = self._erasures.revision
            for partition, state in self.table.held.items():
                changed = [
                    key
                    for key, delivery in state.items()
                    if delivery.forget_authors(self._erasures)
                ]
                await self.table.write(partition, changed)

    def _take(self, name: str, alert: Alert, delivery: Delivery, now: float, told: float) -> bool:
        """Owe a receiver what an alert's new state means to it; whether it means anything."""
        receiver, known = self._receivers[name], delivery.known.get(name)
        if f"{name} resolved" in delivery.promised:
            return False  # over for the receiver, and told again by a replay
        if known is None and not self._begins(name, alert, now):
            return False
        change = alert.notification.removeprefix(f"{alert.id}.")
        silence: Literal["begun", "over"] | None = None
        quiet = False
        was, is_now = (
            _by_somebody(each) for each in (known.silenced if known else None, alert.silenced)
        )
        if is_now is not None and known is not None and was is None:
            change, silence = f"silenced.{is_now}", "begun"
        elif alert.silenced is not None:
            quiet = True
        elif f"{name} {change}" in delivery.promised:
            if was is not None:
                change, silence = f"unsilenced.{was}", "over"
            else:
                quiet = True
        if silence == "begun" and not self._has_heard(name, alert, delivery):
            # Silenced before it was told: it is not to be told.
            delivery.forget(name)
            return True
        known = known or Known()
        same = (known.severity, known.acknowledged, known.silenced) == (
            alert.severity, alert.acknowledged, alert.silenced
        )  # fmt: skip
        known.severity, known.acknowledged = alert.severity, alert.acknowledged
        known.silenced = alert.silenced
        if quiet and (not receiver.refreshes or (alert.acknowledged is not None and same)):
            return not same
        # What was to be told quietly of this alert is told by what comes now.
        delivery.owed = [o for o in delivery.owed if not (o.quiet and o.receiver == name)]
        if quiet:
            change += f".{alert.updated.timestamp():.0f}"
        elif f"{name} {change}" not in delivery.promised:
            delivery.promised.append(f"{name} {change}")
        delivery.known[name] = known
        delivery.owed.append(Owed(name, alert, now, f"{alert.id}.{change}", quiet, silence, told))
        return True

    def _begins(self, name: str, alert: Alert, now: float) -> bool:
        """Whether a receiver that has not been told of an alert is to be told."""
        settings = self._settings[name]
        if alert.status == "resolved" or alert.silenced is not None or not settings.wants(alert):
            return False
        return settings.outside_hours != "drop" or settings.opens(now) <= now

    def _has_heard(self, name: str, alert: Alert, delivery: Delivery) -> bool:
        """Whether anything of an alert was delivered, or may be at this moment."""
        known = delivery.known.get(name)
        return (known is not None and known.delivered) or (
            (name, alert.id.encode()) in self._sending
        )

    def _tidy(self, state: MutableMapping[bytes, Delivery], now: float) -> set[bytes]:
        """Drop what nobody waits for any more; returns the keys changed."""
        changed = set()
        for key, delivery in list(state.items()):
            gone = [o for o in delivery.owed if self._is_orphan(o, now)]
            if gone:
                delivery.owed = [o for o in delivery.owed if o not in gone]
                changed.add(key)
            if not delivery.owed and delivery.over and delivery.updated < now - KEPT_SECONDS:
                del state[key]
                changed.add(key)
        return changed

    def _is_orphan(self, owed: Owed, now: float) -> bool:
        """Owed to a receiver that was taken out of the settings, long enough ago."""
        return owed.receiver not in self._receivers and owed.since < now - self._expire_seconds

    async def _guarded(self, name: str, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        try:
            await self._deliver(name)
        except Exception as error:
            log.critical("receiver %s: stopping the worker: %s", name, error, exc_info=error)
            await crash(error)

    async def _deliver(self, name: str) -> None:
        """Deliver what `name` is owed, oldest first, one after another."""
        bucket = Bucket(self._receivers[name].rate, asyncio.get_running_loop().time)
        failures = 0
        while True:
            self._wake[name].clear()
            due = self._next(name)
            if not isinstance(due, _Due):
                await self._rest(name, due)
                continue
            if due.expired:
                await self._settle(due, Outcome("refused", "expired undelivered"), "expired")
                continue
            if pause := bucket.wait():
                # Then look again: what is to be said may have changed.
                await asyncio.sleep(pause)
                continue
            bucket.take()
            outcome = await self._attempt(name, due)
            if outcome.kind == "retry":
                failures += 1
                await self._note(due, outcome)
                pause = delay(failures, random=self._random, retry_after=outcome.retry_after)
                log.warning(
                    "receiver %s: %s not delivered (attempt %d): %s; again in %.1f s",
                    name, due.last.notification, failures, outcome.detail, pause,
                )  # fmt: skip
                await asyncio.sleep(pause)
                continue
            failures = 0
            if outcome.kind == "gone":
                self._gone.add(name)
                self._metrics.receiver_disabled.labels(name).set(1)
                log.error(
                    "receiver %s: is gone (%s): disabled until the worker is started again",
                    name, outcome.detail,
                )  # fmt: skip
                await self._note(due, outcome)
                continue
            await self._settle(due, outcome, outcome.kind)

    async def _rest(self, name: str, until: float | None) -> None:
        """Wait for something new, or for the clock."""
        seconds = None if until is None else max(0.0, until - self._wall())
        try:
            await asyncio.wait_for(self._wake[name].wait(), seconds)
        except TimeoutError:
            return

    async def _attempt(self, name: str, due: _Due) -> Outcome:
        last = due.last
        assert self.table is not None
        known = self.table.held[due.partition][due.key].known.get(name) or Known()
        notice = Notice(
            self._erasures.scrubbed(last.alert),
            last.notification,
            told=known.delivered,
            handle=known.handle,
            quiet=last.quiet,
            silence=last.silence,
        )
        self._sending.add((name, due.key))
        try:
            outcome = await self._receivers[name].send(notice)
        except Exception as error:
            # A receiver's own bug must not cost the alert, nor the other receivers theirs. What it
            # was doing, secrets included, is in the exception: its kind and place must do.
            place = _place(error)
            log.error("receiver %s: failed with %s at %s", name, type(error).__name__, place)
            outcome = Outcome("retry", f"failed with {type(error).__name__}")
        finally:
            self._sending.discard((name, due.key))
        if outcome.kind in ("retry", "gone"):
            self._metrics.notifications.labels(name, outcome.kind).inc()
        return outcome

    def _next(self, name: str) -> _Due | float | None:
        """What is to be done now, else when there will be something, else nothing.

        News comes before what is told quietly, and what was taken on first before what came later.
        """
        now = self._wall()
        best: tuple[tuple[bool, float], _Due] | None = None
        later: list[float] = []
        for partition, key, owed in self._queue(name):
            due, at = self._judge(name, partition, key, owed, now)
            if due is None:
                later.append(at)
                continue
            order = (not due.expired and due.last.quiet, owed[0].since)
            if best is None or order < best[0]:
                best = order, due
        if best is not None:
            return best[1]
        return min(later, default=None)

    def _queue(self, name: str) -> Iterator[tuple[int, bytes, list[Owed]]]:
        """What a receiver is owed, alert by alert."""
        if self.table is None:
            return
        for partition, state in self.table.held.items():
            for key, delivery in state.items():
                if owed := delivery.owed_to(name):
                    yield partition, key, owed

    def _judge(
        self, name: str, partition: int, key: bytes, owed: list[Owed], now: float
    ) -> tuple[_Due | None, float]:
        """What is to be done for one alert, and, if nothing now, when."""
        settings, head = self._settings[name], owed[0]
        urgent = settings.is_urgent(owed[-1].alert)
        # What was held for the night has not been waiting for the receiver.
        waiting_since = head.since if urgent else settings.opens(head.since)
        expires = waiting_since + self._expire_seconds
        if now > expires:
            return _Due(partition, key, owed[:1], expired=True), now
        if name in self._gone:
            return None, expires
        opens = now if urgent else settings.opens(now)
        if opens > now:
            return None, opens
        # News is told by the last of it; new figures that wait behind go after it, quietly.
        news = max((place for place, each in enumerate(owed) if not each.quiet), default=0)
        together = owed[: news + 1] if self._receivers[name].folds else owed[:1]
        return _Due(partition, key, together, expired=False), now

    def _mine(self, due: _Due) -> Delivery | None:
        """The delivery a due item is part of; None if its partition is another worker's by now."""
        assert self.table is not None
        state = self.table.held.get(due.partition)
        delivery: Delivery | None = state.get(due.key) if state is not None else None
        # By identity: state restored meanwhile is another worker's view of it.
        return delivery if delivery and any(o is due.last for o in delivery.owed) else None

    async def _note(self, due: _Due, outcome: Outcome) -> None:
        """Write down why something is not delivered yet."""
        assert self.table is not None
        async with self._lock:
            if self._mine(due) is None or due.last.trouble == outcome.detail:
                return
            due.last.trouble = outcome.detail
            await self.table.write(due.partition, [due.key])

    async def _settle(self, due: _Due, outcome: Outcome, kind: str) -> None:
        """Write down that what was due is done, unless it went to another worker meanwhile."""
        assert self.table is not None
        name, now = due.last.receiver, self._wall()
        self._metrics.notifications.labels(name, kind).inc()
        if outcome.kind == "refused":
            log.error("receiver %s: %s given up: %s", name, due.last.notification, outcome.detail)
        else:
            self._metrics.notifications.labels(name, "folded").inc(len(due.owed) - 1)
            self._metrics.notification_seconds.labels(name).observe(max(0.0, now - due.last.told))
        async with self._lock:
            delivery = self._mine(due)
            if delivery is None:
                return
            delivery.owed = [o for o in delivery.owed if not any(o is done for done in due.owed)]
            delivery.updated = now
            if outcome.kind == "delivered":
                known = delivery.known.setdefault(name, Known())
                known.delivered = True
                known.handle = outcome.handle or known.handle
                if not due.last.quiet:
                    delivery.done.append(Done(name, due.last.notification, now))
            elif not due.last.quiet:
                delivery.lost.append(Lost(name, due.last.notification, now, outcome.detail))
            await self.table.write(due.partition, [due.key])
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


def _by_somebody(silenced: str | None) -> str | None:
    """The silence, if somebody asked for it: of our own restraint nothing is said."""
    return None if silenced in ("cool-down", "limit") else silenced


def _place(error: BaseException) -> str:
    """Where an exception was raised: module and line, and nothing of what it says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "nowhere"
