"""A series of counts judged as if live: what would have been a spike, and when.

Row by row, each judged from itself and the rows before it alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pipeline.domain.spikes import WEEK, Detector
from pipeline.sources.files import SourceError

COLUMNS: Final = ("timestamp", "value")

PLOTS: Final = (".png", ".svg", ".pdf", ".html")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file: its timestamp as it stands there, read, and the count."""

    timestamp: str
    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A row as judged.

    Attributes:
        row: The row.
        expected: What the rows before led to expect.
        usual: Between what counts nobody would remark on.
        score: Evidence of a spike, from 0 to 1; while one lasts, of its growing.
        spike: An alert would have been raised here, or told to have grown: `score` ≥ 0.5.
    """

    row: Row
    expected: float
    usual: tuple[float, float]
    score: float
    spike: bool


def read_series(lines: Iterable[str], name: str) -> list[Row]:
    """Read a CSV file with columns `timestamp` and `value`; others are left aside.

    Args:
        lines: The file's lines.
        name: The file's name, for messages.

    Raises:
        SourceError: The file is not a series at a fixed interval; says where and what to do.
    """
    reader = csv.DictReader(lines)
    header = [column.strip() for column in reader.fieldnames or ()]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise SourceError(
            f"{name}, line 1: no column {' and no column '.join(missing)}: "
            "the first line must name the columns timestamp and value"
        )
    reader.fieldnames = header
    rows: list[Row] = []
    try:
        for cells in reader:
            rows.append(_row(cells, rows, f"{name}, line {reader.line_num}"))
    except csv.Error as error:
        raise SourceError(f"{name}, line {reader.line_num}: not legible as CSV: {error}") from None
    if not rows:
        raise SourceError(f"{name}: no rows below the header: nothing to judge")
    return rows


def _row(cells: dict[str, str | None], before: list[Row], place: str) -> Row:
    timestamp, value = ((cells[column] or "").strip() for column in COLUMNS)
    at = _time(timestamp, place)
    try:
        count = float(value)
    except ValueError:
        raise SourceError(f"{place}: value {value!r} is not a number: give a count") from None
    if not math.isfinite(count) or count < 0:
        raise SourceError(f"{place}: value {value!r} is no count: counts are 0 or more")
    if before:
        step = at - before[-1].at
        if step <= timedelta(0):
            raise SourceError(
                f"{place}: {timestamp} does not come after {before[-1].timestamp}, the row before: "
                "sort the rows by time, one row a time"
            )
        if len(before) > 1:
            usual = before[1].at - before[0].at
            if abs(step - usual) > usual / 100:
                raise SourceError(
                    f"{place}: {step} after the row before, where the first rows are {usual} "
                    "apart: give a row for every interval, with value 0 where nothing was counted"
                )
    return Row(timestamp, at, int(count) if count == int(count) else count)


def _time(timestamp: str, place: str) -> datetime:
    try:
        try:
            return datetime.fromtimestamp(float(timestamp), UTC)
        except ValueError:
            at = datetime.fromisoformat(timestamp)
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise SourceError(
            f"{place}: timestamp {timestamp!r} cannot be read: write it like 2026-03-01 18:05:00 "
            "(UTC unless it says otherwise) or as seconds since 1970"
        ) from None


def backtest(rows: Iterable[Row], *, budget: float = 1.0, min_count: int = 8) -> Iterator[Judged]:
    """Judge a series row by row.

    Args:
        rows: The series, at a fixed interval.
        budget: False alarms a week allowed.
        min_count: Less in a window is never a spike.
    """
    waiting = iter(rows)
    first = next(waiting, None)
    if first is None:
        return
    yield Judged(first, 0.0, (0.0, 0.0), 0.0, False)
    second = next(waiting, None)
    if second is None:
        return
    step = (second.at - first.at).total_seconds()
    detector = Detector(budget=budget, min_mentions=min_count, series=1, tick=step, rate=None)
    tick = round(first.at.timestamp() / step)
    past = detector.past(tick)
    detector.count(past, tick, first.value)
    row: Row | None = second
    while row is not None:
        tick += 1
        detector.count(past, tick, row.value)
        score = round(detector.judge(past, tick).news, 4)
        yield Judged(
            row, detector.expected(past, tick, 1), detector.band(past, tick), score, score >= 0.5
        )
        row = next(waiting, None)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backtest comes to.

    Attributes:
        rows: Rows judged.
        weeks: Time they span.
        spikes: Rows that were spikes.
    """

    rows: int
    weeks: float
    spikes: int

    @property
    def per_week(self) -> float:
        """Spikes a week."""
        return self.spikes / self.weeks if self.weeks else 0.0


def summary(judged: list[Judged]) -> Summary:
    """Sum up."""
    span = (judged[-1].row.at - judged[0].row.at).total_seconds() / WEEK if judged else 0.0
    return Summary(len(judged), span, sum(row.spike for row in judged))


class PlotError(SourceError):
    """A plot cannot be drawn; the message says what to do."""


def plot(judged: list[Judged], title: str, out: Path) -> None:
    """Draw counts, the expected band and the spikes.

    Args:
        judged: The rows.
        title: Stands above.
        out: Where to; its suffix, one of `PLOTS`, says as what.

    Raises:
        PlotError: Matplotlib is missing, or the file cannot be written.
    """
    if out.suffix not in PLOTS:
        raise PlotError(f"{out}: cannot draw {out.suffix or 'that'}: choose of {', '.join(PLOTS)}")
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotError("plots need Matplotlib: pip install 'gapwatch[plot]'") from None
    rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots()
    times = [row.row.at for row in judged]
    axes.fill_between(
        times,  # type: ignore[arg-type]
        [row.usual[0] for row in judged],
        [row.usual[1] for row in judged],
        color="#bcd4e6",
        linewidth=0,
        label="expected, ± 2 standard deviations",
    )
    axes.plot(times, [row.row.value for row in judged], color="#334155", lw=0.7, label="counted")  # type: ignore[arg-type]
    spikes = [row for row in judged if row.spike]
    axes.scatter(
        [row.row.at for row in spikes],  # type: ignore[arg-type]
        [row.row.value for row in spikes],
        color="#c2410c",
        zorder=3,
        s=36,
        marker="v",
        label="spike",
    )
    axes.set_title(title, loc="left")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    try:
        if out.suffix == ".html":
            _as_html(figure, title, out)
        else:
            figure.savefig(out, dpi=110)
    except OSError as error:
        raise PlotError(f"{out}: cannot be written: {error.strerror}") from None


def _as_html(figure: object, title: str, out: Path) -> None:
    from html import escape
    from io import StringIO

    drawing = StringIO()
    figure.savefig(drawing, format="svg")  # type: ignore[attr-defined]
    svg = drawing.getvalue()
    out.write_text(
        f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title>'
        f"{svg[svg.index('<svg') :]}",
        encoding="utf-8",
    )
