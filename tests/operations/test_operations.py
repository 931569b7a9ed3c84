"""Each operation of docs/operations.md under load, checked by the checker of the fault runs."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from pipeline.broker.client import client_options
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.settings import Settings
from pipeline.topics import changelog_topic
from tests.faults.checker import Verdict, check_buckets
from tests.faults.expected import expect
from tests.faults.log import read
from tests.kafka.cluster import KafkaCluster
from tests.operations.backpressure import flood
from tests.operations.scene import Scene
from tests.worker import WorkerProcess

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(300),
    # What the feed's and the onlooker's clients leave behind when partitions move.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

GAP_SECONDS = 10.0
"""No new mention for so long is the most that an operation under load may cost: a rebalance or two
on a machine as busy as a test makes it."""


@pytest.fixture(autouse=True)
def _left_behind() -> Iterator[None]:
    """Find what clients leave behind here, where it is expected, and not in some later test."""
    yield
    gc.collect()


async def test_a_rolling_restart_leaves_no_gap(cluster: KafkaCluster) -> None:
    async with Scene(cluster.settings("-"), seed=21, events=4000) as scene:
        await scene.start(0, 1)
        scene.feed()
        for old, new in ((0, 2), (1, 3)):
            await scene.start(new)
            await scene.end(old)
        assert scene.feeding, "the workers were not restarted under load"
        await scene.rest()
        verdict = await scene.check()
    assert verdict.alerts
    assert scene.silence < GAP_SECONDS


async def test_workers_are_added_and_taken_away_under_load(cluster: KafkaCluster) -> None:
    async with Scene(cluster.settings("-"), seed=22, events=4000) as scene:
        await scene.start(0)
        scene.feed()
        await scene.start(1, 2)
        await scene.end(1, 2)
        assert scene.feeding, "the workers did not change under load"
        await scene.rest()
        await scene.check()
    assert scene.silence < GAP_SECONDS


async def test_everything_is_restored_from_the_topics_alone(cluster: KafkaCluster) -> None:
    async with Scene(cluster.settings("-"), seed=23, events=2000) as scene:
        await scene.start(0, 1)
        scene.feed(rate=300)
        await scene.until(lambda: scene.written > 500, "some of it to be counted")
        # All machines are gone, with all they held, and others take their place.
        for number in (0, 1):
            scene.fleet.remove(number)
            scene.fleet.signal(number, signal.SIGKILL)
        await scene.start(2, 3)
        await scene.rest()
        verdict = await scene.check()
    assert verdict.alerts


async def test_an_upgrade_with_new_fields_and_back(cluster: KafkaCluster) -> None:
    newer = ("tests.operations.newer",)
    async with Scene(cluster.settings("-"), seed=24, events=4400) as scene:
        await scene.start(0, 1)
        scene.feed(count=4000)
        for old, new, module in ((0, 2, newer), (1, 3, newer), (2, 4, ()), (3, 5, ())):
            # As a rollout does, and the rollback after it: one joins, then one leaves.
            await scene.start(new, module=module)
            await scene.end(old)
        assert scene.feeding, "the upgrade was over before the events were"
        await scene.rest()
        mentions = await read(scene.settings, scene.settings.topic("mentions"))
        said = Counter(b'"urgency":3' in r.value for part in mentions.values() for r in part)
        buckets = await read(scene.settings, changelog_topic(scene.settings, "buckets"))
        fields = Counter(
            len(msgspec.json.decode(r.value)) for part in buckets.values() for r in part if r.value
        )
        assert said[True] > 100 and said[False] > 100
        assert set(fields) == {2, 3}

        # A version whose state this one would misread: it says so, and spoils nothing.
        await scene.end(4, 5)
        await scene.start(6, module=(*newer, "--format", "2"))
        scene.feed(rate=1000)
        await scene.rest()
        await scene.end(6)
        with WorkerProcess(scene.config, ("-m", "tests.faults.process", str(scene.config))) as old:
            assert await asyncio.to_thread(old.process.wait, 60) == 2
            assert "was written by a newer version" in old.output
        await scene.start(6, module=(*newer, "--format", "2"))
        await scene.rest()
        await scene.check()


async def test_the_events_topic_is_given_more_partitions(cluster: KafkaCluster) -> None:
    async with Scene(cluster.settings("-"), seed=25, events=1500) as scene:
        await scene.start(0, 1)
        scene.feed(count=500)
        refused, said = await scene.run("topics", "grow", "8")
        assert refused == 2 and "workers of group" in said
        await scene.rest()

        # Done wrongly, by hand and without a pause: a worker refuses, and says what to do.
        events = scene.settings.topic("events")
        await _alter_by_hand(scene.settings, events, 8)
        scene.feed(count=500)
        await scene.fed()
        await scene.end(0, 1)
        with WorkerProcess(scene.config, ("-m", "tests.faults.process", str(scene.config))) as one:
            assert await asyncio.to_thread(one.process.wait, 60) == 2
            assert "run `gapwatch topics grow 8`" in one.output
        refused, said = await scene.run("topics", "grow", "6")
        assert refused == 2 and "twice as many" in said
        done, said = await scene.run("topics", "grow", "8")
        assert done == 0, said

        # Done as it should be: who sends pauses, workers end, the topic grows, all go on.
        scene.configure(events_partitions=8)
        done, said = await scene.run("topics", "grow", "16")
        assert done == 0, said
        scene.configure(events_partitions=16)
        scene.feed()
        await scene.start(2, 3)
        await scene.rest()
        verdict = await scene.check()
        log = await read(scene.settings, events)
    assert all(log.values()), "no event came into some partition"
    came: dict[str, set[int]] = {}
    for partition, records in log.items():
        for record in records:
            came.setdefault(record.key.decode(), set()).add(partition)
    assert sum(len(places) > 1 for places in came.values()) > 5, "no repeat changed partitions"
    assert verdict.mentions


async def test_events_are_counted_anew_and_nobody_is_told_twice(cluster: KafkaCluster) -> None:
    weights = {"score": {"reach": False}}
    async with Scene(cluster.settings("-"), seed=26, events=1200, **weights) as scene:
        await scene.start(0, 1)
        scene.feed()
        refused, said = await scene.run("replay", "--yes")
        assert refused == 2 and "are running: stop them first" in said
        await scene.rest()
        await scene.end(0, 1)
        told = len(scene.received)
        assert told

        # All of it, with other weights.
        old = scene.settings
        mentions = await read(old, old.topic("mentions"))
        scene.reset(score={"reach": True})
        done, said = await scene.run("replay", "--yes")
        assert done == 0 and "1,200 events will be read again" in said
        await scene.start(2, 3)
        await scene.rest()
        ends = {partition: len(records) for partition, records in mentions.items()}
        verdict = await scene.check(recounted=ends)
        assert verdict.repeated >= verdict.mentions
        assert len(scene.received) == told

        # The later hours once more, with the weights of before; alerts are left alone.
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        new, alerts = scene.settings, await read(scene.settings, scene.settings.topic("alerts"))
        scene.reset(**weights)
        done, said = await scene.run("replay", "--yes", "--scores-only", "--from", hour.isoformat())
        assert done == 0, said
        await scene.start(4)
        await scene.rest()
        await scene.end(4)
        events = await read(old, old.topic("events"))
        expected, later = expect(new, events.items()), expect(old, events.items())
        since = int(hour.timestamp()) // 3600
        expected.hours |= {key: want for key, want in later.hours.items() if key[1] >= since}
        verdict = Verdict()
        check_buckets(expected, await read(old, changelog_topic(old, "buckets")), verdict)
        assert not verdict.problems
        assert await read(old, old.topic("alerts")) == alerts
        assert len(scene.received) == told


async def test_moving_from_the_embedded_broker_to_the_cluster(
    cluster: KafkaCluster, embedded: EmbeddedBroker
) -> None:
    async with Scene(embedded.kafka_settings(), seed=27, events=1500) as old:
        await old.start(0)
        old.feed(count=1200)
        await old.fed()
        await asyncio.to_thread(old.fleet.worker(0).handled, 1200)
        await old.until(
            lambda: any(message["id"].endswith(".resolved") for message in old.received),
            "an alert to be over",
        )
        await old.end(0)
        told = len(old.received)
        assert told
        receivers = {"receivers": old.receivers}
        new = Scene(cluster.settings("-"), seed=27, events=1500, received=old.received, **receivers)
        async with new:
            done, said = await old.run("topics", "copy", "--to", str(new.config))
            assert done == 0 and "1,200 events copied" in said, said
            refused, said = await old.run("topics", "copy", "--to", str(new.config))
            assert refused == 2 and "has events in" in said
            await new.start(0, 1)
            new.events = old.events
            new.feed()
            await new.rest()
            verdict = await new.check()
        assert verdict.events == 1500
        assert len(new.received) == told


async def test_a_flood_waits_in_the_topic_and_not_in_memory(cluster: KafkaCluster) -> None:
    outcome = await flood(cluster, seconds=8)
    assert outcome.handled < outcome.events / 4, "the model was not much slower than the events"
    assert outcome.late_mb < outcome.idle_mb + 100
    assert outcome.catching_up_mb < outcome.idle_mb + 150


async def _alter_by_hand(settings: Settings, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(**client_options(settings.kafka))
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(partitions)})
    finally:
        await admin.close()
