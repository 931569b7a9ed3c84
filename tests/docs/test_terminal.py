"""The reader of the pages notices what is not as they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.blocks import blocks
from tests.docs.terminal import DocumentedError, Terminal, not_shown


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("sent 104 events", "gapwatch: sent 7 events to gapwatch.events"),
        ("a  table   row", "a table row"),
        ("firing… expected", "firing: North, 8 posts, 0.1 expected"),
        ("…24 h…", "the last 24 h of it"),
    ],
)
def test_figures_spaces_and_what_is_left_out_may_differ(shown: str, printed: str) -> None:
    assert not_shown([shown], f"before\n{printed}\nafter") is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("sent 104 events", "sent no events"), ("one … two", "one\ntwo"), ("[kafka]", "k")],
)
def test_words_may_not(shown: str, printed: str) -> None:
    assert not_shown([shown], printed) == shown


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```sh\nfalse\n```\n",
        "```sh\nfalse | true; nothing-of-that-name\n```\n",
        "<!-- ends: ready -->\n```sh\necho steady\n```\n",
    ],
    ids=["other words", "exit code", "no such command", "never ready"],
)
def test_what_does_not_come_out_is_told_with_its_place(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.terminal.read", lambda _: f"# A page\n\n{page}")
    terminal = Terminal(tmp_path)
    with pytest.raises(DocumentedError, match=r"a-page\.md:"):
        terminal.follow("a-page.md")
    terminal.close()


def test_files_commands_and_folders_are_as_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (
        '```sh\nmkdir inner\ncd inner\n```\n\n```text title="words.txt"\nfirst\n```\n\n'
        "```console\n$ cat words.txt\nfirst\n$ echo a \\\n>   b\na b\n```\n"
    )
    monkeypatch.setattr("tests.docs.terminal.read", lambda _: page)
    terminal = Terminal(tmp_path)
    terminal.follow("a-page.md")
    assert (tmp_path / "home" / "inner" / "words.txt").read_text() == "first\n"


def test_a_block_knows_its_line_title_and_directives() -> None:
    page = (
        '# A\n\n<!-- not run: for a reason -->\n```toml title="a.toml"\nb = 1\n```\n\n'
        "```sh\nc\n```\n"
    )
    first, second = blocks("a.md", page)
    assert (first.place, first.title, first.directives) == (
        "a.md:4", "a.toml", {"not run": "for a reason"},
    )  # fmt: skip
    assert (second.place, second.directives, second.commands) == ("a.md:8", {}, [("c\n", [])])
