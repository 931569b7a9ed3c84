"""Values are decoded when they are asked for, and not before."""

from __future__ import annotations

import pytest

from pipeline.values import Values


class Decoder:
    """Counts what it decodes."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def __call__(self, raw: bytes) -> list[int]:
        self.decoded.append(raw)
        return [int(raw)]


@pytest.fixture
def decode() -> Decoder:
    return Decoder()


@pytest.fixture
def values(decode: Decoder) -> Values[list[int]]:
    return Values(decode, max)


def test_nothing_is_decoded_that_nobody_asks_for(
    values: Values[list[int]], decode: Decoder
) -> None:
    values.take(b"a", b"1", supersedes=False)
    values.take(b"b", b"1", supersedes=False)
    values.take(b"b", b"2", supersedes=True)
    assert set(values) == {b"a", b"b"}
    assert b"a" in values
    del values[b"a"]
    assert len(values) == 1
    assert decode.decoded == []


def test_what_was_asked_for_is_the_same_object_from_then_on(
    values: Values[list[int]], decode: Decoder
) -> None:
    values.take(b"a", b"1", supersedes=False)
    values[b"a"][0] = 7
    assert values[b"a"] == [7]
    assert values.get(b"a") is values[b"a"]
    assert dict(values.items()) == {b"a": [7]}
    assert decode.decoded == [b"1"]


def test_versions_are_merged(values: Values[list[int]]) -> None:
    values.take(b"a", b"5", supersedes=False)
    values.take(b"a", b"3", supersedes=False)
    assert values[b"a"] == [5]


def test_a_later_state_replaces_what_nobody_has_touched(values: Values[list[int]]) -> None:
    values.take(b"a", b"5", supersedes=False)
    values.take(b"a", b"3", supersedes=True)
    assert values[b"a"] == [3]


def test_a_value_in_use_is_never_replaced(values: Values[list[int]]) -> None:
    values.take(b"a", b"5", supersedes=False)
    live = values[b"a"]
    values.take(b"a", b"3", supersedes=True)
    assert values[b"a"] is live


def test_a_miss_is_a_miss(values: Values[list[int]]) -> None:
    assert values.get(b"a") is None
    assert values.get(b"a", 3) == 3
    with pytest.raises(KeyError):
        values[b"a"]
