"""The code blocks of pages, with what is said to whoever runs them.

A block of `sh` is a script, one of `console` a session: commands after `$ `, and what they print.
With a title it is the file of that name. A comment right before a block says how it is run:

    <!-- stays: TEXT -->      it goes on, in a terminal of its own, and is ready once it prints TEXT
    <!-- ends: TEXT -->       Ctrl-C once it prints TEXT
    <!-- until: TEXT -->      it is asked again until it prints TEXT
    <!-- shown by: COMMAND -->    the block is what a command that stays prints by and by
    <!-- needs: NAME -->      it is run where there is a `go`, or a `kafka`
    <!-- not run: REASON -->  only its programs and options are looked at
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parent
CONFIG: Final = DOCS.parent / "zensical.toml"

DIRECTIVES: Final = ("stays", "ends", "until", "shown by", "needs", "not run")

_FENCE: Final = re.compile(
    r"(?P<before>(?:^ *<!-- .+? -->\n\s*)*)"
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)(?P<options>[^\n`]*)\n"
    r"(?P<text>.*?)^ *(?P=fence) *$",
    re.S | re.M,
)
_COMMENT: Final = re.compile(r"<!-- (\w[\w ]*?): (.+?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: Path of the page below docs/.
        line: Of its opening fence, from 1.
        title: Name of the file it is, if it is one.
        directives: What stands in the comments before it, by `DIRECTIVES`.
    """

    page: str
    line: int
    language: str
    text: str
    title: str | None = None
    directives: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines it is shown to print; of a script, the whole and none."""
        if self.language == "sh":
            return [(self.text, [])]
        if self.language != "console":
            return []
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> "):
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
            elif line.strip():
                found[-1][1].append(line)
        return found


def blocks(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    for found in _FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', found["options"])
        indent = found["indent"]
        yield Block(
            page,
            text.count("\n", 0, found.start("fence")) + 1,
            found["language"],
            re.sub(rf"^{indent}", "", found["text"], flags=re.M),
            title and title[1],
            dict(_COMMENT.findall(found["before"])),
        )


def without_blocks(text: str) -> str:
    """A page's prose."""
    return _FENCE.sub("", text)


def pages() -> list[str]:
    """The pages of the site, in the order of its navigation, below docs/."""
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    return [page for page in _leaves(config["project"]["nav"]) if (DOCS / page).is_file()]


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
        return
    for entry in nav:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from _leaves(value)


def read(page: str) -> str:
    """A page's text."""
    return (DOCS / page).read_text(encoding="utf-8")
