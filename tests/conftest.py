"""Brokers for the tests that need one: the embedded broker and a real Kafka, started once."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Iterator

import pytest

from pipeline.broker import BrokerError
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.settings import KafkaSettings
from tests.kafka.cluster import KafkaCluster
from tests.kafka.server import KafkaServer, KafkaUnavailableError, missing_program

REQUIRE_KAFKA = "REQUIRE_KAFKA"
"""Set to 1 where a missing Kafka must fail the run rather than skip its tests."""


_LEFT_OUT = pytest.StashKey[str]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need Kafka where it cannot run, and say so once, not per test."""
    missing = missing_program()
    if missing is None or os.environ.get(REQUIRE_KAFKA) == "1":
        return
    left_out = [item for item in items if item.get_closest_marker("kafka")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = (
            f"SKIPPED [{len(left_out)}] tests on a real Kafka: {missing} is not installed "
            f"(they need Java 17 and Maven; {REQUIRE_KAFKA}=1 makes this an error)"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if line := terminalreporter.config.stash.get(_LEFT_OUT, ""):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedBroker]:
    """The embedded broker, running; topics outlive a test, so choose names of your own."""
    broker = EmbeddedBroker()
    try:
        broker.start()
    except BrokerError as error:
        pytest.skip(str(error))
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka node, running. Leave it so: a test that kills one starts its own."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
    except KafkaUnavailableError as error:
        if os.environ.get(REQUIRE_KAFKA) == "1":
            raise
        pytest.skip(f"no Kafka: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Three nodes of Kafka, up."""
    cluster = KafkaCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
    except KafkaUnavailableError as error:
        cluster.stop()
        if os.environ.get(REQUIRE_KAFKA) == "1":
            raise
        pytest.skip(f"no Kafka: {error}")
    yield cluster
    cluster.stop()
    gc.collect()


def kafka_settings_of(server: KafkaServer) -> KafkaSettings:
    """Settings for one node of Kafka."""
    return KafkaSettings(
        bootstrap_servers=server.bootstrap_servers,
        partitions=4,
        replication=1,
        min_insync_replicas=1,
    )


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker_settings(request: pytest.FixtureRequest) -> KafkaSettings:
    """Settings for each kind of broker in turn, with a topic prefix that is the test's own.

    Consumer groups are shared by a broker's tests all the same: name `group` by the prefix.
    """
    kafka: KafkaSettings
    if request.param == "embedded":
        kafka = request.getfixturevalue("embedded").kafka_settings()
    else:
        kafka = kafka_settings_of(request.getfixturevalue("kafka_server"))
    return _own_topics(kafka)


@pytest.fixture
def embedded_settings(embedded: EmbeddedBroker) -> KafkaSettings:
    """Settings for the embedded broker, with a topic prefix that is the test's own."""
    return _own_topics(embedded.kafka_settings())


def _own_topics(kafka: KafkaSettings) -> KafkaSettings:
    return kafka.model_copy(update={"topic_prefix": f"test-{uuid.uuid4().hex[:12]}"})
