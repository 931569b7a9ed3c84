"""Bytes to events: every bad input has a reason, a remedy and a whole dead letter."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.domain.intake import (
    RefusedError,
    RejectWatch,
    dead_letter,
    read_event,
    received_at,
)
from pipeline.records import MAX_TEXT, Event
from tests.builders import NOON, ARecord, at, raw_event

NOW = NOON.timestamp()
MAX_BYTES = 512 * 1024


def read(raw: bytes | None) -> Event:
    """Read an event at noon under the usual limits."""
    return read_event(raw, now=NOW, max_ahead=300.0, max_bytes=MAX_BYTES)


def refusal(raw: bytes | None) -> RefusedError:
    """Why an event is refused."""
    with pytest.raises(RefusedError) as caught:
        read(raw)
    return caught.value


BAD_INPUTS = [
    pytest.param(None, "not_json", "record is empty", id="no-value"),
    pytest.param(b"", "not_json", "record is empty", id="empty-record"),
    pytest.param(b"   ", "not_json", "truncated", id="blank"),
    pytest.param(b'{"id": "e1",', "not_json", "truncated", id="cut-off"),
    pytest.param(b"{'id': 'e1'}", "not_json", "malformed", id="single-quotes"),
    pytest.param(b"hello", "not_json", "malformed", id="plain-words"),
    pytest.param(raw_event() + b"}", "not_json", "trailing", id="trailing-characters"),
    pytest.param(b"null", "invalid", "Expected `object`, got `null`", id="null"),
    pytest.param(b"[1, 2]", "invalid", "Expected `object`, got `array`", id="array"),
    pytest.param(b"[" * 200_000, "invalid", "Expected `object`", id="deep-arrays"),
    pytest.param(
        b'{"extra": ' + b"[" * 200_000, "not_json", "nested too deeply", id="deep-in-extra-field"
    ),
    pytest.param(raw_event(id=None), "invalid", "`id`", id="missing-id"),
    pytest.param(raw_event(id=""), "invalid", "$.id", id="empty-id"),
    pytest.param(raw_event(id=17), "invalid", "$.id", id="number-for-id"),
    pytest.param(raw_event(source=None), "invalid", "`source`", id="missing-source"),
    pytest.param(raw_event(source="a b"), "invalid", "$.source", id="blank-in-source"),
    pytest.param(raw_event(published=None), "invalid", "`published`", id="missing-published"),
    pytest.param(
        raw_event(published="2024-03-04T12:00:00"), "invalid", "$.published", id="no-zone"
    ),
    pytest.param(raw_event(published="yesterday"), "invalid", "$.published", id="words-for-time"),
    pytest.param(raw_event(published=1709553600), "invalid", "$.published", id="number-for-time"),
    pytest.param(
        raw_event(published="12024-03-04T12:00:00Z"), "invalid", "$.published", id="absurd-year"
    ),
    pytest.param(
        raw_event(published="9999-12-31T23:59:59-23:59"), "too_early", "9999", id="last-year"
    ),
    pytest.param(
        raw_event(published=at(5.1).isoformat()),
        "too_early",
        "306 s after it came in",
        id="too-far-ahead",
    ),
    pytest.param(raw_event(type="Yodel"), "invalid", "'Yodel' - at `$.type`", id="unknown-type"),
    pytest.param(raw_event(text=None), "nothing_said", "`text` nor `type`", id="nothing-said"),
    pytest.param(raw_event(text=["a"]), "invalid", "$.text", id="array-for-text"),
    pytest.param(raw_event(actor="ann"), "invalid", "$.actor", id="word-for-actor"),
    pytest.param(raw_event(actor={"followers": -1}), "invalid", "$.actor.followers", id="negative"),
    pytest.param(
        raw_event(actor={"followers": 2**53 + 1}), "invalid", "$.actor.followers", id="huge-count"
    ),
    pytest.param(raw_event(text="a" * (MAX_TEXT + 1)), "invalid", "$.text", id="long-text"),
    pytest.param(raw_event(text="a" * 2**20), "too_large", "intake.max_event_bytes", id="1-MB"),
    pytest.param(b'{"id": "\xff\xfe"}', "not_utf8", "byte 8 is not UTF-8", id="not-utf-8"),
    pytest.param(
        raw_event().replace(b"North", b"N\xf6rd"), "not_utf8", "send events as UTF-8", id="latin-1"
    ),
    pytest.param(
        raw_event().replace(b"North", b"\xed\xa0\x80"), "not_utf8", "is not", id="raw-surrogate"
    ),
    pytest.param(raw_event(text="x\ud800"), "not_json", "surrogate", id="lone-surrogate-at-end"),
    pytest.param(raw_event(text="\ud800x"), "not_json", "surrogate", id="lone-high-surrogate"),
    pytest.param(raw_event(text="\udc00x"), "not_json", "surrogate", id="lone-low-surrogate"),
    pytest.param(raw_event(text="\ud800\ud800"), "not_json", "surrogate", id="two-high-surrogates"),
    pytest.param(raw_event(id="\udfff"), "not_json", "surrogate", id="lone-surrogate-in-id"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "reason", "detail"), BAD_INPUTS)
def test_bad_input_is_refused_with_its_reason_and_a_helpful_detail(
    raw: bytes | None, reason: str, detail: str
) -> None:
    refused = refusal(raw)
    assert refused.reason == reason
    assert detail in refused.detail
    assert len(refused.detail) < 300


@pytest.mark.parametrize(("raw", "reason", "detail"), BAD_INPUTS)
def test_a_dead_letter_keeps_the_bytes_whole(raw: bytes | None, reason: str, detail: str) -> None:
    letter = dead_letter(refusal(raw), ARecord(17, raw), "gapwatch.events", 3)
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (
        reason,
        "gapwatch.events",
        3,
        17,
    )
    assert letter.received == NOON
    assert (letter.event is None) != (letter.event_base64 is None)
    decoded = msgspec.json.decode(msgspec.json.encode(letter), type=type(letter))
    kept = (
        decoded.event.encode()
        if decoded.event is not None
        else b64decode(decoded.event_base64 or "")
    )
    assert kept == (raw or b"")


def test_bytes_that_are_not_text_are_kept_as_base64() -> None:
    raw = b'{"id": "\xff"}'
    letter = dead_letter(refusal(raw), ARecord(0, raw), "gapwatch.events", 0)
    assert letter.event is None
    assert b64decode(letter.event_base64 or "") == raw


ACCEPTED = [
    pytest.param(raw_event(), id="least"),
    pytest.param(raw_event(text=None, type="Like"), id="type-without-text"),
    pytest.param(raw_event(published="2024-03-04T14:00:00+02:00"), id="other-zone"),
    pytest.param(raw_event(published=at(5).isoformat()), id="just-not-too-far-ahead"),
    pytest.param(raw_event(published="0001-01-01T00:00:00+23:59"), id="first-year"),
    pytest.param(raw_event(text="a" * MAX_TEXT), id="longest-text"),
    pytest.param(raw_event(text="\U0001f600 \x00 \u202e"), id="odd-characters"),
    pytest.param(raw_event(extra={"deep": [[[]]]}), id="unknown-fields"),
    pytest.param(raw_event(actor={"id": "a", "followers": 2**53}), id="greatest-count"),
]  # fmt: skip


@pytest.mark.parametrize("raw", ACCEPTED)
def test_what_is_accepted_can_be_sent_on_unchanged(raw: bytes) -> None:
    event = read(raw)
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


@given(
    st.binary(max_size=200) | st.text(st.characters(codec=None)).map(lambda t: raw_event(text=t))
)
@example(raw_event(text="\ud83d\ude00"))
@settings(deadline=None)
def test_any_bytes_are_accepted_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        event = read(raw)
    except RefusedError as refused:
        letter = dead_letter(refused, ARecord(0, raw), "gapwatch.events", 0)
        msgspec.json.encode(letter)
    else:
        msgspec.json.encode(event)


def test_zones_do_not_matter_to_the_moment() -> None:
    assert read(raw_event(published="2024-03-04T14:00:00+02:00")).published == NOON


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1_709_553_600_123, datetime(2024, 3, 4, 12, 0, 0, 123_000, tzinfo=UTC)),
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (2**62, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_records_time_is_the_epoch_where_it_cannot_be(timestamp: int, expected: datetime) -> None:
    assert received_at(ARecord(0, b"", timestamp=timestamp)) == expected


def test_the_watch_bears_bad_events_up_to_the_share() -> None:
    watch = RejectWatch(0.5)
    assert watch.note(1000, {"not_json": 500}) is None


def test_the_watch_waits_for_a_thousand_events() -> None:
    watch = RejectWatch(0.5)
    assert watch.note(999, {"not_json": 999}) is None
    assert watch.note(1, {}) is not None


def test_the_watch_says_how_many_why_and_what_to_do() -> None:
    problem = RejectWatch(0.5).note(1000, {"not_json": 100, "invalid": 700})
    assert problem is not None
    for part in ("800 of the last 1000", "'invalid'", "intake.max_reject_share = 0.5", "mend"):
        assert part in problem


def test_the_watch_starts_anew_after_every_thousand() -> None:
    watch = RejectWatch(0.5)
    assert watch.note(1000, {"invalid": 400}) is None
    assert watch.note(600, {"invalid": 600}) is None
    assert watch.note(400, {}) is not None
    assert watch.note(1000, {"invalid": 400}) is None


def test_with_a_share_of_one_the_watch_never_objects() -> None:
    assert RejectWatch(1.0).note(1000, {"invalid": 1000}) is None
