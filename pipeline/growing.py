"""More partitions for the events topic, with what is known of repeats brought along.

An id is known in the partition that its key leads to. With `n` partitions made `k · n`, an id that
led to partition `p` leads to one of those that leave the remainder `p`, divided by `n`, whatever
the hash: so a new partition is told, before anything is in it, what the one it is split off knows.
Ids that came in another partition are remembered with the offset -1, at which no event ever stands:
they are repeats wherever they come in the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.errors import NoError, for_code

from pipeline.broker import BrokerError
from pipeline.cluster import Cluster
from pipeline.domain.intake import RefusedError, read_record
from pipeline.domain.repeats import Block, fuller, hash_id
from pipeline.topics import changelog_topic

ELSEWHERE: Final = -1
"""The offset of an id that came in another partition."""

_BEFORE: Final = 2**62
"""Taken off the key of a block that is brought along, so that it is older than any of its own."""

_BLOCK_IDS: Final = 10_000
_WRITER: Final = "grown"

_decode: Final = msgspec.json.Decoder(Block).decode
_encode: Final = msgspec.json.Encoder().encode


async def grow(cluster: Cluster, partitions: int, *, say: Callable[[str], None]) -> None:
    """Give the events topic so many partitions. Made again after a failure, it goes on.

    Raises:
        BrokerError: It cannot be done as things are; nothing was changed, or the message says so.
    """
    settings = cluster.settings
    events, changelog = settings.topic("events"), changelog_topic(settings, "repeats")
    before = settings.kafka.of_events
    if partitions % before or partitions == before:
        raise BrokerError(
            f"{events} has {before} partitions: it can be given twice as many, three times and so "
            "on. With any other number ids would change partitions among the old ones"
        )
    for topic in (events, changelog):
        if cluster.count(topic) not in (before, partitions):
            raise BrokerError(
                f"topic {topic} has {cluster.count(topic)} partitions, neither {before} as the "
                f"settings have it nor {partitions}"
            )
    await cluster.require_no_workers()
    await cluster.require_still(events)
    await _enlarge(cluster, changelog, partitions)
    known = await cluster.state("repeats", _decode, fuller)
    for old in range(before):
        blocks = [(int(key) - _BEFORE, block) for key, block in known[old].items()]
        blocks += await _unread(cluster, old)
        brought = [(b"%d" % number, _encode(_elsewhere(block))) for number, block in blocks]
        for new in range(before + old, partitions, before):
            await cluster.write_state("repeats", new, brought, _WRITER)
        say(f"partition {old}: {sum(len(block.offsets) for _, block in blocks):,} ids known")
    # Last: until now it is as it was, and workers refuse a changelog with more partitions.
    await _enlarge(cluster, events, partitions)


async def _enlarge(cluster: Cluster, topic: str, partitions: int) -> None:
    """Give a topic so many partitions, and wait until they have leaders."""
    if cluster.count(topic) < partitions:
        wanted = {topic: NewPartitions(total_count=partitions)}
        response = await cluster.admin.create_partitions(wanted)
        for name, code, message in response.topic_errors:
            if code != NoError.errno:
                raise BrokerError(
                    f"topic {name} cannot be given {partitions} partitions: "
                    f"{message or for_code(code).message}"
                )
    await cluster.settled(topic, partitions)


async def _unread(cluster: Cluster, partition: int) -> list[tuple[int, Block]]:
    """Blocks, with their numbers, of the ids in a partition that no worker has handled yet."""
    settings = cluster.settings
    tp = TopicPartition(settings.topic("events"), partition)
    waiting = (await cluster.waiting(tp.topic))[tp]
    intake = settings.intake
    ids: list[bytes] = []
    async for record in cluster.records({tp: waiting}):
        try:
            event = read_record(
                record, max_ahead=intake.max_ahead, max_bytes=intake.max_event_bytes
            )
        except RefusedError:
            continue
        ids.append(hash_id(event.id))
    parts = [ids[at : at + _BLOCK_IDS] for at in range(0, len(ids), _BLOCK_IDS)]
    return [
        # Numbered on from the end of the log, where no other block is.
        (waiting.stop + number - _BEFORE, Block(time.time(), b"".join(part), [0] * len(part)))
        for number, part in enumerate(parts)
    ]


def _elsewhere(block: Block) -> Block:
    return Block(seen=block.seen, ids=block.ids, offsets=[ELSEWHERE] * len(block.offsets))
