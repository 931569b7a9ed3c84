from __future__ import annotations

import io
import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import Actor, Engagement, Event
from pipeline.sources import files
from pipeline.sources.files import (
    COLUMNS,
    Format,
    SourceError,
    SourceRecord,
    pace,
    read_events,
)


def read(
    content: bytes | str, name: str = "posts.csv", format: Format = "auto"
) -> list[SourceRecord]:
    data = content.encode() if isinstance(content, str) else content
    return list(read_events(io.BytesIO(data), name=name, format=format))


def read_jsonl(content: bytes | str) -> list[SourceRecord]:
    return read(content, "posts.jsonl")


def objects(records: list[SourceRecord]) -> list[Any]:
    return [json.loads(record.value) for record in records]


def digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).hexdigest().encode()


class TestJsonLines:
    def test_a_line_is_a_value(self) -> None:
        first = b'{"id":"a","published":"1970-01-01T00:00:01.5Z","more":[1, 2]}'
        second = b'{ "published":"1970-01-01T01:00:00+01:00", "id":"\xc3\xb6" }'
        assert read_jsonl(first + b"\n\n  \r\n" + second + b"\r\n") == [
            SourceRecord(b"a", first, 1.5, 1),
            SourceRecord("ö".encode(), second, 0.0, 4),
        ]

    @pytest.mark.parametrize(
        "line",
        [
            b"no json",
            b'{"id":"a"',
            b"[1]",
            b'{"id":"\xff"}',
            b'{"id":"\\ud800"}',
            b'{"id":7}',
            b'{"id":""}',
            b"{}",
            b"[" * 10_000,
            b"\x00",
        ],
    )
    def test_what_is_no_event_is_passed_on(self, line: bytes) -> None:
        assert read_jsonl(line) == [SourceRecord(digest(line), line, None, 1)]

    @pytest.mark.parametrize(
        "published", ["2025-01-01", "2025-01-01T00:00:00", "yesterday", 1735689600, None, {}]
    )
    def test_a_time_that_cannot_be_read_leaves_the_id(self, published: object) -> None:
        line = json.dumps({"published": published, "id": "a"}).encode()
        assert read_jsonl(line) == [SourceRecord(b"a", line, None, 1)]

    def test_a_byte_order_mark_is_no_part_of_the_event(self) -> None:
        assert read_jsonl(b'\xef\xbb\xbf{"id":"a"}\n')[0].value == b'{"id":"a"}'

    def test_a_line_without_end_is_not_read_into_memory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "MAX_LINE", 2**20)
        with pytest.raises(SourceError, match=r"posts\.jsonl: line 2 is over 1 MiB"):
            read_jsonl(b"{}\n" + b" " * (2**20 + 1))

    def test_lines_are_read_as_they_are_asked_for(self) -> None:
        stream = io.BytesIO(b'{"id":"a"}\n{"id":"b"}\n')
        records = read_events(stream, name="-", format="jsonl")
        next(records)
        assert stream.tell() == len(b'{"id":"a"}\n')

    @given(st.lists(st.binary()))
    def test_nothing_is_dropped(self, chunks: list[bytes]) -> None:
        lines = [b"first", *(chunk.replace(b"\n", b"").rstrip(b"\r") for chunk in chunks)]
        values = [record.value for record in read_jsonl(b"\n".join(lines))]
        assert values == [line for line in lines if line.strip()]


class TestCsv:
    def test_a_row_is_an_event(self) -> None:
        header = ",".join(COLUMNS)
        row = (
            '1,shop,1970-01-01T00:01:00Z,Create,"Hello, ""Löwe""\nbye",@lowe,en,https://x/1,0,'
            "jane,42,10,1,2,3, 4 "
        )
        (record,) = read(f"{header}\r\n{row}\r\n")
        assert record.key == b"1"
        assert record.published == 60.0
        event = msgspec.json.decode(record.value, type=Event)
        assert event == Event(
            id="1",
            source="shop",
            published=event.published,
            type="Create",
            text='Hello, "Löwe"\nbye',
            object="@lowe",
            lang="en",
            url="https://x/1",
            in_reply_to="0",
            actor=Actor(id="42", name="jane", followers=10),
            engagement=Engagement(likes=1, reposts=2, replies=3, views=4),
        )

    def test_empty_cells_are_absent(self) -> None:
        records = read("id,source,published,type,text,author,likes\n1,s,,Like,,,\n2,s\n")
        assert objects(records) == [
            {"id": "1", "source": "s", "type": "Like"},
            {"id": "2", "source": "s"},
        ]

    def test_the_header_may_be_quoted_spaced_capital_and_marked(self) -> None:
        (record,) = read(b'\xef\xbb\xbf"ID", Published ,TEXT\n1,now,hi\n')
        assert objects([record]) == [
            {"id": "1", "source": "posts", "published": "now", "text": "hi"}
        ]

    @pytest.mark.parametrize("cell", ["many", "1.5", "-1", "1_000", "١", "9" * 5000])
    def test_a_count_that_is_none_is_passed_on(self, cell: str) -> None:
        (event,) = objects(read(f"published,text,likes,followers\nnow,hi,{cell},{cell}\n"))
        assert event["engagement"] == {"likes": cell}
        assert event["actor"] == {"followers": cell}

    def test_bytes_that_are_no_text_are_passed_on(self) -> None:
        (record,) = read(b"id,published,text\n\xe9,now,L\xf6we\n")
        assert record.key == b"\xe9"
        assert b'"text":"L\xf6we"' in record.value

    def test_lines_are_counted_as_an_editor_does(self) -> None:
        records = read('published,text\nnow,"a\nb"\n\nnow,c\n')
        assert [record.line for record in records] == [2, 5]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("published,text,mood\n", "posts.csv: unknown column 'mood'; accepted.*: id, source,"),
            ("published;text\n", "unknown column 'published;text'.*separated by commas"),
            (b"\xff\xfei\x00d\x00", "unknown column .*accepted, in UTF-8"),
            ("published,text,Text\n", "column 'text' stands twice"),
            ("text\n", "needs the column 'published' and one of 'text' and 'type'.* has text"),
            ("published,likes\n", "one of 'text' and 'type'"),
            ("published,text\nnow,a,b\n", "line 2 has 3 cells and the header 2"),
            ('published,text\nnow,a\nnow,"b\nc\n', "line 3: is not CSV: unexpected end"),
            (f"published,text\nnow,{'a' * 200_000}\n", "line 2: is not CSV: field larger"),
        ],
    )
    def test_what_is_no_table_is_refused(self, content: bytes | str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            read(content)

    def test_rows_before_a_fault_are_given_out(self) -> None:
        records = read_events(io.BytesIO(b"published,text\nnow,a\nnow,b,c\n"), name="x.csv")
        assert next(records).line == 2
        with pytest.raises(SourceError):
            next(records)

    @given(st.text(st.characters(codec="utf-8"), min_size=1))
    def test_any_text_comes_through(self, text: str) -> None:
        quoted = text.replace('"', '""')
        (event,) = objects(read(f'id,published,text\n1,now,"{quoted}"\n'))
        assert event["text"] == text


class TestIdentity:
    HEADER = "source,author,published,text\n"

    def test_is_the_same_for_the_same_content(self) -> None:
        first, again = read(self.HEADER + "s,jane,now,hi\n" * 2)
        assert first.key == again.key == objects([first])[0]["id"].encode()
        (reordered,) = read("text,published,author,source\nhi,now,jane,s\n")
        assert reordered.key == first.key

    @pytest.mark.parametrize(
        "row",
        ["t,jane,now,hi", "s,june,now,hi", "s,jane,then,hi", "s,jane,now,ho", "s,,janenow,hi"],
    )
    def test_differs_with_the_content(self, row: str) -> None:
        first, other = read(f"{self.HEADER}s,jane,now,hi\n{row}\n")
        assert first.key != other.key

    def test_fills_an_empty_id(self) -> None:
        assert len(read("id,published,text\n,now,hi\n")[0].key) == 32


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("/data/my posts (März).csv", "my-posts-M-rz"),
        ("export.2025.csv", "export.2025"),
        ("-", "stdin"),
        ("日本.csv", "file"),
        ("x" * 100, "x" * 64),
    ],
)
def test_the_source_is_named_for_the_file(name: str, source: str) -> None:
    (event,) = objects(read("published,text\nnow,hi\n", name, "csv"))
    assert event["source"] == source
    assert objects(read("published,text,source\nnow,hi,s\n", name, "csv"))[0]["source"] == "s"


@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        ("a.CSV", b"published,text\n", 0),
        ("a.jsonl", b"published,text\n", 1),
        ("a.ndjson", b"published,text\n", 1),
        ("-", b"published,text\n", 0),
        ("-", b'\xef\xbb\xbf"Text",published\n', 0),
        ("-", b'{"id":"1","x":"a, text, b"}\n', 1),
        ("-", b"what is this\n{}\n", 2),
        ("-", b"", 0),
    ],
)
def test_the_format_is_told(name: str, content: bytes, values: int) -> None:
    assert len(read(content, name)) == values


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def dated(*times: float | None) -> Iterator[SourceRecord]:
    return (SourceRecord(b"", b"", time, line) for line, time in enumerate(times, start=1))


class TestPace:
    @pytest.mark.parametrize(
        ("speed", "times", "slept"),
        [
            (1.0, (50, 51, 51, 54), [1, 3]),
            (60.0, (0, 60, 180), [1, 2]),
            (0.5, (0, 1), [2]),
            (1.0, (None, 50, None, 52), [2]),
            (1.0, (50, 40, 51), [1]),
            (None, (0, 1000), []),
        ],
    )
    async def test_keeps_the_rhythm(
        self, speed: float | None, times: tuple[float | None, ...], slept: list[float]
    ) -> None:
        time = FakeTime()
        paced = pace(dated(*times), speed=speed, clock=time.clock, sleep=time.sleep)
        assert [record.published async for record in paced] == list(times)
        assert time.slept == slept

    async def test_makes_up_for_a_slow_receiver(self) -> None:
        time = FakeTime()
        async for record in pace(dated(0, 1, 4), speed=1, clock=time.clock, sleep=time.sleep):
            if record.published == 0:
                time.now += 3
        assert time.slept == [1]

    @pytest.mark.parametrize("speed", [0, -1, float("nan")])
    async def test_needs_a_speed(self, speed: float) -> None:
        time = FakeTime()
        with pytest.raises(ValueError, match="must be above 0"):
            await anext(pace(dated(0), speed=speed, clock=time.clock, sleep=time.sleep))
