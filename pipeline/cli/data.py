"""Commands that move or show data: send, sample, scores, alerts, replay."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipeline.broker.allowed import require_rights
from pipeline.broker.client import wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.cli.notify import undelivered
from pipeline.cli.silences import Moment
from pipeline.cli.tables import print_json, print_table, published, when
from pipeline.domain.buckets import WINDOWS
from pipeline.records import Alert, Score
from pipeline.rights import rights
from pipeline.sending import send_events
from pipeline.sources.files import SourceError, read_events
from pipeline.topics import create_topics


def open_input(file: str, stack: ExitStack) -> BinaryIO:
    """The file of that name, closed with `stack`, or standard input for `-`.

    Raises:
        SourceError: It cannot be read.
    """
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
        stream = open_input(file, stack)
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
            await require_rights(settings, rights("sender", settings))
            await create_topics(settings, say=say, only=("events",))
            records = read_events(stream, name=file, format=format_)
            return await send_events(settings, records, speed=speed, on_sent=sent)

        count = asyncio.run(go())
    say(f"sent {count:,} events to {settings.topic('events')}")


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=6000, show_default=True)
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=24.0,
              show_default=True, help="How long the day is.")  # fmt: skip
def sample(events: int, hours: float) -> None:
    """Print the sample day, ending now, one event a line: `gapwatch sample | gapwatch send -`.

    Three rival brands, their customers, a delivery gone wrong and a promise not kept, all invented.
    """
    from pipeline.sample import sample_day

    for event in sample_day(end=datetime.now(UTC), events=events, hours=hours):
        click.echo(json.dumps(event, ensure_ascii=False))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--brand", multiple=True, help="Only this brand (repeatable).")
@click.option("--window", type=click.Choice(list(WINDOWS)), multiple=True)
@click.pass_obj
def scores(ctx: Context, as_json: bool, brand: tuple[str, ...], window: tuple[str, ...]) -> None:
    """Show the latest published scores."""
    found = published(ctx, "scores", Score)
    wanted = [
        score
        for score in found
        if (not brand or score.brand in brand) and (not window or score.window in window)
    ]
    order = list(WINDOWS)
    wanted.sort(key=lambda score: (score.brand, order.index(score.window)))
    if as_json:
        print_json(wanted)
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
            when(score.as_of),
        )  # fmt: skip
    print_table(table, "no scores yet: send events with `gapwatch send FILE`, with a worker up")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--all", "everything", is_flag=True, help="Resolved alerts too.")
@click.pass_obj
def alerts(ctx: Context, as_json: bool, everything: bool) -> None:
    """Show open alerts."""
    wanted = [
        alert
        for alert in published(ctx, "alerts", Alert)
        if everything or alert.status != "resolved"
    ]
    wanted.sort(key=lambda alert: alert.updated, reverse=True)
    if as_json:
        print_json(wanted)
        return
    table = Table("alert", "severity", "team", "status", "since", "seen", "expected", "share",
                  "reach", "what is said", "updated")  # fmt: skip
    for alert in wanted:
        table.add_row(
            # Names and terms are other people's words: shown as they are, never as markup.
            Text(alert.id),
            str(alert.severity),
            alert.team,
            Text(_state(alert)),
            when(alert.onset),
            f"{alert.seen:,} in {alert.window_minutes} min",
            f"{alert.expected:,.1f}",
            f"{alert.share:.0%}",
            f"{alert.reach:,}",
            Text(", ".join(term.text for term in alert.terms[:3])),
            when(alert.updated),
        )
    print_table(table, "no alerts" if everything else "no open alerts")
    print_table(undelivered(ctx.settings), "all that was to be sent is delivered")


@click.command()
@click.option("--from", "since", type=Moment(), metavar="TIME",
              help="Count the hour of TIME and later ones anew. Default: all.")  # fmt: skip
@click.option("--scores-only", is_flag=True,
              help="Leave the detector what it has learnt, and alerts as they are.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def replay(ctx: Context, since: datetime | None, scores_only: bool, yes: bool) -> None:
    """Have events counted anew, as after a change of brands, weights or model.

    Stop the workers first, and start them afterwards: they read the events again. Scores of hours
    before TIME stay. The detector learns anew from what is read, and so from no more than that;
    alerts that it finds again have the ids they had, and nobody is told of them twice.
    """
    from pipeline.cluster import Cluster
    from pipeline.replaying import plan, replay

    settings = ctx.settings

    async def go() -> None:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        async with Cluster(settings) as cluster:
            found = await plan(cluster, since)
            hours = f"the hours since {when(found.moment)}" if found.since else "all there is"
            say(f"{found.events:,} events will be read again, and {hours} counted anew")
            if not yes:
                click.confirm("Go on?", abort=True, err=True)
            await replay(cluster, found, scores_only=scores_only, say=say)

    asyncio.run(go())
    say("done: start the workers")


def _state(alert: Alert) -> str:
    """Status, and who or what keeps it quiet."""
    words: list[str] = [alert.status]
    if alert.acknowledged:
        words.append(f"taken on by {alert.acknowledged}")
    if alert.silenced:
        words.append(f"silenced ({alert.silenced})")
    return ", ".join(words)


COMMANDS = (send, sample, scores, alerts, replay)
