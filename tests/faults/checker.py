"""What must hold after a run, whatever happened in it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, cast

import msgspec
from aiokafka import ConsumerRecord, TopicPartition

from pipeline.agents.detect import Detect
from pipeline.domain.buckets import Bucket, Totals, further
from pipeline.domain.silences import Orders
from pipeline.metrics import Metrics
from pipeline.producer import Producer
from pipeline.records import Alert, Mention, Rejected
from pipeline.rehearsal import MemoryTable, MemoryTopics
from pipeline.settings import Settings
from pipeline.streaming import Chunk, StateTable
from pipeline.topics import changelog_topic
from tests.faults.expected import Expected, Place, expect
from tests.faults.log import read

SHOWN = 5
"""Problems of a kind that are told."""


@dataclass(frozen=True)
class Sample:
    """Commits at a moment, and what was in the topics that the committed must have reached."""

    commits: dict[TopicPartition, int]
    ends: dict[TopicPartition, int]


@dataclass
class Verdict:
    """What the checker found.

    Attributes:
        problems: What does not hold, in words; empty when all is well.
        lost, double: Mentions missing from the scores' buckets, and counted too often.
        repeated: Mentions that were written more than once, as they may be.
        alerts: Notifications that an undisturbed run tells.
    """

    events: int = 0
    mentions: int = 0
    repeated: int = 0
    alerts: int = 0
    lost: int = 0
    double: int = 0
    problems: list[str] = field(default_factory=list)

    def complain(self, what: str, cases: list[object]) -> None:
        """Take note of cases of a problem, if there are any."""
        if cases:
            shown = ", ".join(str(case) for case in cases[:SHOWN])
            self.problems.append(f"{len(cases)} {what}: {shown}")


async def check(
    settings: Settings,
    samples: list[Sample],
    delivered: list[str],
    *,
    earlier: Collection[str] = (),
    recounted: Mapping[int, int] | None = None,
) -> Verdict:
    """Check a run that has come to rest.

    Args:
        samples: Taken on the way.
        delivered: Ids of the notifications that receivers took.
        earlier: Ids of those that were delivered in another place.
        recounted: Ends of the mentions partitions when all was counted anew with other settings:
            of a mention's records the last is right, and alerts are told by what came after too.
    """
    verdict = Verdict()
    events = await read(settings, settings.topic("events"))
    verdict.events = sum(len(records) for records in events.values())
    expected = expect(settings, events.items())
    mentions = await read(settings, settings.topic("mentions"))
    rejected = await read(settings, settings.topic("rejected"))
    first = _check_mentions(expected, mentions, verdict, recounted=recounted is not None)
    _check_rejected(expected, rejected, verdict)
    _check_commits(settings, first, samples, verdict)
    changelog = await read(settings, changelog_topic(settings, "buckets"))
    check_buckets(expected, changelog, verdict)
    alerts = await read(settings, settings.topic("alerts"))
    await _check_alerts(settings, mentions, alerts, earlier, verdict, recounted)
    _check_delivered(alerts, delivered, earlier, verdict)
    return verdict


def _check_mentions(
    expected: Expected,
    log: dict[int, list[ConsumerRecord]],
    verdict: Verdict,
    *,
    recounted: bool,
) -> dict[tuple[str, Place], tuple[int, int]]:
    """Every mention is there, no other is, repeats are the same and never ahead of a first.

    Returns where each mention was first written: partition and offset of the mentions topic.
    """
    first: dict[tuple[str, Place], tuple[int, int]] = {}
    said: dict[tuple[str, Place], object] = {}
    changed: list[object] = []
    overtaken: list[object] = []
    records = 0
    for partition, written in log.items():
        furthest: dict[int, int] = {}
        for record in written:
            records += 1
            mention = msgspec.json.decode(record.value, type=Mention)
            place = mention.stamp.partition, mention.stamp.offset
            key = mention.brand, place
            content = mention.event, mention.labels, mention.weight
            if key not in first:
                first[key] = partition, record.offset
                said[key] = content
                if place[1] < furthest.get(place[0], -1):
                    overtaken.append((key, f"after offset {furthest[place[0]]}"))
            elif recounted:
                said[key] = content
            elif said[key] != content:
                changed.append(key)
            furthest[place[0]] = max(furthest.get(place[0], -1), place[1])
    verdict.mentions = len(first)
    verdict.repeated = records - len(first)
    verdict.complain("mentions missing", sorted(expected.mentions.keys() - first.keys()))
    verdict.complain("mentions of nothing", sorted(first.keys() - expected.mentions.keys()))
    verdict.complain("mentions written again with other content", changed)
    verdict.complain("mentions overtaken by a later one of their partition", overtaken)
    wrong = [
        key
        for key, content in said.items()
        if (want := expected.mentions.get(key))
        and content != (want.event, want.labels, want.weight)
    ]
    verdict.complain("mentions with other content than recomputed", list(wrong))
    return first


def _check_rejected(
    expected: Expected, log: dict[int, list[ConsumerRecord]], verdict: Verdict
) -> None:
    letters = [
        msgspec.json.decode(record.value, type=Rejected)
        for written in log.values()
        for record in written
    ]
    found = {(letter.partition, letter.offset) for letter in letters}
    verdict.complain("dead letters missing", sorted(expected.rejected - found))
    verdict.complain("dead letters of good events", sorted(found - expected.rejected))


def _check_commits(
    settings: Settings,
    first: dict[tuple[str, Place], tuple[int, int]],
    samples: list[Sample],
    verdict: Verdict,
) -> None:
    """What was committed had left: its mentions stood before the ends seen after the commits."""
    topic = settings.topic("mentions")
    written: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for (_, (partition, offset)), at in first.items():
        written[partition, at[0]].append((offset, at[1]))
    early: list[object] = []
    for (partition, into), places in written.items():
        places.sort()
        # How far into the mentions partition those up to each offset of the events partition reach.
        reach = list(accumulate((at for _, at in places), max))
        for sample in samples:
            committed = sample.commits.get(TopicPartition(settings.topic("events"), partition), 0)
            below = bisect_left(places, (committed, -1))
            if below and reach[below - 1] >= sample.ends.get(TopicPartition(topic, into), 0):
                early.append(f"events {partition} up to {committed}, in mentions {into}")
    verdict.complain("commits before mentions were written", early)


def check_buckets(
    expected: Expected, changelog: dict[int, list[ConsumerRecord]], verdict: Verdict
) -> None:
    """The hours' totals, restored from nothing but the topic, are those recomputed."""
    versions: dict[bytes, Bucket] = {}
    for records in changelog.values():
        for record in records:
            if record.value is None:
                versions.pop(record.key, None)
            else:
                versions[record.key] = msgspec.json.decode(record.value, type=Bucket)
    state: dict[bytes, Bucket] = {}
    for version, bucket in versions.items():
        key = version.rpartition(b"@")[0]
        state[key] = further(state[key], bucket) if key in state else bucket
    wrong: list[object] = []
    for (brand, hour), want in expected.hours.items():
        bucket = state.get(f"{brand}|h|{hour}".encode(), Bucket())
        if bucket.totals != want:
            difference = bucket.totals.mentions - want.mentions
            verdict.lost += max(0, -difference)
            verdict.double += max(0, difference)
            wrong.append((brand, hour, f"{bucket.totals.mentions} for {want.mentions}"))
    verdict.complain("hours with other totals than recomputed", wrong)
    hours = {f"{brand}|h|{hour}".encode() for brand, hour in expected.hours}
    verdict.complain(
        "hours counted that have no mentions",
        [
            key
            for key, bucket in state.items()
            if b"|h|" in key and key not in hours and bucket.totals != Totals()
        ],
    )


async def _check_alerts(
    settings: Settings,
    mentions: dict[int, list[ConsumerRecord]],
    log: dict[int, list[ConsumerRecord]],
    earlier: Collection[str],
    verdict: Verdict,
    recounted: Mapping[int, int] | None,
) -> None:
    """Told are the notifications that an undisturbed run over the same mentions tells.

    What time alone brings, the end of an incident, may come later than this recomputation looks.
    """
    if recounted is None:
        expected = await _told_by(settings, mentions)
    else:
        before = {p: [r for r in log if r.offset < recounted[p]] for p, log in mentions.items()}
        after = {p: [r for r in log if r.offset >= recounted[p]] for p, log in mentions.items()}
        expected = await _told_by(settings, before) | await _told_by(settings, after)
    told = {alert.notification for alert in _alerts(log)}
    verdict.alerts = len(expected)
    verdict.complain("notifications that must be told and were not", sorted(expected - told))
    ids = {notification.rpartition(".")[0] for notification in expected}
    extra = {
        notification
        for notification in told - expected - set(earlier)
        if not notification.endswith(".resolved") or notification.rpartition(".")[0] not in ids
    }
    verdict.complain("notifications that must not be told", sorted(extra))


async def _told_by(settings: Settings, mentions: Mapping[int, list[ConsumerRecord]]) -> set[str]:
    """Notifications that an undisturbed run over these mentions tells."""
    topics = MemoryTopics()

    async def at_once() -> None:
        """Nobody silences anything here."""

    detect = Detect(
        settings,
        producer=cast(Producer, topics),
        metrics=Metrics(),
        partitions=1,
        orders=Orders(),
        ready=at_once,
    )
    detect.table = cast("StateTable[Any]", MemoryTable())
    for partition, records in mentions.items():
        for at in range(0, len(records), 100):
            await detect.handle(Chunk("mentions", partition, records[at : at + 100]))
    return {
        msgspec.json.decode(value, type=Alert).notification
        for _, value in topics.take(settings.topic("alerts"))
        if value is not None
    }


def _alerts(log: dict[int, list[ConsumerRecord]]) -> list[Alert]:
    return [
        msgspec.json.decode(record.value, type=Alert)
        for written in log.values()
        for record in written
        if record.value is not None
    ]


def _check_delivered(
    log: dict[int, list[ConsumerRecord]],
    delivered: list[str],
    earlier: Collection[str],
    verdict: Verdict,
) -> None:
    alerts = _alerts(log)
    told = {alert.notification for alert in alerts}
    spoken = {alert.notification for alert in alerts if alert.silenced is None}
    verdict.complain("notifications never delivered", sorted(spoken - {*delivered, *earlier}))
    verdict.complain("notifications of no alert", sorted(set(delivered) - told))
    verdict.complain(
        "notifications delivered more than 5 times",
        [(id_, n) for id_, n in Counter(delivered).items() if n > 5],
    )
