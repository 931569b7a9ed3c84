"""The topics: what each is like, creating what is missing, saying what is there.

Topics are created here and never by being named: a topic that a broker made up would have the
broker's partition count, and state would be looked for in partitions where it is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from pipeline.broker import BrokerAwayError, BrokerError
from pipeline.broker.client import client_options, is_momentary
from pipeline.domain.buckets import HOURS_KEPT
from pipeline.settings import Settings

CHANGELOGS: Final[dict[str, str]] = {
    "buckets": "mentions",
    "series": "mentions",
    "repeats": "events",
    "deliveries": "alerts",
}
"""Faust table to the topic it is fed from: partition n of the one is kept with n of the other."""

_ENVELOPE: Final = 64 * 1024
"""What Gapwatch adds to an event, in bytes, with room to spare: keys, labels, reasons."""

_KAFKA_DEFAULT_MAX: Final = 1024 * 1024
_HOUR_MS: Final = 3_600_000
_REQUEST_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be.

    Attributes:
        name: Full name.
        config: Topic configuration, in Kafka's names and notation.
        with_topics: Full names of topics that must have as many partitions as this one.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    with_topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is.

    Attributes:
        partitions, replication: 0 where it does not exist.
        config: Its values for what its `TopicSpec` configures; None where they cannot be read.
    """

    name: str
    exists: bool
    partitions: int = 0
    replication: int = 0
    config: Mapping[str, str] | None = field(default=None)


def changelog_topic(settings: Settings, table: str) -> str:
    """Full name of the topic that holds a Faust table; Faust makes it of the app's id."""
    return f"{settings.group}-{table}-changelog"


def partitions_of(settings: Settings, topic: str) -> int:
    """Partitions of one of our topics (without prefix), or of a table's changelog."""
    kafka = settings.kafka
    return kafka.of_events if CHANGELOGS.get(topic, topic) == "events" else kafka.partitions


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic Gapwatch uses, sources before the changelogs that go with them."""
    kafka = settings.kafka
    event = settings.intake.max_event_bytes
    # A dead letter holds the event as a JSON string, where a control character takes six bytes.
    largest = {"events": event, "mentions": event, "rejected": 6 * event}
    configs = {
        name: _kept_for(kafka.retention_hours, max(_KAFKA_DEFAULT_MAX, size + _ENVELOPE))
        for name, size in largest.items()
    }
    configs |= dict.fromkeys(
        ("scores", "alerts", "silences", "acknowledgements", "erasures"), _COMPACTED
    )
    configs |= dict.fromkeys(("hours", "expectations"), _HISTORY)
    names = {topic: settings.topic(topic) for topic in configs}
    names |= {table: changelog_topic(settings, table) for table in CHANGELOGS}
    configs |= dict.fromkeys(CHANGELOGS, _COMPACTED)
    durable = {"min.insync.replicas": str(kafka.min_insync_replicas)}

    def together(topic: str) -> tuple[str, ...]:
        source = CHANGELOGS.get(topic, topic)
        group = (source, *(table for table, fed_by in CHANGELOGS.items() if fed_by == source))
        return tuple(names[other] for other in group if other != topic)

    return [
        TopicSpec(
            name=name,
            partitions=partitions_of(settings, topic),
            replication=kafka.replication,
            config=configs[topic] | (durable if kafka.replication >= 2 else {}),
            with_topics=together(topic),
        )
        for topic, name in names.items()
    ]


def _kept_for(hours: int, max_message_bytes: int) -> dict[str, str]:
    retention = hours * _HOUR_MS
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention),
        # Kafka removes whole segments only. By default one lasts a week, and so would an hour.
        "segment.ms": str(max(_HOUR_MS, min(retention // 8, 24 * _HOUR_MS))),
        "compression.type": "producer",
        "max.message.bytes": str(max_message_bytes),
    }


_COMPACTED: Final = {
    "cleanup.policy": "compact",
    # What a restart reads is the compacted part, the part not compacted yet and the open segment,
    # which is never compacted: all three are kept small (the defaults: half of it, and 1 GiB).
    "min.cleanable.dirty.ratio": "0.2",
    "segment.bytes": str(32 * 2**20),
    "segment.ms": str(24 * _HOUR_MS),
    # What was overwritten or deleted, as a post that had to be forgotten, is gone after a week.
    "max.compaction.lag.ms": str(7 * 24 * _HOUR_MS),
    "compression.type": "producer",
}

_HISTORY: Final = _COMPACTED | {
    "cleanup.policy": "compact,delete",
    # As long as the buckets are kept that hours are made of, and a day for segments to close.
    "retention.ms": str((HOURS_KEPT + 24) * _HOUR_MS),
}


async def create_topics(
    settings: Settings, *, say: Callable[[str], None], only: Sequence[str] = ()
) -> list[str]:
    """Create the topics that are missing; leave those that exist as they are.

    Several workers may do so at once.

    Args:
        say: Told of each topic created.
        only: These, without their prefix; others are not looked at, and need not be seen.

    Returns:
        Names of the topics this call created.

    Raises:
        BrokerError: A topic cannot be created, or exists with another partition count than the
            topics it goes with.
    """
    wanted = {settings.topic(name) for name in only}
    specs = [spec for spec in topic_specs(settings) if not only or spec.name in wanted]
    async with _admin(settings) as admin:
        found = await describe(admin)
        _check_partitions(settings, specs, found)
        missing = [spec for spec in specs if spec.name not in found]
        created = await _create(admin, missing, settings) if missing else []
        for name in created:
            say(f"created topic {name}")
        await _settled(admin, settings, specs)
    return created


async def list_topics(settings: Settings) -> list[TopicState]:
    """The state of every topic Gapwatch uses, in the order of `topic_specs`.

    Raises:
        BrokerError: The cluster cannot be asked.
    """
    specs = topic_specs(settings)
    async with _admin(settings) as admin:
        found = await describe(admin)
        configs = await _configs(admin, [spec for spec in specs if spec.name in found])
    return [
        TopicState(
            spec.name,
            exists=True,
            partitions=len(found[spec.name]),
            replication=len(found[spec.name][0]["replicas"]),
            config=configs.get(spec.name),
        )
        if spec.name in found
        else TopicState(spec.name, exists=False)
        for spec in specs
    ]


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        **client_options(settings.kafka), request_timeout_ms=_REQUEST_SECONDS * 1000
    )
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError, OSError) as error:
        servers = settings.kafka.bootstrap_servers
        kind = BrokerAwayError if is_momentary(error) else BrokerError
        raise kind(f"Kafka at {servers} cannot be asked about topics: {error}") from error
    finally:
        await admin.close()


_Partitions = Sequence[Mapping[str, Any]]


async def describe(admin: AIOKafkaAdminClient) -> dict[str, _Partitions]:
    """Partitions of each topic that exists and may be seen.

    All topics are asked for: asking for one by name creates it, on a broker that does so.
    """
    topics = await admin.describe_topics(None)
    return {topic["topic"]: topic["partitions"] for topic in topics if topic["partitions"]}


async def _configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, Mapping[str, str]]:
    """Configuration by topic; without those a broker does not tell, or not to us."""
    if not specs:
        return {}
    wanted = {spec.name: spec.config.keys() for spec in specs}
    # All values are asked for: asked for some by name, the embedded broker hangs up.
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    try:
        responses = await admin.describe_configs(resources)
    except KafkaError:
        return {}
    return {
        name: {entry[0]: entry[1] for entry in entries if entry[0] in wanted[name]}
        for response in responses
        for code, _, _, name, entries in response.resources
        if code == NoError.errno
    }


_DENIED: Final = (TopicAuthorizationFailedError.errno, ClusterAuthorizationFailedError.errno)


async def _create(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], settings: Settings
) -> list[str]:
    response = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
            for spec in specs
        ]
    )
    created = []
    problems = []
    for name, code, message in response.topic_errors:
        if code == NoError.errno:
            created.append(name)
        elif code in _DENIED:
            raise BrokerError(
                f"topic {name} does not exist, or this user may not see it, and this user may not "
                "create it: have the topics created (`gapwatch topics create`) by one who may "
                "(docs/reference/kafka-rights.md)"
            )
        elif code != TopicAlreadyExistsError.errno:  # another worker was faster
            problems.append(f"topic {name} cannot be created: {message or for_code(code).message}")
    if problems:
        raise BrokerError(
            f"{problems[0]} (asked for with kafka.partitions = {settings.kafka.partitions}, "
            f"kafka.replication = {settings.kafka.replication})"
        )
    return created


async def _settled(
    admin: AIOKafkaAdminClient, settings: Settings, specs: Sequence[TopicSpec]
) -> None:
    """Wait until every topic can be written to: a cluster takes a moment to agree on leaders."""
    deadline = time.monotonic() + _REQUEST_SECONDS
    while True:
        found = await describe(admin)
        unready = [
            spec.name
            for spec in specs
            if spec.name not in found
            or any(partition["leader"] < 0 for partition in found[spec.name])
        ]
        if not unready:
            _check_partitions(settings, specs, found)
            return
        if time.monotonic() > deadline:
            raise BrokerAwayError(
                f"topic {unready[0]} has no leader for all its partitions after "
                f"{_REQUEST_SECONDS} s: are all brokers up, and may this user describe topics?"
            )
        await asyncio.sleep(0.1)


def _check_partitions(
    settings: Settings, specs: Sequence[TopicSpec], found: Mapping[str, _Partitions]
) -> None:
    counts = {name: len(partitions) for name, partitions in found.items()}
    if problem := misfit(settings, specs, counts):
        raise BrokerError(problem)


def misfit(settings: Settings, specs: Sequence[TopicSpec], counts: Mapping[str, int]) -> str | None:
    """Which topic would not be partitioned as those it is read or kept with, and what to do.

    Args:
        counts: Partitions of the topics that exist, by full name.
    """
    events = settings.topic("events")
    for spec in specs:
        partitions = counts.get(spec.name, 0)
        if not spec.with_topics or partitions in (0, spec.partitions):
            continue
        group = spec.name, *spec.with_topics
        needed = (
            f"topic {spec.name} has {partitions} partitions, but {spec.partitions} are needed, as "
            f"many as {' and '.join(spec.with_topics)} must have"
        )
        if all(counts.get(name, partitions) == partitions for name in group):
            name = "kafka.events_partitions" if events in group else "kafka.partitions"
            return f"{needed}. All of them have {partitions}: set {name} = {partitions}"
        if events in group:
            return (
                f"{needed}. If the events topic is to have more partitions, stop the workers and "
                f"run `gapwatch topics grow {max(counts.get(name, 0) for name in group)}`: it "
                "brings along what is known of repeats"
            )
        return (
            f"{needed}: what is counted is kept by partition, and their number is for good. Start "
            "afresh with another kafka.topic_prefix and group; `gapwatch topics copy` brings the "
            "events along"
        )
    return None
