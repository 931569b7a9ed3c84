"""Markdown that generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape


def cell(text: str) -> str:
    """Text fit for a cell of a table; code with a `|` as HTML: Markdowns differ in escaping it."""
    text = re.sub(
        r"`([^`]*\|[^`]*)`",
        lambda found: f"<code>{escape(found[1])}</code>",
        " ".join(text.split()),
    )
    return text.replace("|", "&#124;")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells as they stand."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
