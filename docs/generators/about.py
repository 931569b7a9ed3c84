"""The page about the pages: how they are made and checked, and what of them is not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from docs.blocks import Block, blocks, pages, read
from docs.generators.markdown import cell, table

PAGE: Final = "documentation.md"

_SHOWN: Final = 4
"""Commands shown of those that share a reason."""

_HEAD: Final = """# About these pages

Written by `make docs`. `make site` builds them into `build/site/html`, for reading without a server
or a network, and fails where a link or an anchor leads nowhere or anything would be fetched from
elsewhere; so does a test. `make check` fails where a generated page is not as the code would write
it now. The builder is [Zensical](https://zensical.org/) (MIT), by the people of Material for
MkDocs, which it succeeds.

Generated from code: [settings](reference/settings.md), [commands](reference/commands.md),
[topics](reference/topics.md), [metrics](reference/metrics.md), the JSON Schemas, the picture in
[architecture](architecture.md), [what each channel shows](receivers-shown.md), and the list below.

## Commands are run

A test (`tests/docs`) reads the pages in the order of the navigation and does what they say, in one
folder, with a real broker and a real worker: it writes the files, types the commands, leaves what
stays in a terminal of its own, and compares what is printed with what is shown (figures may
differ; `…` is anything). Ports are its own, so that tests may run beside each other.

In prose and in blocks that are not run, every `gapwatch`, `make` and `python -m` is still held
against its parser: commands, options and choices must exist. So must every metric, topic and
setting that a page names, and blocks of settings must be accepted as settings.

## What is not run, and why

"""


def page(generated: Mapping[str, str]) -> str:
    """The page.

    Args:
        generated: Pages as they will be, where they are not so yet.
    """
    commands: dict[tuple[str, str], list[str]] = {}
    for block in skipped(generated):
        lines = commands.setdefault((block.page, block.directives["not run"]), [])
        lines += [each for each in _first_lines(block) if each not in lines]
    rows = [
        (f"[{page}]({page})", "<br>".join(cell(f"`{line}`") for line in _some(lines)), cell(reason))
        for (page, reason), lines in commands.items()
    ]
    return _HEAD + table(("page", "commands", "not run, because"), rows)


def skipped(generated: Mapping[str, str]) -> list[Block]:
    """Blocks of commands that are not run."""
    return [
        block
        for page in pages()
        if page != PAGE
        for block in blocks(page, generated.get(page) or read(page))
        if block.commands and "not run" in block.directives
    ]


def _first_lines(block: Block) -> list[str]:
    lines = [line for command, _ in block.commands for line in command.splitlines() if line]
    shown = (
        line.partition("  #")[0].removesuffix("\\").strip() for line in lines if line[0] != " "
    )
    return list(dict.fromkeys(shown))


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], "…"]
