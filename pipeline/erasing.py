"""Having an author forgotten: telling the workers, and seeing to it that nothing is left.

Workers take the author's posts out of what they hold and write that down; alerts that are over,
which no worker holds any more, are rewritten here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from pipeline.broker import BrokerError
from pipeline.broker.client import client_options
from pipeline.domain.alerts import State
from pipeline.domain.deliveries import Delivery
from pipeline.domain.erasures import Erasures, author_hash
from pipeline.domain.incident import Case
from pipeline.domain.pseudonyms import Pseudonyms
from pipeline.producer import ProduceError, Producer
from pipeline.records import Alert, Erasure
from pipeline.settings import Settings
from pipeline.snapshot import read_compacted, read_versions

LOOK_EVERY: Final = 1.0
"""Seconds between looks at what is left."""

WORKERS_TAKE: Final = 10.0
"""Seconds after which an open alert that still has the posts is nobody's: a worker would have told
it anew."""

PATIENCE: Final = 60.0
"""Seconds until what is left is left to the workers that are yet to start."""


@dataclass(frozen=True, slots=True)
class Left:
    """What still holds posts of the author.

    Attributes:
        alerts: The alerts, as they stand in their topic.
        state: Values in the agents' changelogs.
    """

    alerts: Sequence[Alert]
    state: int

    def __bool__(self) -> bool:
        return bool(self.alerts or self.state)


def erasure_of(settings: Settings, source: str, author: str, *, by: str) -> Erasure:
    """The record that has an author forgotten from now on.

    Args:
        author: The author's id at the source; the name where the source gives no ids.
    """
    key = settings.privacy.key()
    pseudonym = Pseudonyms(key).of(source, author) if key is not None else None
    return Erasure(
        id=author_hash(source, author),
        at=datetime.now(UTC),
        by=by,
        also=author_hash(source, pseudonym) if pseudonym is not None else None,
    )


async def erase(
    settings: Settings,
    erasure: Erasure,
    *,
    say: Callable[[str], None],
    patience: float = PATIENCE,
) -> Left:
    """Have an author forgotten; returns what is left, which is nothing once all workers know.

    It may be called again at any time: it goes on where it stopped.

    Args:
        say: Told what was done.
        patience: Seconds that workers are given.

    Raises:
        BrokerError: The topics cannot be read or written.
    """
    erasures = Erasures()
    erasures.hear(erasure)
    async with _Writer(settings) as writer:
        await writer.write("erasures", [(erasure.id, erasure)])
        started = time.monotonic()
        while True:
            left = await _left(settings, erasures)
            waited = time.monotonic() - started
            if not left or waited > patience:
                return left
            # Of an open alert this may be no longer how it stands: its worker tells it.
            over = [a for a in left.alerts if a.status == "resolved" or waited > WORKERS_TAKE]
            await writer.write("alerts", [(a.id, erasures.scrubbed(a)) for a in over])
            if over:
                say(f"taken out of {len(over)} {'alert' if len(over) == 1 else 'alerts'}")
            await asyncio.sleep(LOOK_EVERY)


async def _left(settings: Settings, erasures: Erasures) -> Left:
    alerts = await read_compacted(settings, "alerts", Alert)
    kind: Any = State  # a union, which is a type to msgspec
    cases = await read_versions(settings, "series", kind)
    deliveries = await read_versions(settings, "deliveries", Delivery)
    held = [case for case in cases if isinstance(case, Case)]
    return Left(
        alerts=[alert for alert in alerts if erasures.scrubbed(alert) is not alert],
        state=sum(case.forget_authors(erasures, frozenset()) for case in held)
        + sum(delivery.forget_authors(erasures) for delivery in deliveries),
    )


class _Writer:
    """Writes records of ours; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = Producer(
            client_options(settings.kafka), idempotent=settings.kafka.idempotent
        )

    async def write(self, topic: str, records: Sequence[tuple[str, msgspec.Struct]]) -> None:
        """Write records by their keys; returns when the brokers have confirmed them.

        Raises:
            BrokerError: They have not.
        """
        try:
            await self._producer.send_keyed(
                self._settings.topic(topic),
                self._settings.kafka.partitions,
                [(key.encode(), msgspec.json.encode(record)) for key, record in records],
            )
        except ProduceError as error:
            raise BrokerError(str(error)) from error

    async def __aenter__(self) -> _Writer:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
