"""Sending events into the events topic, keyed by their id."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.broker import BrokerError
from pipeline.broker.client import client_options
from pipeline.settings import Settings
from pipeline.sources.files import SourceRecord, pace

_IN_FLIGHT: Final = 2000
"""Events sent but not yet confirmed, at most: bounds memory."""


async def send_events(
    settings: Settings,
    records: Iterable[SourceRecord],
    *,
    speed: float | None = None,
    on_sent: Callable[[int], None] = lambda count: None,
) -> int:
    """Send `records`; returns how many were confirmed.

    Args:
        speed: Replay by event time, so many times faster than life; None sends at once.
        on_sent: Told the number sent so far, now and then.

    Raises:
        BrokerError: An event was not confirmed.
    """
    producer = AIOKafkaProducer(
        **client_options(settings.kafka),
        acks="all",
        enable_idempotence=settings.kafka.idempotent,
        linger_ms=5,
        max_request_size=64 * 2**20,
    )
    topic = settings.topic("events")
    waiting: deque[Awaitable[Any]] = deque()
    count = 0
    told = 0.0
    await producer.start()
    try:
        async for record in pace(records, speed=speed, clock=time.monotonic, sleep=asyncio.sleep):
            waiting.append(await producer.send(topic, value=record.value, key=record.key))
            if len(waiting) >= _IN_FLIGHT:
                await waiting.popleft()
            count += 1
            if time.monotonic() - told > 0.1:
                told = time.monotonic()
                on_sent(count)
        while waiting:
            await waiting.popleft()
        on_sent(count)
    except KafkaError as error:
        raise BrokerError(f"{topic}: event {count + 1} was not confirmed: {error}") from error
    finally:
        await producer.stop()
    return count
