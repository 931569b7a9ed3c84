"""Labelled files: every documented form is read, every mistake named by line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.labelled import LabelledError, LabelledPost, read_labelled


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "posts.tsv"


def read(file: Path, content: str | bytes) -> list[LabelledPost]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_labelled(file)


def test_a_table_of_heads(file: Path) -> None:
    posts = read(
        file,
        "source\tid\tgap\tsuggestion\tdisputed\ttext\n"
        'reviews\t1\tnegative\t0\tgap=none\t"said ""never""\tand\nleft"\n'
        "\t2\t\t1\t\tadd a lid\n",
    )
    assert posts == [
        LabelledPost('said "never"\tand\nleft', {"gap": "negative", "suggestion": "0"}, "reviews"),
        LabelledPost("add a lid", {"suggestion": "1"}),
    ]


def test_a_table_of_sentiments(file: Path) -> None:
    assert read(file, "label\ttext\npositive\tfine\n") == [
        LabelledPost("fine", {"sentiment": "positive"})
    ]


def test_a_table_of_complaints(file: Path) -> None:
    assert read(file, "label\tdomain\ttext\nother\tfood\tfine\n") == [
        LabelledPost("fine", {"complaint": "other"}, "food")
    ]


def test_commas_a_byte_order_mark_and_windows_lines(file: Path) -> None:
    assert read(file, '\ufefftext,stage\r\n"so, so",creation\r\n\r\n') == [
        LabelledPost("so, so", {"stage": "creation"})
    ]


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    posts = read(file, '{"text": "fine", "suggestion": 0, "gap": null, "source": "x"}\n\n')
    assert posts == [LabelledPost("fine", {"suggestion": "0"}, "x")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 1: the header must name a column `text`, and either some of sentiment, stage"),
        ("text\nfine\n", r"line 1: the header must name"),
        ("gap\nnone\n", r"line 1: the header must name"),
        ("text\tgap\n", r"posts\.tsv: has no rows"),
        (
            "text\tgap\na\tnone\nb\tbad\n",
            r"line 3, column gap: 'bad' is none of negative, none, positive",
        ),
        (
            "text\tlabel\na\tgreat\n",
            r"column label: 'great' is none of negative, neutral, positive, other, complaint",
        ),
        ("text\tgap\na\n", r"line 2: 1 columns, but the header has 2"),
        ('text\tgap\n"a\tnone\n', r"line 2: unexpected end of data \(CSV quoting\)"),
        ('text\tgap\n"a" b\tnone\n', r"line 2: .* expected after .* \(CSV quoting\)"),
        (b"text\tgap\ncaf\xe9\tnone\n", r"posts\.tsv: is not UTF-8 text \(byte 12\)"),
    ],
)
def test_mistakes_are_named(file: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(LabelledError, match=message):
        read(file, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fine\n", "line 1: is no JSON object with a string `text`"),
        ('{"text": "a", "gap": "none"}\n{"txt": "b"}\n', "line 2: is no JSON object"),
        ('{"text": "a", "stage": "create"}\n', "line 1, column stage: 'create' is none of"),
        ("[" * 100_000 + "\n", "line 1: is no JSON object"),
    ],
)
def test_mistakes_in_json_lines_are_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(LabelledError, match=message):
        read(tmp_path / "posts.jsonl", content)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(LabelledError, match=r"posts\.tsv: cannot be read: No such file"):
        read_labelled(file)
