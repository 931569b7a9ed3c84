"""The command that tries thresholds out on the past: backtest."""

from __future__ import annotations

import csv
import io
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.table import Table

from pipeline.backtest import PLOTS, Judged, PlotError, backtest, plot, read_series, summary
from pipeline.cli.main import Context, say
from pipeline.cli.tables import print_json, print_table, when
from pipeline.sources.files import SourceError

COLUMNS = ("timestamp", "value", "expected", "score", "spike")


@click.command("backtest")
@click.argument("file", required=False)
@click.option("--events", metavar="FILE.jsonl",
              help="Instead of a series: events, through the whole pipeline, with the brands of "
              "the settings. Lists every alert that would have fired.")  # fmt: skip
@click.option("--budget", type=click.FloatRange(min=0, min_open=True),
              help="False alarms a week allowed: to the series, or to a brand. Default: 1, or "
              "alerts.false_alarms_per_week of the settings.")  # fmt: skip
@click.option("--min-count", type=click.IntRange(min=1),
              help="Less in a window is never a spike. Default: 8, or alerts.min_mentions of the "
              "settings.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False),
              help=f"Draw counts, expected band and spikes ({', '.join(PLOTS)}).")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the rows there instead of to standard output.")  # fmt: skip
@click.pass_obj
def backtest_command(
    ctx: Context,
    file: str | None,
    events: str | None,
    budget: float | None,
    min_count: int | None,
    as_json: bool,
    picture: Path | None,
    out: Path | None,
) -> None:
    """Show which alerts the past would have raised, before going live.

    FILE (or - for standard input) is a CSV file with the columns timestamp and value, one row for
    every interval of any fixed length. Each row is judged as if live, from itself and the rows
    before it: expected is what those led to expect, score the evidence from 0 to 1, and spike is 1
    in the row in which an alert would have been raised, or told to have grown. While it lasts and
    does not grow, rows are quiet.
    """
    if (file is None) == (events is None):
        raise click.UsageError("give a FILE with a series, or --events with a file of events")
    if events is not None:
        if picture or out:
            raise click.UsageError("--plot and --out are for a series, not for --events")
        _events(ctx, events, budget, min_count, as_json)
        return
    assert file is not None
    name = "standard input" if file == "-" else Path(file).name
    rows = read_series(_lines(file), name)
    judged = list(backtest(rows, budget=budget or 1.0, min_count=min_count or 8))
    _write(judged, as_json, out)
    if picture:
        plot(judged, name, picture)
    found = summary(judged)
    say(
        f"{found.rows:,} rows, {found.weeks:.1f} weeks: {found.spikes} spikes, "
        f"{found.per_week:.2f} a week, where chance was allowed {budget or 1.0:g}"
    )


def _lines(file: str) -> IO[str]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return io.StringIO(raw.decode("utf-8-sig"), newline="")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{file}: byte {error.start} is not UTF-8: save the file as CSV in UTF-8"
        ) from None


def _write(judged: list[Judged], as_json: bool, out: Path | None) -> None:
    text = io.StringIO(newline="")
    if as_json:
        encode = msgspec.json.Encoder().encode
        for row in judged:
            text.write(encode(dict(zip(COLUMNS, _cells(row), strict=True))).decode() + "\n")
    else:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in judged)
    if out is None:
        click.echo(text.getvalue(), nl=False)
        return
    try:
        out.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise PlotError(f"{out}: cannot be written: {error.strerror}") from None


def _cells(row: Judged) -> tuple[str, float, float, float, int]:
    return row.row.timestamp, row.row.value, round(row.expected, 2), row.score, int(row.spike)


def _events(
    ctx: Context, file: str, budget: float | None, min_count: int | None, as_json: bool
) -> None:
    from pipeline.rehearsal import rehearse

    settings = ctx.settings
    changes: dict[str, object] = {}
    if budget is not None:
        changes["false_alarms_per_week"] = budget
    if min_count is not None:
        changes["min_mentions"] = min_count
    if changes:
        alerts = settings.alerts.model_copy(update=changes)
        settings = settings.model_copy(update={"alerts": alerts})
    with ExitStack() as stack:
        try:
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise SourceError(f"{file}: cannot be read: {error.strerror}") from None
        found = rehearse(settings, stream, file)
    if as_json:
        print_json(found.alerts)
    else:
        table = Table("onset", "told", "until", "brand", "kind", "touchpoint", "team", "severity",
                      "seen", "expected", "share", "held back")  # fmt: skip
        for alert in found.alerts:
            table.add_row(
                when(alert.onset),
                when(found.told[alert.id]),
                when(alert.updated) if alert.status == "resolved" else alert.status,
                alert.brand_name,
                alert.kind,
                alert.touchpoint,
                alert.team,
                str(alert.severity),
                f"{alert.peak} at most in {alert.window_minutes} min",
                f"{alert.expected:.1f}",
                f"{alert.share:.0%}",
                alert.silenced or "",
            )
        print_table(table, "no alert would have fired")
    say(
        f"{found.events:,} events, {found.mentions:,} mentions, {found.rejected:,} rejected, "
        f"{found.weeks:.1f} weeks: {len(found.alerts)} alerts"
    )


COMMANDS = (backtest_command,)
