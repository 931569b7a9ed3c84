"""How results are shown: rows of a table, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

NARROWEST = 120
"""Columns of output that goes to a file or pipe."""


@dataclass(frozen=True, slots=True)
class Row:
    """One result.

    Attributes:
        part: The part of the suite it is of.
        what: What was measured.
        figure: The result, with its unit.
        note: What is needed to judge it: single values, conditions.
        goal: What it should be; empty where it is only for comparison.
        met: Whether it is.
        value: The result as a number in the figure's unit.
    """

    part: str
    what: str
    figure: str
    note: str = ""
    goal: str = ""
    met: bool | None = None
    value: float | None = None


def show(out: TextIO, facts: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Print facts and rows for a reader."""
    console = Console(file=out, highlight=False)
    if not console.is_terminal:
        console = Console(file=out, highlight=False, width=NARROWEST)
    for name, fact in facts.items():
        console.print(f"{name:16} {escape(fact)}")
    table = Table("", "measured", "result", "goal", "", show_lines=False, pad_edge=False)
    table.columns[2].justify = "right"
    part = ""
    for row in rows:
        if part and row.part != part:
            table.add_section()
        goal = row.goal
        if row.met is not None:
            goal += " [green]met[/]" if row.met else " [red]missed[/]"
        name = "" if row.part == part else row.part
        table.add_row(name, escape(row.what), f"[bold]{row.figure}[/]", goal, escape(row.note))
        part = row.part
    console.print(table)


def show_json(out: TextIO, facts: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Print facts and rows for a program."""
    document = {"machine": dict(facts), "rows": [asdict(row) for row in rows]}
    print(json.dumps(document, indent=2, ensure_ascii=False), file=out)
