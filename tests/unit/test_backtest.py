"""Backtests of a series: judged as if live, and bad files told by line, matter and remedy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from pipeline.backtest import Judged, PlotError, Row, backtest, plot, read_series, summary
from pipeline.cli.backtest import backtest_command
from pipeline.cli.main import Context
from pipeline.sources.files import SourceError

START = datetime(2026, 3, 2, tzinfo=UTC)


def rows(days: int, spike_at: int | None = None, minutes: int = 5) -> list[Row]:
    """Some days of about twenty each five minutes, a burst at one row."""
    random = Random(4)
    return [
        Row(
            f"{START + timedelta(minutes=minutes * n):%Y-%m-%d %H:%M:%S}",
            START + timedelta(minutes=minutes * n),
            random.randint(14, 26) + (400 if n == spike_at else 0),
        )
        for n in range(days * 24 * 60 // minutes)
    ]


def as_csv(series: list[Row]) -> str:
    """The file that holds it."""
    return "timestamp,value\n" + "".join(f"{row.timestamp},{row.value}\n" for row in series)


def test_a_burst_is_a_spike_in_its_row_and_not_again_while_nothing_changes() -> None:
    judged = list(backtest(rows(8, spike_at=2000)))
    assert [number for number, row in enumerate(judged) if row.spike] == [2000]
    assert judged[2000].score > 0.9
    assert judged[1999].expected == pytest.approx(20, rel=0.1)
    assert judged[1999].usual[0] < 20 < judged[1999].usual[1]
    assert max(row.score for row in judged[2001:]) < 0.5
    assert summary(judged).spikes == 1
    assert summary(judged).per_week == pytest.approx(1 / summary(judged).weeks)


def test_rows_do_not_depend_on_those_that_follow() -> None:
    series = rows(4, spike_at=900)
    whole = list(backtest(series))
    for length in (1, 2, 13, 300, 901, 1000):
        assert list(backtest(series[:length])) == whole[:length]
    other = [*series[:1000], *rows(4, spike_at=1001)[1000:]]
    assert list(backtest(other))[:1000] == whole[:1000]


def test_a_larger_budget_gives_no_fewer_spikes() -> None:
    random = Random(8)
    series = [Row("", row.at, int(20 * random.lognormvariate(0, 0.8))) for row in rows(21)]
    few, many = (
        sum(row.spike for row in backtest(series, budget=budget)) for budget in (0.2, 20.0)
    )
    assert few <= many
    assert many > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column timestamp and no column value"),
        ("timestamp,count\n", "line 1: no column value"),
        ("timestamp,value\n", "no rows below the header"),
        ("timestamp,value\n2026-01-01,1\n2026-01-02,x\n", "line 3: value 'x' is not a number"),
        ("timestamp,value\n2026-01-01,\n", "line 2: value '' is not a number"),
        ("timestamp,value\n2026-01-01\n", "line 2: value '' is not a number"),
        ("timestamp,value\n2026-01-01,-1\n", "line 2: value '-1' is no count"),
        ("timestamp,value\n2026-01-01,nan\n", "line 2: value 'nan' is no count"),
        ("timestamp,value\nyesterday,1\n", "line 2: timestamp 'yesterday' cannot be read"),
        (
            "timestamp,value\n2026-01-02,1\n2026-01-01,1\n",
            "line 3: 2026-01-01 does not come after 2026-01-02",
        ),
        (
            "timestamp,value\n2026-01-01 00:00,1\n2026-01-01 00:05,1\n2026-01-01 00:15,1\n",
            "line 4: 0:10:00 after the row before, where the first rows are 0:05:00 apart",
        ),
    ],
)
def test_a_bad_file_is_told_where_and_why(text: str, said: str) -> None:
    with pytest.raises(SourceError) as told:
        read_series(io.StringIO(text), "counts.csv")
    assert str(told.value).startswith("counts.csv")
    assert said in str(told.value)


@pytest.mark.parametrize(
    "timestamp", ["2026-03-02T00:00:00Z", "2026-03-02 01:00:00+01:00", "2026-03-02", "1772409600"]
)
def test_timestamps_are_read_as_people_write_them(timestamp: str) -> None:
    (row,) = read_series(io.StringIO(f"value, timestamp\n3.0,{timestamp}\n"), "-")
    assert (row.at, row.value, row.timestamp) == (START, 3, timestamp)


def run(file: str, *options: str) -> tuple[str, str]:
    """What the command writes on standard output and standard error."""
    result = CliRunner().invoke(backtest_command, [file, *options], obj=Context(None))
    assert result.exception is None, result.output
    return result.stdout, result.stderr


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "counts.csv"
    path.write_text(as_csv(rows(8, spike_at=2000)))
    return str(path)


def test_the_command_prints_a_row_for_each_row(file: str) -> None:
    out, err = run(file)
    found = list(csv.DictReader(io.StringIO(out)))
    assert list(found[0]) == ["timestamp", "value", "expected", "score", "spike"]
    assert len(found) == 8 * 288
    assert [row["timestamp"] for row in found if row["spike"] == "1"] == [found[2000]["timestamp"]]
    assert all((float(row["score"]) >= 0.5) == (row["spike"] == "1") for row in found)
    assert "1 spikes" in err and "2,304 rows" in err


def test_the_command_prints_json_and_writes_files(file: str, tmp_path: Path) -> None:
    out, _ = run(file, "--json", "--budget", "2")
    assert json.loads(out.splitlines()[2000])["spike"] == 1
    written = tmp_path / "out.csv"
    assert run(file, "--out", str(written))[0] == ""
    assert written.read_text() == run(file)[0]


def judged_row(value: float, spike: bool) -> Judged:
    return Judged(Row("", START + timedelta(hours=value), value), value, (0, value), 0.5, spike)


def is_png(raw: bytes) -> bool:
    return raw.startswith(b"\x89PNG")


def is_html(raw: bytes) -> bool:
    return (
        raw.startswith(b"<!doctype html>") and b"&lt;counts&gt;" in raw and b"<counts>" not in raw
    )


@pytest.mark.parametrize(("suffix", "good"), [(".png", is_png), (".html", is_html)])
def test_a_plot_is_drawn(tmp_path: Path, suffix: str, good: Callable[[bytes], bool]) -> None:
    out = tmp_path / f"plot{suffix}"
    plot([judged_row(n, n == 5) for n in range(1, 9)], "<counts>", out)
    assert good(out.read_bytes())


def test_a_plot_that_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [judged_row(1, False)]
    with pytest.raises(PlotError, match=r"choose of \.png"):
        plot(some, "x", tmp_path / "plot.gif")
    with pytest.raises(PlotError, match="cannot be written"):
        plot(some, "x", tmp_path / "no" / "plot.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(PlotError, match=r"gapwatch\[plot\]"):
        plot(some, "x", tmp_path / "plot.png")
