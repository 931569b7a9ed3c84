"""Counting anew: state since a moment is dropped, and workers read the events again from there.

What is left standing needs no care: stamps tell it what it has counted, so that of all that comes
again only what was dropped counts. Of the time that is counted anew nobody is told again: it is
silenced, and what receivers were told is kept.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiokafka import TopicPartition

from pipeline.cluster import Cluster
from pipeline.domain.buckets import SPAN_SECONDS, BucketKey
from pipeline.domain.deliveries import Delivery, merged
from pipeline.domain.silences import new_silence_id
from pipeline.records import Alert, Mention, Silence
from pipeline.topics import changelog_topic

_HOUR: Final = 3600

_CLOCKS_APART: Final = 300.0
"""Seconds by which the clocks of a source, a worker and a broker may differ."""

_mention: Final = msgspec.json.Decoder(Mention).decode
_alert: Final = msgspec.json.Decoder(Alert).decode
_delivery: Final = msgspec.json.Decoder(Delivery).decode
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay would do.

    Attributes:
        since: Hours that begin at or after this are counted anew, epoch seconds; 0 for all.
        offsets: Where workers go on in the events topic.
        events: How many they will read.
    """

    since: int
    offsets: Mapping[TopicPartition, int]
    events: int

    @property
    def moment(self) -> datetime:
        """`since` as a time."""
        return datetime.fromtimestamp(self.since, UTC)


async def plan(cluster: Cluster, since: datetime | None) -> Plan:
    """Work out what a replay would do; changes nothing.

    Args:
        since: From when on to count anew; None for all that the events topic holds.

    Raises:
        BrokerError: There are workers, or the cluster cannot be asked.
    """
    await cluster.require_no_workers()
    settings = cluster.settings
    events = settings.topic("events")
    ahead = settings.intake.max_ahead + _CLOCKS_APART
    held = await cluster.held(events)
    start = int(since.timestamp()) // _HOUR * _HOUR if since else 0
    # An hour is counted anew only if all of its events are kept.
    if any(span.start for span in held.values()):
        first = {tp: span[:1] for tp, span in held.items() if span.start}
        kept = [record.timestamp / 1000 async for record in cluster.records(first)]
        kept.append(time.time() - settings.kafka.retention_hours * _HOUR)
        start = max(start, -(-int(max(kept) + ahead) // _HOUR) * _HOUR)
    offsets = (
        await cluster.at_time(events, start - ahead)
        if start
        else {tp: span.start for tp, span in held.items()}
    )
    for tp, span in (await cluster.waiting(events)).items():
        offsets[tp] = min(offsets[tp], span.start)
    # Mentions that nobody has counted yet are passed over: their events are read again.
    async for record in cluster.records(await cluster.waiting(settings.topic("mentions"))):
        stamp = _mention(record.value).stamp
        tp = TopicPartition(events, stamp.partition)
        if tp in offsets:
            offsets[tp] = max(held[tp].start, min(offsets[tp], stamp.offset))
    return Plan(start, offsets, sum(held[tp].stop - at for tp, at in offsets.items()))


async def replay(
    cluster: Cluster, plan: Plan, *, scores_only: bool, say: Callable[[str], None]
) -> None:
    """Carry out a plan. Made again after a failure, it is as if there had been none.

    Args:
        scores_only: Leave the detector what it has learnt; it judges nothing again.

    Raises:
        BrokerError: It was not done, or not all of it: make it again.
    """
    settings = cluster.settings
    mentions = await cluster.held(settings.topic("mentions"))
    # First, and refused where a worker was started meanwhile: until something is dropped, whatever
    # comes again is known.
    await cluster.commit({**plan.offsets, **{tp: span.stop for tp, span in mentions.items()}})
    dropped = await _drop(cluster, "buckets", lambda key: _begins(key) >= plan.since)
    say(f"{dropped:,} hours and minutes of brands will be counted anew")
    if scores_only:
        return
    await keep_quiet(cluster, plan.moment, "counted anew by a replay")
    await _set_aside(cluster)
    dropped = await _drop(cluster, "series", lambda key: True)
    say(f"{dropped:,} series of the detector will be learnt anew")


async def _drop(cluster: Cluster, table: str, which: Callable[[bytes], bool]) -> int:
    """Delete the values of some keys; returns how many."""
    gone: dict[int, list[tuple[bytes, None]]] = defaultdict(list)
    keys = set()
    for version, record in (await cluster.versions(table)).items():
        key = version.rpartition(b"@")[0]
        if which(key):
            keys.add(key)
            gone[record.partition].append((version, None))
    for partition, versions in gone.items():
        topic = changelog_topic(cluster.settings, table)
        await cluster.producer.send(topic, partition, versions)
    return len(keys)


async def _set_aside(cluster: Cluster) -> None:
    """End the alerts that are open: their incidents are dropped, and perhaps not found again.

    Nobody is told, as most are found again: the records count as taken on.
    """
    topic = cluster.settings.topic("alerts")
    known = await cluster.state("deliveries", _delivery, merged)
    waiting = await cluster.waiting(topic)
    for key, record in (await cluster.latest(topic)).items():
        alert, partition = _alert(record.value), record.partition
        if alert.status == "resolved" or waiting[TopicPartition(topic, partition)]:
            continue
        ended = msgspec.structs.replace(
            alert,
            status="resolved",
            notification=f"{alert.id}.resolved",
            changed="ended by a replay; open again if it is found again",
        )
        (written,) = await cluster.producer.send(topic, partition, [(key, _encode(ended))])
        if key in known[partition]:
            delivery = msgspec.structs.replace(known[partition][key], applied=written.start)
            values = [(key, _encode(delivery))]
            await cluster.write_state("deliveries", partition, values, secrets.token_hex(4))


async def keep_quiet(cluster: Cluster, since: datetime, why: str) -> None:
    """Silence all alerts about the time from a moment until now.

    Events that are counted anew come in another order than they did, if by little: an alert may
    bear another id, and would be news to those who know it already.
    """
    settings = cluster.settings
    silence = Silence(
        id=new_silence_id(), start=since, end=datetime.now(UTC), author="gapwatch", comment=why
    )
    topic = settings.topic("silences")
    record = silence.id.encode(), _encode(silence)
    await cluster.producer.send_keyed(topic, cluster.count(topic), [record])


def _begins(key: bytes) -> int:
    """When a bucket's span begins, epoch seconds."""
    bucket = BucketKey.decode(key)
    return bucket.number * SPAN_SECONDS[bucket.span]
