"""State is never turned back: not by records read again, nor by a worker that woke up late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from pipeline.app import new_app
from pipeline.settings import Settings
from pipeline.streaming import App, StateTable, _within

PARTITION = 1


@dataclass
class Message:
    """What a table asks of a changelog record."""

    key: bytes
    value: bytes | None
    partition: int = PARTITION


@dataclass
class Event:
    """What a table is given in recovery."""

    message: Message


class Log:
    """A changelog topic in memory: what a producer writes and recovery reads."""

    def __init__(self) -> None:
        self.records: list[Event] = []

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes, bytes | None]]
    ) -> None:
        self.records += [Event(Message(key, value, partition)) for key, value in records]

    def compacted(self) -> list[Event]:
        """The last record of each key, and no tombstones: as a compacted topic may be."""
        last = {event.message.key: event for event in self.records}
        return [e for e in last.values() if e.message.value is not None]


def counting_table(app: App, log: Log, number: int) -> StateTable[list[int]]:
    """A table of counters: of two versions the higher count is further."""
    return StateTable(
        app,
        name=f"counts-{number}",
        partitions=4,
        producer=log,  # type: ignore[arg-type]
        decode=lambda raw: [int(raw)],
        encode=lambda value: b"%d" % value[0],
        merge=max,
    )


@pytest.fixture(scope="module")
def app() -> App:
    return new_app(Settings())


def worker(app: App, log: Log, *, compacted: bool = False) -> StateTable[list[int]]:
    """A worker's table, restored from the log."""
    numbers[app] += 1
    table = counting_table(app, log, numbers[app])
    table.apply_changelog_batch(log.compacted() if compacted else log.records)
    return table


numbers: defaultdict[App, int] = defaultdict(int)


async def count(table: StateTable[list[int]], key: bytes, value: int) -> None:
    table.of(PARTITION).setdefault(key, [0])[0] = value
    await table.write(PARTITION, [key])


@pytest.mark.parametrize("compacted", [False, True])
async def test_a_worker_that_wakes_up_late_overwrites_nothing(app: App, compacted: bool) -> None:
    log = Log()
    first = worker(app, log)
    await count(first, b"a", 1)
    second = worker(app, log)
    await count(second, b"a", 2)
    await count(second, b"a", 9)
    await count(first, b"a", 3)  # it does not know that the partition is no longer its own
    assert worker(app, log, compacted=compacted).of(PARTITION) == {b"a": [9]}


async def test_the_further_one_is_taken_whoever_wrote_it(app: App) -> None:
    log = Log()
    first, second = worker(app, log), worker(app, log)
    await count(first, b"a", 5)
    await count(second, b"a", 2)
    assert worker(app, log).of(PARTITION) == {b"a": [5]}


async def test_others_versions_are_deleted_once_they_are_part_of_ones_own(app: App) -> None:
    log = Log()
    await count(worker(app, log), b"a", 1)
    await count(worker(app, log), b"a", 2)
    await count(worker(app, log), b"a", 3)
    assert len(log.compacted()) == 1


async def test_deleting_deletes_all_versions(app: App) -> None:
    log = Log()
    await count(worker(app, log), b"a", 1)
    second = worker(app, log)
    del second.of(PARTITION)[b"a"]
    await second.write(PARTITION, [b"a"])
    assert worker(app, log).of(PARTITION) == {}
    assert log.compacted() == []


async def test_reading_ones_own_records_again_turns_nothing_back(app: App) -> None:
    log = Log()
    table = worker(app, log)
    await count(table, b"a", 1)
    await count(table, b"a", 2)
    live = table.of(PARTITION)[b"a"]
    live[0] = 3  # in work, not yet written
    table.apply_changelog_batch(log.records)
    assert table.of(PARTITION)[b"a"] is live


async def test_partitions_that_leave_are_dropped(app: App) -> None:
    log = Log()
    table = worker(app, log)
    await count(table, b"a", 1)
    tp = TP(table.changelog_topic_name, PARTITION)
    await table.on_rebalance(set(), {tp}, set())
    assert dict(table.held) == {}
    # A chunk that was in work may still want to write: what is gone must not be deleted.
    await table.write(PARTITION, [b"a"])
    assert worker(app, log).of(PARTITION) == {b"a": [1]}


@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
async def test_nothing_an_owner_wrote_is_lost_whatever_its_predecessors_do(
    app: App, seed: int, steps: int, compacted: bool
) -> None:
    random = Random(seed)
    log = Log()
    workers: list[Any] = [worker(app, log)]
    written: dict[bytes, int] = {}
    for _ in range(steps):
        if random.random() < 0.2:
            workers.append(worker(app, log, compacted=compacted and random.random() < 0.5))
        # Commits are the owner's alone, so what an owner wrote must stay; what one that lost the
        # partition writes afterwards is counted again by the owner.
        table = random.choice((workers[-1], random.choice(workers)))
        key = random.choice((b"a", b"b@c"))
        value = table.of(PARTITION).get(key, [0])[0] + 1
        await count(table, key, value)
        if table is workers[-1]:
            written[key] = value
    restored = worker(app, log, compacted=compacted).of(PARTITION)
    assert all(restored[key][0] >= value for key, value in written.items())


@dataclass
class Written:
    """A record, as far as its time goes."""

    timestamp: int


@given(st.lists(st.integers(0, 10_000), max_size=40), st.integers(0, 5_000))
def test_chunks_hold_what_was_written_within_their_span_in_order(
    times: list[int], span: int
) -> None:
    records = [Written(time) for time in times]
    parts = list(_within(span, records))
    assert [record for part in parts for record in part] == records
    assert all(part for part in parts)
    for part in parts:
        assert max(record.timestamp for record in part) - part[0].timestamp <= span
