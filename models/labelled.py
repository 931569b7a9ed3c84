"""Labelled posts from a file, to judge a classifier by: TSV, CSV or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from models.labels import HEADS

COMPLAINT: Final = "complaint"
"""Measured where a file tells complaints from other posts: a complaint is a negative gap."""

MEASURED: Final[dict[str, tuple[str, ...]]] = {**HEADS, COMPLAINT: ("other", COMPLAINT)}
"""What a file may label, and its values."""

_FORMS: Final = (
    f"a column `text`, and either some of {', '.join(HEADS)}, or `label` (a sentiment, or "
    "complaint/other)"
)


class LabelledError(Exception):
    """A file of labelled posts cannot be used; the message names file, line and column."""


@dataclass(frozen=True)
class LabelledPost:
    """A post and what people say of it.

    Attributes:
        labels: Head, or `complaint`, to value, for those that are labelled.
        source: Where the post is from, if told.
    """

    text: str
    labels: dict[str, str]
    source: str = ""


def read_labelled(path: Path) -> list[LabelledPost]:
    """Read a file of labelled posts.

    A table has a header and CSV quoting, and tabs (or else commas) between its columns: `text`, any
    of the six heads, `source`; other columns are ignored, and an empty field is no label. In a
    table with a column `label` it is the sentiment or `complaint`/`other`, and `domain` is the
    source. A file of JSON lines (`.jsonl`) has objects with these names.

    Raises:
        LabelledError: The file cannot be read, or a row cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _objects(file, path) if path.suffix == ".jsonl" else _table(file, path)
            posts = [_post(fields, f"{path}, line {line}") for line, fields in rows]
    except OSError as error:
        raise LabelledError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LabelledError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    if not posts:
        raise LabelledError(f"{path}: has no rows")
    return posts


def _table(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    start = file.readline()
    file.seek(0)
    reader = csv.reader(file, delimiter="\t" if "\t" in start else ",", strict=True)
    try:
        header = next(reader, [])
        labelled = set(header) & {*HEADS, "label"}
        if "text" not in header or not labelled:
            raise LabelledError(f"{path}, line 1: the header must name {_FORMS}")
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise LabelledError(
                    f"{path}, line {reader.line_num}: {len(fields)} columns, "
                    f"but the header has {len(header)}"
                )
            yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise LabelledError(f"{path}, line {reader.line_num}: {error} (CSV quoting)") from None


def _objects(file: IO[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
            raise LabelledError(f"{path}, line {number}: is no JSON object with a string `text`")
        yield number, fields


def _post(fields: Mapping[str, Any], place: str) -> LabelledPost:
    labels = {}
    for head in HEADS:
        if (value := _value(fields, head)) != "":
            labels[head] = _checked(value, head, HEADS[head], place)
    if (value := _value(fields, "label")) != "":
        accepted = (*HEADS["sentiment"], *MEASURED[COMPLAINT])
        value = _checked(value, "label", accepted, place)
        labels["sentiment" if value in HEADS["sentiment"] else COMPLAINT] = value
    source = _value(fields, "source") or _value(fields, "domain")
    return LabelledPost(fields["text"], labels, source)


def _value(fields: Mapping[str, Any], name: str) -> str:
    """A field as text: a number of a JSON object (`suggestion`) like its digits, null as empty."""
    value = fields.get(name)
    return "" if value is None else str(value).strip()


def _checked(value: str, column: str, accepted: tuple[str, ...], place: str) -> str:
    if value not in accepted:
        raise LabelledError(f"{place}, column {column}: {value!r} is none of {', '.join(accepted)}")
    return value
