"""Event ids: a replay is done again, a repeat is dropped, memory is bounded."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.domain.repeats import KEPT_SECONDS, Block, Repeats, hash_id

DAY = 24 * 3600.0


def block(ids: dict[str, int], seen: float = 0.0) -> Block:
    """A block of ids with their offsets."""
    return Block(seen, b"".join(map(hash_id, ids)), list(ids.values()))


def remembering(*blocks: Block, limit: int = 100) -> Repeats:
    """Ids remembered from blocks in this order."""
    repeats = Repeats(limit)
    for each in blocks:
        repeats.remember(str(each.offsets[0]).encode(), each)
    return repeats


@pytest.mark.parametrize(
    ("event_id", "offset", "is_repeat"),
    [
        ("a", 5, False),  # the same record again: a replay after a crash
        ("a", 9, True),  # the same id in another record: a source sent it twice
        ("a", 1, True),
        ("new", 9, False),
        ("elsewhere", 0, True),  # it came in the partition that this one was split off
    ],
)
def test_same_id_is_a_replay_at_its_offset_and_a_repeat_at_any_other(
    event_id: str, offset: int, is_repeat: bool
) -> None:
    known = remembering(block({"a": 5}), block({"elsewhere": -1}))
    assert known.is_repeat(hash_id(event_id), offset) is is_repeat


def test_the_first_offset_an_id_came_with_stays_its_offset() -> None:
    repeats = remembering(block({"a": 5}), block({"a": 9, "b": 10}))
    assert not repeats.is_repeat(hash_id("a"), 5)
    assert repeats.is_repeat(hash_id("a"), 9)
    assert hash_id("b") in repeats
    assert len(repeats) == 2


def test_ids_are_remembered_for_24_hours() -> None:
    repeats = remembering(block({"a": 1}, seen=0.0), block({"b": 2}, seen=60.0))
    assert KEPT_SECONDS == DAY
    assert repeats.forget(DAY - 1) == []
    assert repeats.forget(DAY) == [b"1"]
    assert hash_id("a") not in repeats
    assert hash_id("b") in repeats
    assert repeats.forget(DAY + 60) == [b"2"]
    assert len(repeats) == 0
    assert repeats.forget(DAY + 60) == []


def test_beyond_the_limit_the_oldest_are_forgotten_first() -> None:
    repeats = remembering(
        block({"a": 1, "b": 2}), block({"c": 3, "d": 4}), block({"e": 5}), limit=3
    )
    assert repeats.forget(0.0) == [b"1"]
    assert len(repeats) == 3
    assert [name for name in "abcde" if hash_id(name) in repeats] == ["c", "d", "e"]


def test_a_limit_of_zero_remembers_nothing() -> None:
    repeats = remembering(block({"a": 1}), limit=0)
    assert repeats.forget(0.0) == [b"1"]
    assert not repeats.is_repeat(hash_id("a"), 2)


def test_forgetting_a_block_spares_an_id_that_another_block_gave() -> None:
    repeats = remembering(block({"a": 1}, seen=0.0), block({"a": 7}, seen=60.0))
    repeats.forget(DAY)
    assert not repeats.is_repeat(hash_id("a"), 7)
    # The first is forgotten, and the block that is left no longer vouches for the id.
    assert hash_id("a") not in repeats


def test_blocks_restored_in_any_order_remember_the_same() -> None:
    blocks = {
        b"10": block({"b": 10}, seen=70.0),
        b"9": block({"a": 9}, seen=50.0),
        b"101": block({"a": 101}, seen=90.0),
    }
    decoded = msgspec.json.decode(msgspec.json.encode(blocks), type=dict[bytes, Block])
    repeats = Repeats(100, decoded)
    assert not repeats.is_repeat(hash_id("a"), 9)
    assert repeats.is_repeat(hash_id("a"), 101)
    assert repeats.forget(DAY + 50) == [b"9"]
    assert repeats.forget(DAY + 90) == [b"10", b"101"]


def test_hashes_are_eight_bytes_and_tell_ids_apart() -> None:
    ids = ["", "a", "A", "https://social.example/1", "\ud800", "名" * 500]
    hashes = {hash_id(each) for each in ids}
    assert len(hashes) == len(ids)
    assert {len(each) for each in hashes} == {8}
