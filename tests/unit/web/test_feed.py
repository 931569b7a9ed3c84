"""The topic feed, over a log kept in memory: what it reads, what it skips, and how it recovers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from pipeline import following
from pipeline.web import feed
from pipeline.web.feed import LOOK_AT, TopicFeed
from pipeline.web.view import LiveView

TOPICS = {
    name: f"t.{name}"
    for name in ("scores", "hours", "expectations", "alerts", "deliveries", "mentions")
}


class Log:
    """Topics of one partition, and consumers that read them as aiokafka's do."""

    def __init__(self) -> None:
        self.values: dict[str, list[bytes | None]] = {topic: [] for topic in TOPICS.values()}
        self.read: list[tuple[str, int]] = []
        self.down = False
        self.open = 0

    def add(self, topic: str, *records: Any) -> None:
        self.values[topic].extend(msgspec.json.encode(record) for record in records)

    def consumer(self, **options: Any) -> Consumer:
        assert options["group_id"] is None
        return Consumer(self)


class Consumer:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.at: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()

    async def start(self) -> None:
        self.log.open += 1
        self.check()

    async def stop(self) -> None:
        self.log.open -= 1

    def check(self) -> None:
        if self.log.down:
            raise KafkaConnectionError("down")

    async def topics(self) -> set[str]:
        return set(self.log.values)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0}

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.at, self.paused = dict.fromkeys(partitions, 0), set()

    def unsubscribe(self) -> None:
        self.at = {}

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= set(partitions)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at[tp] = offset

    async def beginning_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.check()
        return {tp: len(self.log.values[tp.topic]) for tp in partitions}

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0.005)
        self.check()
        found = {}
        for tp in set(partitions) - self.paused:
            values = self.log.values[tp.topic][self.at[tp] :]
            start, self.at[tp] = self.at[tp], self.at[tp] + len(values)
            self.log.read += [(tp.topic, start + n) for n in range(len(values))]
            found[tp] = [
                SimpleNamespace(offset=start + n, value=value) for n, value in enumerate(values)
            ]
        return found


@pytest.fixture
def topics() -> Log:
    return Log()


@pytest.fixture
async def view(topics, monkeypatch):
    monkeypatch.setattr(feed, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(following, "BACK_OFF", (0.01, 0.02))
    view = LiveView()
    follower = TopicFeed(view, consumer_options={}, new_consumer=topics.consumer, **TOPICS)
    await follower.start()
    yield view
    await follower.stop()
    assert topics.open == 0


def shown(view: LiveView) -> dict[str, Any]:
    return json.loads(view.snapshot())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_scores_and_alerts_are_read_from_the_beginning(topics, view, make_score, make_alert):
    topics.add("t.scores", make_score())
    topics.add("t.alerts", make_alert())
    await until(lambda: bool(view.scores() and view.alerts()))
    assert shown(view)["feed"] == "live"


async def test_only_the_newest_mentions_are_read(topics, view, make_mention, noon):
    await until(lambda: shown(view)["feed"] == "live")
    topics.add("t.mentions", *(make_mention(f"e{n}") for n in range(1000)))
    with view.watching():
        await until(lambda: len(shown(view)["mentions"]) == LOOK_AT)
    assert topics.read == [("t.mentions", n) for n in range(1000 - LOOK_AT, 1000)]


async def test_nobody_watching_costs_no_reading_of_mentions(topics, view, make_mention):
    await until(lambda: shown(view)["feed"] == "live")
    topics.add("t.mentions", make_mention())
    await asyncio.sleep(0.1)
    assert topics.read == []


async def test_what_is_no_record_is_told_and_skipped(topics, view, make_score, caplog):
    topics.values["t.scores"] += [b"{", b"\xff", b'{"brand": 1}', None]
    topics.add("t.scores", make_score())
    await until(lambda: bool(view.scores()))
    told = [record.getMessage() for record in caplog.records]
    assert [words.split(":")[0] for words in told] == [
        f"live page skips t.scores[0] offset {offset}" for offset in range(3)
    ]


async def test_a_lost_broker_is_told_once_and_waited_for(
    topics, view, make_score, make_alert, noon, caplog
):
    caplog.set_level(logging.INFO, logger="pipeline.following")
    topics.add("t.scores", make_score())
    await until(lambda: bool(view.scores()))
    topics.down = True
    await until(lambda: shown(view)["feed"] == "lost")
    await asyncio.sleep(0.3)
    topics.add("t.scores", make_score(as_of=noon + timedelta(minutes=1), score=7.0))
    topics.down = False
    await until(lambda: [score.score for score in view.scores()] == [7.0])
    await until(lambda: shown(view)["feed"] == "live")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert topics.read == [("t.scores", 0), ("t.scores", 1)], "went on where it left off"


async def test_a_log_begun_anew_is_read_from_its_beginning(topics, view, make_score, noon):
    topics.add("t.scores", *(make_score(as_of=noon + timedelta(seconds=n)) for n in range(5)))
    await until(lambda: len(topics.read) == 5)
    topics.down = True
    await until(lambda: shown(view)["feed"] == "lost")
    topics.values["t.scores"].clear()
    topics.add("t.scores", make_score(as_of=noon + timedelta(hours=1), score=-3.0))
    topics.down = False
    await until(lambda: [score.score for score in view.scores()] == [-3.0])
