"""Following topics: when all that stood there has been taken."""

from __future__ import annotations

import asyncio

from pipeline.following import Follower, taker
from pipeline.records import Acknowledgement
from tests.builders import at
from tests.unit.web.test_feed import Log


async def test_it_has_caught_up_once_all_that_stood_there_was_taken() -> None:
    topics, taken = Log(), []
    topics.values["t.acks"] = []
    topics.add("t.acks", *(Acknowledgement(f"a{n}", "Bo", at(n)) for n in range(20)))
    follower = Follower(
        "test",
        consumer_options={},
        takers={"t.acks": taker(Acknowledgement, taken.append)},
        new_consumer=topics.consumer,
    )
    await follower.start()
    async with asyncio.timeout(5):
        await follower.caught_up.wait()
    assert [each.alert for each in taken] == [f"a{n}" for n in range(20)]
    await follower.stop()
    assert topics.open == 0


async def test_empty_topics_are_caught_up_with_at_once() -> None:
    topics = Log()
    topics.values["t.acks"] = []
    follower = Follower(
        "test",
        consumer_options={},
        takers={"t.acks": taker(Acknowledgement, lambda _: None)},
        new_consumer=topics.consumer,
    )
    await follower.start()
    async with asyncio.timeout(5):
        await follower.caught_up.wait()
    await follower.stop()
