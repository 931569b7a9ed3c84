"""Topics are created as specified, once, and never where they would not fit together."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.broker import BrokerError
from pipeline.broker.client import client_options
from pipeline.settings import KafkaSettings, Settings
from pipeline.topics import create_topics, list_topics, misfit, topic_specs
from tests.kafka.server import KafkaServer


def settings_for(kafka: KafkaSettings) -> Settings:
    return Settings(kafka=kafka, group=kafka.topic_prefix)


async def create(settings: Settings) -> list[str]:
    return await create_topics(settings, say=lambda line: None)


async def existing(kafka: KafkaSettings) -> set[str]:
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def create_by_hand(kafka: KafkaSettings, name: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        while name not in await admin.list_topics():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.01)
    finally:
        await admin.close()


@pytest.fixture
def settings(broker_settings: KafkaSettings) -> Settings:
    return settings_for(broker_settings)


class TestSpecs:
    def test_names_are_prefixed_and_changelogs_named_as_faust_names_them(self) -> None:
        names = [spec.name for spec in topic_specs(Settings(group="watch"))]
        assert names == [
            *(f"gapwatch.{name}" for name in ("events", "mentions", "rejected")),
            *(f"gapwatch.{name}" for name in ("scores", "alerts", "silences", "acknowledgements")),
            *(f"gapwatch.{name}" for name in ("erasures", "hours", "expectations")),
            *(f"watch-{table}-changelog" for table in ("buckets", "series")),
            *(f"watch-{table}-changelog" for table in ("repeats", "deliveries")),
        ]

    def test_a_changelog_goes_with_the_topic_that_feeds_its_table(self) -> None:
        together = {spec.name: set(spec.with_topics) for spec in topic_specs(Settings())}
        assert together["gapwatch.mentions"] == {
            "gapwatch-buckets-changelog",
            "gapwatch-series-changelog",
        }
        assert together["gapwatch-series-changelog"] == {
            "gapwatch.mentions",
            "gapwatch-buckets-changelog",
        }
        assert together["gapwatch-repeats-changelog"] == {"gapwatch.events"}
        assert together["gapwatch-deliveries-changelog"] == {"gapwatch.alerts"}
        assert together["gapwatch.rejected"] == set()

    @pytest.mark.parametrize("largest", [1024, 512 * 1024, 16 * 2**20])
    def test_the_largest_event_fits_whole_and_as_a_dead_letter(self, largest: int) -> None:
        specs = topic_specs(Settings(intake={"max_event_bytes": largest}))
        limits = {spec.name: int(spec.config.get("max.message.bytes", 0)) for spec in specs}
        assert limits["gapwatch.events"] >= max(2**20, largest + 1024)
        assert limits["gapwatch.mentions"] >= max(2**20, largest + 1024)
        assert limits["gapwatch.rejected"] >= max(2**20, 6 * largest + 1024)

    def test_a_segment_is_short_beside_the_retention(self) -> None:
        (events, *_) = topic_specs(Settings(kafka=KafkaSettings(retention_hours=48)))
        assert events.config["retention.ms"] == str(48 * 3_600_000)
        assert events.config["segment.ms"] == str(6 * 3_600_000)

    def test_writes_are_confirmed_by_several_replicas_where_there_are_several(self) -> None:
        several = topic_specs(Settings())
        assert {spec.config["min.insync.replicas"] for spec in several} == {"2"}
        single = topic_specs(Settings(kafka=KafkaSettings(replication=1, min_insync_replicas=1)))
        assert not any("min.insync.replicas" in spec.config for spec in single)


async def test_what_is_missing_is_created_as_specified(settings: Settings) -> None:
    said: list[str] = []
    specs = topic_specs(settings)
    created = await create_topics(settings, say=said.append)
    assert sorted(created) == sorted(spec.name for spec in specs)
    assert said == [f"created topic {name}" for name in created]
    for spec, state in zip(specs, await list_topics(settings), strict=True):
        assert (state.name, state.exists) == (spec.name, True)
        assert (state.partitions, state.replication) == (spec.partitions, spec.replication)
        assert state.config == spec.config


async def test_what_exists_is_left_alone(settings: Settings) -> None:
    assert await create(settings)
    assert await create(settings) == []
    before = await list_topics(settings)
    longer = settings.kafka.model_copy(update={"retention_hours": 1000})
    assert await create(settings_for(longer)) == []
    assert await list_topics(settings) == before


async def test_workers_may_create_at_once(settings: Settings) -> None:
    created = await asyncio.gather(*(create(settings) for _ in range(4)))
    names = sorted(name for part in created for name in part)
    assert names == sorted(spec.name for spec in topic_specs(settings))


async def test_only_what_is_missing_is_created(settings: Settings) -> None:
    await create_by_hand(settings.kafka, settings.topic("events"), settings.kafka.partitions)
    created = await create(settings)
    assert settings.topic("events") not in created
    assert len(created) == len(topic_specs(settings)) - 1


async def test_of_what_is_missing_only_what_is_asked_for_is_created(settings: Settings) -> None:
    events = settings.topic("events")
    assert await create_topics(settings, say=lambda line: None, only=("events",)) == [events]
    assert await create_topics(settings, say=lambda line: None, only=("events",)) == []


async def test_looking_at_topics_creates_none(settings: Settings) -> None:
    before = await existing(settings.kafka)
    assert not any(state.exists for state in await list_topics(settings))
    assert await existing(settings.kafka) == before


async def test_partitions_that_do_not_fit_are_refused_and_nothing_is_created(
    settings: Settings,
) -> None:
    await create_by_hand(settings.kafka, f"{settings.group}-repeats-changelog", 3)
    before = await existing(settings.kafka)
    with pytest.raises(BrokerError) as refused:
        await create(settings)
    for words in ("repeats-changelog has 3 partitions", "4 are needed", settings.topic("events")):
        assert words in str(refused.value)
    assert "set kafka.events_partitions = 3" in str(refused.value)
    assert await existing(settings.kafka) == before


async def test_a_topic_without_peers_may_have_any_partition_count(settings: Settings) -> None:
    await create_by_hand(settings.kafka, settings.topic("rejected"), 1)
    assert settings.topic("rejected") not in await create(settings)


@pytest.mark.kafka
async def test_more_replicas_than_brokers_is_said_in_terms_of_the_setting(
    kafka_server: KafkaServer,
) -> None:
    servers = kafka_server.bootstrap_servers
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix="too-many")
    with pytest.raises(BrokerError, match=r"replication factor.*kafka\.replication = 3"):
        await create(settings_for(kafka))


async def test_a_cluster_that_is_away_is_named() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        await list_topics(settings)


async def test_what_was_enlarged_by_hand_is_refused_with_what_to_do(settings: Settings) -> None:
    specs = topic_specs(settings)
    four = {spec.name: 4 for spec in specs}
    assert misfit(settings, specs, four) is None
    assert misfit(settings, specs, {}) is None
    events = misfit(settings, specs, four | {settings.topic("events"): 8})
    assert events is not None and "run `gapwatch topics grow 8`" in events
    mentions = misfit(settings, specs, four | {settings.topic("mentions"): 8})
    assert mentions is not None and "`gapwatch topics copy`" in mentions
    grown = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"events_partitions": 8})}
    )
    changelog = f"{settings.group}-repeats-changelog"
    eight = four | {settings.topic("events"): 8, changelog: 8}
    assert misfit(grown, topic_specs(grown), eight) is None
    assert misfit(grown, topic_specs(grown), eight | {changelog: 4}) is not None
