"""Reading what is published, and printing it: as a table, or as JSON for machines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.broker.client import wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.snapshot import read_compacted

PIPE_COLUMNS: Final = 250

T = TypeVar("T")


def published(ctx: Context, topic: str, kind: type[T]) -> list[T]:
    """The records that stand in one of our compacted topics.

    Raises:
        BrokerError: They cannot be read.
    """
    settings = ctx.settings

    async def go() -> list[T]:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        return await read_compacted(settings, topic, kind)

    return asyncio.run(go())


def print_json(records: Iterable[object]) -> None:
    """One JSON object a line."""
    for record in records:
        click.echo(msgspec.json.encode(record))


def print_table(table: Table, nothing: str) -> None:
    """The table, or that there is `nothing` to show."""
    if table.row_count:
        # A pipe has no width to fit: let every column have what it needs.
        (Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)).print(table)
    else:
        say(nothing)


def when(moment: datetime) -> str:
    """A moment in local time."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
