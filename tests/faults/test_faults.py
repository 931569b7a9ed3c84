"""A few seeded runs in every test run; `make soak` makes many."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.broker.embedded import EmbeddedBroker
from pipeline.sending import send_events
from pipeline.settings import load_settings
from tests.faults.classifier import HANG
from tests.faults.feed import BRANDS, feed
from tests.faults.fleet import Fleet
from tests.faults.run import describe, run
from tests.kafka.cluster import KafkaCluster
from tests.worker import wait_until, write_config

pytestmark = [
    pytest.mark.timeout(900),
    # What the feed's and the onlooker's clients leave behind when a broker dies under them.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SEEDS = {
    # One fault of each sort that has found something, and a mixed run.
    "a zombie wakes": (11, ("freeze_worker", "kill_worker", "add_worker")),
    "brokers die": (12, ("kill_broker", "freeze_broker", "cut_network")),
    "all sorts": (13, ()),
}


@pytest.fixture(autouse=True)
def _left_behind() -> Iterator[None]:
    """Find what clients leave behind here, where it is expected, and not in some later test."""
    yield
    gc.collect()


@pytest.mark.kafka
@pytest.mark.parametrize("name", SEEDS)
def test_nothing_is_lost_and_nothing_counted_twice(cluster: KafkaCluster, name: str) -> None:
    seed, only = SEEDS[name]
    outcome = run(cluster, seed, events=2000, seconds=25, faults=5, only=only)
    assert outcome.ok, describe(outcome).replace("\\n", "\n")


def test_a_worker_that_stands_still_ends_itself_and_is_started_again(
    tmp_path: Path, embedded: EmbeddedBroker
) -> None:
    kafka = embedded.kafka_settings().model_copy(update={"topic_prefix": "still"})
    config = write_config(
        tmp_path, kafka, brands=BRANDS, web={"port": 0, "stuck_after": 2, "exit_after": 2}
    )
    fleet = Fleet(config)
    (tmp_path / HANG).touch()
    fleet.add(0)
    fleet.tend()
    try:
        events = feed(1, 300, datetime.now(UTC))
        asyncio.run(send_events(load_settings(config), events))

        def ended() -> bool:
            fleet.tend()
            return bool(fleet.crashes)

        wait_until(ended, "the worker to end itself")
        assert "work stands still" in fleet.crashes[0]
        assert "WordClassifier" in fleet.crashes[0] or "classifier.py" in fleet.crashes[0]
        (tmp_path / HANG).unlink()

        def handled() -> bool:
            fleet.tend()
            with contextlib.suppress(OSError):  # it may just be starting, or ending
                return fleet.worker(0).metric("gapwatch_events_total") >= 200
            return False

        wait_until(handled, "the next one to have done the work")
        assert fleet.stop() == [0]
    finally:
        fleet.kill()
