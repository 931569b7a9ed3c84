"""From bytes to an event, or to a dead letter that says why."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from pipeline.records import Event, Rejected, RejectReason
from pipeline.streaming import Record

_decode: Final = msgspec.json.Decoder(Event).decode

_HALF_CHARACTER: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
"""The first half of a surrogate pair without its second, as left by cutting text in UTF-16."""


class RefusedError(Exception):
    """An event cannot be processed."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: RejectReason = reason
        self.detail = detail


def read_event(raw: bytes | None, *, now: float, max_ahead: float, max_bytes: int) -> Event:
    """Decode and check an event.

    Args:
        raw: The record's value.
        now: When it came in, epoch seconds.
        max_ahead: Seconds an event may be published ahead of `now`.
        max_bytes: Largest record accepted.

    Raises:
        RefusedError: It cannot be processed; the reason is one of `records.RejectReason`.
    """
    if not raw:
        raise RefusedError("not_json", "the record is empty: send one JSON object an event")
    if len(raw) > max_bytes:
        raise RefusedError(
            "too_large", f"{len(raw)} bytes; at most {max_bytes} (intake.max_event_bytes)"
        )
    try:
        event = _decode(raw)
    except msgspec.ValidationError as error:
        raise RefusedError("invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _undecodable(raw, error) from None
    if not event.text and event.type is None:
        raise RefusedError("nothing_said", "neither `text` nor `type`: give at least one")
    ahead = event.published.timestamp() - now
    if ahead > max_ahead:
        raise RefusedError(
            "too_early",
            f"published {event.published.isoformat()} is {ahead:.0f} s after it came in; "
            f"at most {max_ahead:.0f} (intake.max_ahead)",
        )
    return event


def read_record(record: Record, *, max_ahead: float, max_bytes: int) -> Event:
    """As `read_event`, of a record in a log: the same whoever reads it, and whenever."""
    return read_event(record.value, now=came_in(record), max_ahead=max_ahead, max_bytes=max_bytes)


def _undecodable(raw: bytes, error: Exception) -> RefusedError:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as encoding:
        return RefusedError(
            "not_utf8", f"byte {encoding.start} is not UTF-8: send events as UTF-8 JSON"
        )
    if isinstance(error, RecursionError):
        return RefusedError("not_json", "nested too deeply: an event has few levels")
    if half := _HALF_CHARACTER.search(raw):
        return RefusedError(
            "not_json", f"{half[0].decode()} is half a surrogate pair (byte {half.start()})"
        )
    return RefusedError("not_json", str(error))


def dead_letter(refused: RefusedError, record: Record, topic: str, partition: int) -> Rejected:
    """The event whole, with its reason and its place in the log."""
    raw = record.value or b""
    text: str | None
    try:
        text, encoded = raw.decode("utf-8"), None
    except UnicodeDecodeError:
        text, encoded = None, b64encode(raw).decode("ascii")
    return Rejected(
        reason=refused.reason,
        detail=refused.detail,
        topic=topic,
        partition=partition,
        offset=record.offset,
        received=received_at(record),
        event=text,
        event_base64=encoded,
    )


def came_in(record: Record) -> float:
    """When a record was written, epoch seconds: by its Kafka timestamp, or now if it has none.

    What is decided by it is decided alike by every worker and in every replay, whatever their
    clocks say.
    """
    return record.timestamp / 1000 if record.timestamp > 0 else time.time()


def received_at(record: Record) -> datetime:
    """A record's Kafka timestamp; the epoch where a foreign producer gave none that can be."""
    try:
        return datetime.fromtimestamp(max(0, record.timestamp) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


class RejectWatch:
    """Notices that nearly everything is rejected, as after a bad deploy of a source."""

    SAMPLE: Final = 1000

    def __init__(self, max_share: float) -> None:
        self._max_share = max_share
        self._seen = 0
        self._rejected = 0
        self._reasons: dict[str, int] = {}

    def note(self, seen: int, reasons: Mapping[str, int]) -> str | None:
        """Count a batch; returns what is wrong once over the share of a thousand events."""
        self._seen += seen
        for reason, count in reasons.items():
            self._rejected += count
            self._reasons[reason] = self._reasons.get(reason, 0) + count
        if self._seen < self.SAMPLE:
            return None
        share = self._rejected / self._seen
        common = max(self._reasons.items(), key=lambda item: item[1], default=("", 0))
        seen, rejected = self._seen, self._rejected
        self._seen = self._rejected = 0
        self._reasons = {}
        if share <= self._max_share:
            return None
        return (
            f"{rejected} of the last {seen} events were rejected, most as {common[0]!r}: more than "
            f"intake.max_reject_share = {self._max_share:g} allows. Read why in the rejected "
            "topic, mend the source, then start again"
        )
