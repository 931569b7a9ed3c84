"""Sending: explicit record batches, confirmed, in order, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

MAX_BATCH_BYTES: Final = 768 * 1024
"""Largest record batch, below Kafka's default `max.message.bytes` of 1 MiB."""

MAX_RECORD_BYTES: Final = 128 * 2**20
"""Largest record sent: a dead letter of the largest event that settings allow, escaped."""


class ProduceError(Exception):
    """The broker did not confirm a write."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's default partitioner chooses it (murmur2)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Producer:
    """What a worker sends with: `acks=all`, idempotent where the broker can be.

    A batch is confirmed before the next of the same call leaves, so a failure can cut a sequence
    short but never leaves a hole in it.
    """

    def __init__(self, options: Mapping[str, Any], *, idempotent: bool) -> None:
        self._options = dict(options)
        self._idempotent = idempotent
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=self._idempotent,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect; nothing is pending between calls of `send`."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send(
        self,
        topic: str,
        partition: int,
        records: Iterable[tuple[bytes | None, bytes | None]],
    ) -> list[range]:
        """Send (key, value) records to one partition, in order, and wait for confirmation.

        Returns:
            The offsets they have, batch by batch; negative ones where the broker cannot tell.

        Raises:
            ProduceError: A batch was not confirmed; those before it were, those after not sent.
        """
        assert self._producer is not None, "Producer.start() comes first"
        batch = self._producer.create_batch()
        offsets: list[range] = []
        filled = False
        try:
            for key, value in records:
                if batch.append(key=key, value=value, timestamp=None) is None:
                    offsets.append(await self._deliver(batch, topic, partition))
                    batch = self._producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
                filled = True
            if filled:
                offsets.append(await self._deliver(batch, topic, partition))
        except KafkaError as error:
            raise ProduceError(f"{topic}[{partition}]: not confirmed: {error}") from error
        return offsets

    async def send_keyed(
        self, topic: str, partitions: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> None:
        """Send records to the partitions of their keys, in order within each."""
        by_partition: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
        for key, value in records:
            by_partition.setdefault(partition_of(key, partitions), []).append((key, value))
        for partition, part in by_partition.items():
            await self.send(topic, partition, part)

    async def _deliver(self, batch: Any, topic: str, partition: int) -> range:
        assert self._producer is not None
        batch.close()
        confirmed = await self._producer.send_batch(batch, topic, partition=partition)
        first: int = (await confirmed).offset
        return range(first, first + batch.record_count())
