"""State as a worker holds it after weeks of talk, written to its changelogs without the weeks.

Some brands are followed through `DAYS` by the code that follows them in a worker; what it holds
then is written under as many brands' names as are wanted.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from random import Random
from typing import Final

import msgspec

from benchmarks.brokers import PARTITIONS
from models.labels import HEADS, NEUTRAL, TEAM_OF_TOUCHPOINT, Label, Labels
from pipeline.broker.client import client_options
from pipeline.domain.alerts import Watch
from pipeline.domain.buckets import BrandBuckets
from pipeline.domain.lifecycle import Rules
from pipeline.domain.repeats import Block
from pipeline.domain.scoring import weight
from pipeline.domain.spikes import Detector
from pipeline.producer import Producer, partition_of
from pipeline.records import Actor, Event, Mention, Stamp
from pipeline.settings import AlertSettings, ModelSettings, ScoreSettings, Settings
from pipeline.topics import changelog_topic

DAYS: Final = 28
"""As long as hours are kept."""

PER_HOUR: Final = (3.0, 6.0, 12.0, 24.0)
"""Mentions an hour of the brands that are followed: some of ten an hour on average."""

IDS_PER_KEY: Final = 1.0
"""Event ids remembered for each key: with a million keys as many as a worker ever remembers."""

_GAP_SHARE: Final = 0.1
_AUTHORS_PER_BRAND: Final = 5000

_TEXT: Final = (
    "{brand} said friday. it is tuesday and the tracking page still says packed, {number}"
)

encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Followed:
    """What a worker holds of one brand, by table and by key without the brand's name."""

    buckets: Mapping[bytes, bytes]
    series: Mapping[bytes, bytes]

    @cached_property
    def keys(self) -> int:
        """How many keys that is."""
        return len(self.buckets) + len(self.series)


@dataclass(frozen=True)
class Plan:
    """State to be written.

    Attributes:
        followed: What is written under the brands' names, in turns.
        ids: Event ids remembered.
    """

    followed: tuple[Followed, ...]
    brands: int
    ids: int

    def names(self) -> Iterator[str]:
        """The brands' keys."""
        return (f"brand{number}" for number in range(self.brands))


@dataclass(frozen=True, slots=True)
class Written:
    """Keys written, and the bytes of keys and values."""

    keys: int
    bytes: int


def plan(keys: int) -> Plan:
    """State of about `keys` keys."""
    followed = tuple(follow(rate, seed=seed) for seed, rate in enumerate(PER_HOUR))
    mean = sum(each.keys for each in followed) / len(followed)
    return Plan(followed, max(1, round(keys / mean)), round(keys * IDS_PER_KEY))


@cache
def follow(per_hour: float, *, seed: int = 1, days: int = DAYS) -> Followed:
    """Let the code of a worker follow one brand's mentions until now."""
    random, brand = Random(seed), "brand"
    now = datetime.now(UTC).timestamp()
    buckets: dict[bytes, object] = {}
    series: dict[bytes, object] = {}
    counting = BrandBuckets(buckets)  # type: ignore[arg-type]
    alerts = AlertSettings()
    rules = Rules(
        min_mentions=alerts.min_mentions,
        min_share=alerts.min_share,
        resolve_after_minutes=alerts.resolve_after_minutes,
        cooldown_minutes=alerts.cooldown_minutes,
        max_messages_per_hour=alerts.max_messages_per_hour,
    )
    watch = Watch(series, rules, Detector())  # type: ignore[arg-type]
    moment, number = now - days * 86_400, 0
    while (moment := moment + random.expovariate(per_hour / 3600)) < now:
        mention = _mention(random, brand, moment, number)
        counting.apply(mention, moment)
        watch.apply(mention, moment)
        number += 1
    counting.expire(now)
    return Followed(_encoded(buckets, brand), _encoded(series, brand))


def _encoded(state: Mapping[bytes, object], brand: str) -> dict[bytes, bytes]:
    return {key.removeprefix(brand.encode()): encode(value) for key, value in state.items()}


def _mention(random: Random, brand: str, moment: float, number: int) -> Mention:
    chosen = {head: random.choice(values) for head, values in HEADS.items()}
    if random.random() > _GAP_SHARE:
        chosen |= {"gap": NEUTRAL["gap"], "touchpoint": NEUTRAL["touchpoint"]}
    labels = Labels(
        **{
            head: Label(value, {other: float(other == value) for other in HEADS[head]})
            for head, value in chosen.items()
        }
    )
    published = datetime.fromtimestamp(moment, UTC)
    event = Event(
        id=f"{brand}-{number}",
        source="benchmark",
        published=published,
        text=_TEXT.format(brand=brand, number=number),
        actor=Actor(id=f"author-{random.randrange(_AUTHORS_PER_BRAND)}"),
    )
    return Mention(
        event=event,
        brand=brand,
        labels=labels,
        team=TEAM_OF_TOUCHPOINT[chosen["touchpoint"]],
        weight=weight(event, chosen["stage"], ScoreSettings().stage_weights, reach=True),
        model="benchmark",
        stamp=Stamp(random.randrange(PARTITIONS), 10_000_000 + number),
        received=published,
    )


async def write_state(settings: Settings, plan: Plan) -> Written:
    """Write state to the changelogs of `settings`, as a worker would that holds all partitions."""
    producer = Producer(client_options(settings.kafka), idempotent=settings.kafka.idempotent)
    await producer.start()
    keys = size = 0
    try:
        for table, partition, part in records(plan):
            keys += len(part)
            size += sum(len(key) + len(value) for key, value in part)
            await producer.send(changelog_topic(settings, table), partition, part)
    finally:
        await producer.stop()
    return Written(keys, size)


def records(plan: Plan) -> Iterator[tuple[str, int, list[tuple[bytes, bytes]]]]:
    """Table, partition and records: of one brand, or of one chunk of events, at a time."""
    writer = secrets.token_hex(4).encode()
    for number, name in enumerate(plan.names()):
        followed = plan.followed[number % len(plan.followed)]
        partition = partition_of(name.encode(), PARTITIONS)
        for table, state in (("buckets", followed.buckets), ("series", followed.series)):
            yield (
                table,
                partition,
                [
                    (b"%s%s@%s" % (name.encode(), key, writer), value)
                    for key, value in state.items()
                ],
            )
    batch = ModelSettings().batch
    now = datetime.now(UTC).timestamp()
    for at in range(0, plan.ids, batch):
        block = Block(now, secrets.token_bytes(8 * batch), list(range(at, at + batch)))
        yield "repeats", at // batch % PARTITIONS, [(b"%d@%s" % (at, writer), encode(block))]
