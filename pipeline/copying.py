"""Moving to another cluster, or to other topics: what cannot be worked out again is copied.

That is the events, with their keys and times, and what people said about alerts. Workers of the new
place count them anew: offsets differ there, and so would stamps. What receivers were told and are
owed comes along, and of the time before nobody is told again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from pipeline.broker import BrokerError
from pipeline.broker.client import client_options
from pipeline.cluster import Cluster
from pipeline.domain.deliveries import Delivery, merged
from pipeline.producer import MAX_RECORD_BYTES, partition_of
from pipeline.records import Alert
from pipeline.replaying import keep_quiet
from pipeline.topics import changelog_topic

KEPT: Final = ("erasures", "silences", "acknowledgements", "hours", "alerts")
"""Topics of which the latest record of each key is copied; of alerts, those that are over."""

_IN_FLIGHT: Final = 2000
_WRITER: Final = "copied"

_alert: Final = msgspec.json.Decoder(Alert).decode
_delivery: Final = msgspec.json.Decoder(Delivery).decode
_encode: Final = msgspec.json.Encoder().encode


async def copy(old: Cluster, new: Cluster, *, say: Callable[[str], None]) -> int:
    """Copy everything a new place needs; returns how many events.

    Raises:
        BrokerError: There are workers, events are coming in, or the new place has events.
    """
    source, target = old.settings.topic("events"), new.settings.topic("events")
    for cluster in (old, new):
        await cluster.require_no_workers()
    used = await new.held(target, changelog_topic(new.settings, "buckets"))
    if any(span.stop for span in used.values()):
        raise BrokerError(
            f"{new.settings.kafka.bootstrap_servers} has events in {target} already, or state of "
            f"the group {new.settings.group}: beside them some could be counted twice. Give the "
            "new place a kafka.topic_prefix and a group of its own"
        )
    spans = await old.require_still(source)
    say(f"{await _copy_deliveries(old, new):,} alerts that receivers know of")
    await keep_quiet(new, datetime.fromtimestamp(0, UTC), "copied from another place")
    for topic in KEPT:
        say(f"{await _copy_latest(old, new, topic):,} {topic}")
    same = old.count(source) == new.count(target)
    producer = AIOKafkaProducer(
        **client_options(new.settings.kafka),
        acks="all",
        enable_idempotence=new.settings.kafka.idempotent,
        linger_ms=5,
        max_request_size=MAX_RECORD_BYTES,
    )
    await producer.start()
    try:
        copied = 0
        waiting: deque[Awaitable[Any]] = deque()
        async for record in old.records(spans):
            waiting.append(
                await producer.send(
                    target,
                    value=record.value,
                    key=record.key,
                    # Where it was: whoever sends events may choose partitions in another way.
                    partition=record.partition if same else None,
                    timestamp_ms=record.timestamp,
                    headers=list(record.headers),
                )
            )
            copied += 1
            if len(waiting) >= _IN_FLIGHT:
                await waiting.popleft()
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return copied


async def _copy_latest(old: Cluster, new: Cluster, topic: str) -> int:
    latest = await old.latest(old.settings.topic(topic))
    records = [
        (key, record.value)
        for key, record in latest.items()
        # An alert that is open is told by the new place, if it is one there.
        if topic != "alerts" or _alert(record.value).status == "resolved"
    ]
    target = new.settings.topic(topic)
    await new.producer.send_keyed(target, new.count(target), records)
    return len(records)


async def _copy_deliveries(old: Cluster, new: Cluster) -> int:
    """What receivers were told and are owed."""
    by_partition: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    for state in (await old.state("deliveries", _delivery, merged)).values():
        for key, delivery in state.items():
            partition = partition_of(key, new.count(new.settings.topic("alerts")))
            # Records of the new alerts topic are all news.
            fresh = msgspec.structs.replace(delivery, applied=-1)
            by_partition[partition].append((key, _encode(fresh)))
    for partition, values in by_partition.items():
        await new.write_state("deliveries", partition, values, _WRITER)
    return sum(len(values) for values in by_partition.values())
