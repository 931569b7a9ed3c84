"""State is never turned back: not by records read again, nor by a worker that woke up late."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import streaming
from pipeline.app import new_app
from pipeline.settings import Settings
from pipeline.streaming import App, Chunk, StateError, StateTable, _within

PARTITION = 1


@dataclass
class Kept:
    """A changelog record."""

    offset: int
    key: bytes
    value: bytes | None
    timestamp: int = 0


@dataclass
class Message:
    """What a table asks of a message."""

    value: Chunk


@dataclass
class Event:
    """What a table is given in recovery."""

    message: Message


class Log:
    """A changelog partition in memory: what a producer writes and recovery reads."""

    def __init__(self) -> None:
        self.records: list[Kept] = []

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes, bytes | None]]
    ) -> list[range]:
        first = len(self.records)
        self.records += [Kept(first + n, key, value) for n, (key, value) in enumerate(records)]
        return [range(first, len(self.records))]

    def compacted(self) -> list[Kept]:
        """The last record of each key, and no tombstones: as a compacted topic may be."""
        last = {record.key: record for record in self.records}
        return [record for record in last.values() if record.value is not None]


def restore(table: StateTable[list[int]], records: Sequence[Kept], pieces: int = 3) -> None:
    """Let a table read `records`, some at a time."""
    for at in range(0, len(records), pieces):
        chunk = Chunk("changelog", PARTITION, records[at : at + pieces])
        table.apply_changelog_batch([Event(Message(chunk))])  # type: ignore[list-item]


def counting_table(app: App, log: Log, number: int) -> StateTable[list[int]]:
    """A table of counters: of two versions the higher count is further."""
    return StateTable(
        app,
        name=f"counts-{number}",
        source=f"counted-{number}",
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
    restore(table, log.compacted() if compacted else log.records)
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
    restore(table, log.records)
    assert table.of(PARTITION)[b"a"] is live


async def test_state_of_a_newer_form_stops_the_worker_and_a_field_more_does_not(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    await count(worker(app, log), b"a", 1)
    with monkeypatch.context() as newer:
        newer.setattr(streaming, "STATE_FORMAT", 2)
        ahead = worker(app, log)
        await count(ahead, b"a", 2)
        assert worker(app, log).of(PARTITION)[b"a"] == [2]
    stopped: list[BaseException] = []

    async def stop(name: str, error: BaseException) -> None:
        stopped.append(error)

    monkeypatch.setattr(app, "stop_on_failure", stop)
    monkeypatch.setattr(app, "unfit", False)  # is put back afterwards
    with pytest.raises(StateError, match="written by a newer version"):
        worker(app, log)
    await asyncio.sleep(0)
    assert len(stopped) == 1
    assert not app.settled


async def test_partitions_whose_state_is_anothers_are_not_handed_out(app: App) -> None:
    table = worker(app, Log())
    number = numbers[app]
    ours, others = TP(f"counted-{number}", PARTITION), TP(f"counted-{number}", PARTITION + 1)
    assert not app.holds_state_of(ours)
    app.tables.recovery.active_tps.add(TP(table.changelog_topic_name, PARTITION))
    assert app.holds_state_of(ours)
    assert not app.holds_state_of(others)
    assert app.holds_state_of(TP("a topic without state", PARTITION))


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


def changelog(table: StateTable[list[int]]) -> TP:
    """The changelog partition that the tests are about."""
    return TP(table.changelog_topic_name, PARTITION)


async def rebalance(table: StateTable[list[int]], log: Log) -> None:
    """What happens in a rebalance that leaves a worker its partition."""
    await table.on_rebalance({changelog(table)}, set(), set())
    read = table.persisted_offset(changelog(table))
    restore(table, log.records[0 if read is None else read :])  # Faust reads the last one again


async def test_what_a_worker_wrote_itself_it_does_not_read_again(app: App) -> None:
    log = Log()
    table = worker(app, log)
    assert table.persisted_offset(changelog(table)) is None
    await count(table, b"a", 1)
    await count(table, b"b", 1)
    assert table.persisted_offset(changelog(table)) == 1


async def test_what_somebody_wrote_in_between_it_does_read(app: App) -> None:
    log = Log()
    first = worker(app, log)
    await count(first, b"a", 1)
    await count(worker(app, log), b"b", 7)
    await count(first, b"a", 2)  # the one that lost the partition, and does not know
    assert first.persisted_offset(changelog(first)) == 0
    await rebalance(first, log)
    assert first.of(PARTITION) == {b"a": [2], b"b": [7]}
    assert first.persisted_offset(changelog(first)) == 2


@pytest.fixture
def standbys(app: App, monkeypatch: pytest.MonkeyPatch) -> set[TP]:
    """The partitions that the worker is a standby for; a test changes it."""
    partitions: set[TP] = set()
    monkeypatch.setattr(app.assignor, "assigned_standbys", lambda: partitions)
    return partitions


async def test_a_standby_is_not_seen_until_the_partition_is_its_own(
    app: App, standbys: set[TP]
) -> None:
    log = Log()
    owner, table = worker(app, log), worker(app, Log())
    tp = changelog(table)
    standbys.add(tp)
    await table.on_rebalance({tp}, set(), {tp})
    await count(owner, b"a", 1)
    restore(table, log.records)
    assert table.held == {}
    standbys.clear()
    await table.on_rebalance({tp}, set(), set())
    assert table.held == {PARTITION: {b"a": [1]}}
    assert table.persisted_offset(tp) == 0


async def test_an_owner_that_becomes_a_standby_forgets_what_it_holds(
    app: App, standbys: set[TP]
) -> None:
    table = worker(app, Log())
    await count(table, b"a", 1)
    tp = changelog(table)
    standbys.add(tp)
    await table.on_rebalance({tp}, set(), set())
    standbys.clear()
    await table.on_rebalance({tp}, set(), set())
    assert dict(table.held) == {}
    assert table.persisted_offset(tp) is None


async def test_a_partition_that_was_anothers_in_between_is_written_under_a_new_name(
    app: App,
) -> None:
    log = Log()
    first = worker(app, log)
    await count(first, b"a", 1)
    second = worker(app, log)  # first lost it, and does not know
    await rebalance(first, log)  # it is its own again
    await count(first, b"a", 5)
    await count(second, b"a", 2)  # now second does not know: it deletes the version it has read
    assert worker(app, log, compacted=True).of(PARTITION) == {b"a": [5]}


@settings(deadline=None)
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
        if random.random() < 0.2:
            # One that had the partition has it again, and never knew that it had not.
            workers.append(workers.pop(random.randrange(len(workers))))
            await rebalance(workers[-1], log)
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
