"""Events from files and standard input: JSON Lines or CSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import chain
from pathlib import PurePath
from typing import Any, BinaryIO, Final, Literal

import msgspec

Format = Literal["jsonl", "csv", "auto"]

MAX_LINE: Final = 16 * 2**20
"""Longest line read, in bytes: as much as `intake.max_event_bytes` can be set to."""

_BOM: Final = b"\xef\xbb\xbf"
_SUFFIXES: Final[dict[str, Format]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_FIELDS: Final = (
    "id", "source", "published", "type", "text", "object", "lang", "url", "in_reply_to",
)  # fmt: skip
_ACTOR: Final = {"author": "name", "author_id": "id", "followers": "followers"}
_ENGAGEMENT: Final = ("likes", "reposts", "replies", "views")
_COUNTS: Final = {"followers", *_ENGAGEMENT}
COLUMNS: Final = (*_FIELDS, *_ACTOR, *_ENGAGEMENT)
"""Columns a CSV file may have."""

_IDENTITY: Final = ("source", "author_id", "author", "published", "type", "object", "text")
"""What tells events without an id apart."""


class SourceError(Exception):
    """A source cannot be read on; the message names it, the line and what to do."""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record for the events topic.

    Attributes:
        key: The event's id; for a value without a legible one, a hash of it.
        value: The event as JSON, or whatever stood in its place.
        published: Event time in epoch seconds; None where it cannot be read.
        line: Line of the source the event starts on, from 1.
    """

    key: bytes
    value: bytes
    published: float | None
    line: int


def read_events(stream: BinaryIO, *, name: str, format: Format = "auto") -> Iterator[SourceRecord]:
    """Read the events of a file, a line or row at a time.

    JSON Lines: every line that is not blank becomes a value byte for byte, legible or not.

    CSV: UTF-8 with a header row of `COLUMNS`, separated by commas; an empty cell is an absent
    field. Counts that are no whole numbers and bytes that are not UTF-8 go into the event as they
    stand. Without `id` it is derived from the event's content, so that equal rows are one event;
    without `source` it is the file's name.

    Args:
        stream: The file's bytes; read, not closed.
        name: The file's name, or `-` for standard input.
        format: `auto` goes by the name, and where that says nothing by the first line.

    Raises:
        SourceError: A line is over `MAX_LINE`, or a CSV file's header or quoting is wrong.
    """
    lines = _lines(stream, name)
    if format == "auto":
        format = _SUFFIXES.get(PurePath(name).suffix.lower(), "auto")
    if format == "auto":
        first = next(lines, b"")
        lines = chain([first], lines) if first else lines
        format = "csv" if _is_header(first) else "jsonl"
    return _read_csv(lines, name) if format == "csv" else _read_jsonl(lines)


async def pace(
    records: Iterable[SourceRecord],
    *,
    speed: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]],
) -> AsyncIterator[SourceRecord]:
    """Give records out in the rhythm of their event times, `speed` times as fast.

    The first dated record sets the start. Records that are late by it or have no time go at once;
    the order is kept.

    Args:
        records: What to give out; waiting for the next one blocks.
        speed: Seconds of event time a second; None is as fast as possible.
        clock: Seconds of a monotonic clock.
        sleep: Waits for so many seconds.

    Raises:
        ValueError: The speed is not above 0.
    """
    if speed is not None and not speed > 0:
        raise ValueError(f"speed {speed!r} must be above 0")
    start: tuple[float, float] | None = None
    for record in records:
        if speed is not None and record.published is not None:
            now = clock()
            if start is None:
                start = record.published, now
            first_published, started = start
            wait = started + (record.published - first_published) / speed - now
            if wait > 0:
                await sleep(wait)
        yield record


def _lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Lines with their ends; a byte order mark is no part of the first."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise SourceError(
                f"{name}: line {number} is over {MAX_LINE // 2**20} MiB, longer than any event; "
                "is the file JSON Lines or CSV?"
            )
        yield line.removeprefix(_BOM) if number == 1 else line


def _is_header(line: bytes) -> bool:
    if line.lstrip().startswith(b"{"):
        return False
    names = line.decode(errors="replace").replace('"', "").lower().split(",")
    return any(name.strip() in COLUMNS for name in names)


class _Head(msgspec.Struct):
    """What is read of a JSON event before it is sent; of any type, as it is not judged here."""

    id: Any = None
    published: Any = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode


def _read_jsonl(lines: Iterable[bytes]) -> Iterator[SourceRecord]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        yield record_of(line.removesuffix(b"\n").removesuffix(b"\r"), number)


def record_of(value: bytes, line: int) -> SourceRecord:
    """The record for one event in JSON, legible or not."""
    try:
        head = _decode_head(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        head = _Head()
    legible = isinstance(head.id, str) and head.id
    key = head.id.encode() if legible else _digest(value).encode()
    return SourceRecord(key, value, _epoch(head.published), line)


def _read_csv(lines: Iterable[bytes], name: str) -> Iterator[SourceRecord]:
    # What is not UTF-8 survives as surrogates, and is bytes again in the value.
    text = (line.decode("utf-8", "surrogateescape") for line in lines)
    rows = csv.reader(text, strict=True)
    columns: list[str] | None = None
    default_source = _source_of(name)
    before = 0
    try:
        for row in rows:
            number, before = before + 1, rows.line_num
            if not row:
                continue
            if columns is None:
                columns = _columns(row, name)
                continue
            if len(row) > len(columns):
                raise SourceError(
                    f"{name}: line {number} has {len(row)} cells and the header {len(columns)}; "
                    'a cell with a comma must stand in "quotes"'
                )
            cells = {column: cell for column, cell in zip(columns, row, strict=False) if cell}
            cells.setdefault("source", default_source)
            yield _record(cells, number)
    except csv.Error as error:
        raise SourceError(f"{name}: line {before + 1}: is not CSV: {error}") from None


def _columns(header: list[str], name: str) -> list[str]:
    columns = [column.strip().lower() for column in header]
    for given, column in zip(header, columns, strict=True):
        if column not in COLUMNS:
            shown = given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise SourceError(
                f"{name}: unknown column {shown!r}; accepted, in UTF-8 and separated by commas: "
                + ", ".join(COLUMNS)
            )
        if columns.count(column) > 1:
            raise SourceError(f"{name}: column {column!r} stands twice")
    if "published" not in columns or not {"text", "type"} & set(columns):
        raise SourceError(
            f"{name}: an event needs the column 'published' and one of 'text' and 'type'; "
            f"the header has {', '.join(columns)}"
        )
    return columns


def _record(cells: dict[str, str], line: int) -> SourceRecord:
    """Build the event of one CSV row, of which empty cells are left out."""
    if "id" not in cells:
        cells["id"] = _digest(_json([cells.get(part, "") for part in _IDENTITY]))
    values: dict[str, str | int] = {
        column: _count(cell) if column in _COUNTS else cell for column, cell in cells.items()
    }
    event: dict[str, Any] = {field: values[field] for field in _FIELDS if field in values}
    actor = {field: values[column] for column, field in _ACTOR.items() if column in values}
    engagement = {field: values[field] for field in _ENGAGEMENT if field in values}
    if actor:
        event["actor"] = actor
    if engagement:
        event["engagement"] = engagement
    key = cells["id"].encode("utf-8", "surrogateescape")
    return SourceRecord(key, _json(event), _epoch(cells.get("published")), line)


def _count(cell: str) -> int | str:
    """The count, or the cell as it stands: the pipeline says what is wrong with it."""
    digits = cell.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else cell


def _json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape")


def _epoch(published: object) -> float | None:
    """Epoch seconds of an RFC 3339 time with a zone; None for anything else."""
    if not isinstance(published, str):
        return None
    try:
        moment = msgspec.convert(published, datetime)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter where it was no UTF-8
        return None
    return moment.timestamp() if moment.tzinfo else None


def _digest(value: bytes) -> str:
    return blake2b(value, digest_size=16).hexdigest()


def _source_of(name: str) -> str:
    """A source's name from a file's: what the pattern of `Event.source` allows."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(name).stem).strip("-")[:64]
    return stem or ("stdin" if name == "-" else "file")
