"""Commands that move or show data: send, classify, scores, alerts."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.registry import load_classifier
from pipeline.broker.client import wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.domain.buckets import WINDOWS
from pipeline.records import Alert, Score
from pipeline.sending import send_events
from pipeline.snapshot import read_compacted
from pipeline.sources.files import SourceError, read_events
from pipeline.topics import create_topics

CLASSIFY_TOGETHER = 256


def _open(file: str, stack: ExitStack) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None


@click.command()
@click.argument("file")
@click.option("--format", "format_", type=click.Choice(["auto", "jsonl", "csv"]), default="auto",
              show_default=True)  # fmt: skip
@click.option("--speed", type=click.FloatRange(min=0, min_open=True),
              help="Replay by event time, so many times faster than life. Default: at once.",
)  # fmt: skip
@click.pass_obj
def send(ctx: Context, file: str, format_: Literal["auto", "jsonl", "csv"],
         speed: float | None) -> None:  # fmt: skip
    """Send events from FILE (or - for standard input) into the events topic.

    JSONL: one event a line, sent byte for byte; what cannot be processed ends in the rejected
    topic with its reason. CSV: a header row names the columns. Sending a file twice is harmless:
    an id counts once within 24 hours.
    """
    settings = ctx.settings
    console = Console(stderr=True)
    with ExitStack() as stack:
        stream = _open(file, stack)
        bar = stack.enter_context(
            Progress(
                SpinnerColumn(),
                TextColumn("sending {task.description}"),
                TextColumn("{task.completed:,} events"),
                TextColumn("{task.fields[rate]:,.0f}/s"),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
        )
        task = bar.add_task(file, total=None, rate=0.0)
        started = time.monotonic()

        def sent(count: int) -> None:
            elapsed = max(time.monotonic() - started, 1e-9)
            bar.update(task, completed=count, rate=count / elapsed)

        async def go() -> int:
            await wait_for_broker(settings.kafka, say=say, timeout=30)
            await create_topics(settings, say=say)
            records = read_events(stream, name=file, format=format_)
            return await send_events(settings, records, speed=speed, on_sent=sent)

        count = asyncio.run(go())
    say(f"sent {count:,} events to {settings.topic('events')}")


@click.command()
@click.argument("file", default="-")
@click.option("--model", default="default", show_default=True, help="`default` or a folder.")
def classify(file: str, model: str) -> None:
    """Label posts from FILE or standard input; one JSON object a line, in input order.

    A line is a text, or a JSON object with a `text`.
    """
    classifier = load_classifier(model)
    try:
        with ExitStack() as stack:
            stream = _open(file, stack)
            for texts in _grouped(_texts(stream, file), CLASSIFY_TOGETHER):
                for labels in classifier.classify(texts):
                    click.echo(msgspec.json.encode(labels))
    finally:
        classifier.close()


def _texts(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, raw in enumerate(stream, 1):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line.startswith("{"):
            yield line
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise SourceError(
                f"{name}, line {number}: starts like JSON but is no object with a string `text`"
            )
        yield text


def _grouped(items: Iterator[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--brand", multiple=True, help="Only this brand (repeatable).")
@click.option("--window", type=click.Choice(list(WINDOWS)), multiple=True)
@click.pass_obj
def scores(ctx: Context, as_json: bool, brand: tuple[str, ...], window: tuple[str, ...]) -> None:
    """Show the latest published scores."""
    found = _read(ctx, "scores", Score)
    wanted = [
        score
        for score in found
        if (not brand or score.brand in brand) and (not window or score.window in window)
    ]
    order = list(WINDOWS)
    wanted.sort(key=lambda score: (score.brand, order.index(score.window)))
    if as_json:
        _print_json(wanted)
        return
    table = Table("brand", "window", "score", "mentions", "authors", "below expectation",
                  "above", "share of voice", "as of")  # fmt: skip
    for score in wanted:
        table.add_row(
            score.brand,
            score.window,
            "–" if score.score is None
            else f"{score.score:+.1f} ± {score.margin:.1f}" + (" (few)" if score.few else ""),
            str(score.mentions),
            str(score.authors),
            f"{score.gap.below:.1%}",
            f"{score.gap.above:.1%}",
            "–" if score.share_of_voice is None else f"{score.share_of_voice:.0%}",
            _when(score.as_of),
        )  # fmt: skip
    _print_table(table, "no scores yet: send events with `gapwatch send FILE`, with a worker up")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--all", "everything", is_flag=True, help="Resolved alerts too.")
@click.pass_obj
def alerts(ctx: Context, as_json: bool, everything: bool) -> None:
    """Show open alerts."""
    wanted = [
        alert for alert in _read(ctx, "alerts", Alert) if everything or alert.status != "resolved"
    ]
    wanted.sort(key=lambda alert: alert.updated, reverse=True)
    if as_json:
        _print_json(wanted)
        return
    table = Table("brand", "touchpoint", "team", "status", "since", "seen", "expected", "peak",
                  "share", "updated")  # fmt: skip
    for alert in wanted:
        table.add_row(
            alert.brand_name,
            alert.touchpoint,
            alert.team,
            alert.status,
            _when(alert.onset),
            f"{alert.seen} in {alert.window_minutes} min",
            f"{alert.expected:.1f}",
            str(alert.peak),
            f"{alert.share:.0%}",
            _when(alert.updated),
        )
    _print_table(table, "no alerts" if everything else "no open alerts")


def _read(ctx: Context, topic: str, kind: type[Any]) -> list[Any]:
    settings = ctx.settings

    async def go() -> list[Any]:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        return await read_compacted(settings, topic, kind)

    return asyncio.run(go())


def _print_json(records: list[Any]) -> None:
    for record in records:
        click.echo(msgspec.json.encode(record))


def _print_table(table: Table, nothing: str) -> None:
    if table.row_count:
        console = Console()
        # A pipe has no width to fit: let every column have what it needs.
        console.print(table, width=None if console.is_terminal else 200)
    else:
        say(nothing)


def _when(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


COMMANDS = (send, classify, scores, alerts)
