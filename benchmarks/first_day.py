"""`python -m benchmarks.first_day`: the whole pipeline on the first day it hears of its brands.

Sample days, each with two letdowns of known onset, go through classification, matching and
detection (`pipeline/rehearsal.py`) with nothing learnt before. Counted are the letdowns that were
told, how soon, by which touchpoint they are named in the end, and the false alarms.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from statistics import median

import click
import msgspec

from benchmarks.report import Row, show, show_json
from models.labels import Labels
from models.registry import load_classifier
from pipeline.rehearsal import Rehearsal, rehearse
from pipeline.sample import sample_brands_path, sample_day
from pipeline.sample.incidents import SHAPES, Shape
from pipeline.settings import load_settings

LETDOWNS = tuple(shape for shape in SHAPES if shape.cue != "delight")
LASTS = timedelta(hours=8)
"""An alarm of a letdown's brand so soon after its onset is of it."""

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
APART = timedelta(minutes=97)
"""Days end so far apart: at every time of the day, and of the hour."""


class Remembering:
    """A classifier that reads no text twice: days say much the same."""

    def __init__(self) -> None:
        self._classifier = load_classifier()
        self.version = self._classifier.version
        self._known: dict[str, Labels] = {}

    def classify(self, texts: Sequence[str]) -> list[Labels]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._classifier.classify(new), strict=True))
        return [self._known[text] for text in texts]

    def close(self) -> None:
        self._classifier.close()


class Tally:
    """What came of the days so far."""

    def __init__(self) -> None:
        self.days = 0
        self.delays: dict[str, list[float]] = {shape.brand: [] for shape in LETDOWNS}
        self.names: dict[str, Counter[str]] = {shape.brand: Counter() for shape in LETDOWNS}
        self.false = 0

    def add(self, found: Rehearsal, end: datetime) -> None:
        """Count a day's alerts; the first within a letdown's time is the one that found it."""
        self.days += 1
        seen: set[str] = set()
        for alert in found.alerts:
            told = found.told[alert.id]
            shape = _letdown(alert.brand, told, end)
            if shape is None:
                self.false += 1
            elif shape.brand not in seen:
                seen.add(shape.brand)
                self.delays[shape.brand].append(
                    (told - shape.onset(end, 24.0)).total_seconds() / 60
                )
                self.names[shape.brand][alert.touchpoint] += 1

    def rows(self, brands: int) -> Iterator[Row]:
        """The figures."""
        part = f"{self.days} first days"
        for brand, delays in self.delays.items():
            named = ", ".join(f"{name} {times}" for name, times in self.names[brand].most_common())
            soon = f"{median(delays):.0f} min" if delays else "never"
            note = f"median from its onset {soon}; named {named}"
            yield Row(part, f"letdown of {brand}, told", f"{len(delays)}", note)
        weekly = self.false / self.days / brands * 7
        note = f"{weekly:.2f} a brand and week"
        yield Row(part, f"false alarms, {brands} brands", f"{self.false}", note)


def _letdown(brand: str, told: datetime, end: datetime) -> Shape | None:
    for shape in LETDOWNS:
        onset = shape.onset(end, 24.0)
        if shape.brand == brand and onset <= told <= onset + LASTS:
            return shape
    return None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--days", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--events", type=click.IntRange(min=500), default=4000, show_default=True,
              help="Events a day, of all brands.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(days: int, events: int, as_json: bool) -> None:
    """See what a newcomer's first day is like: what is told, and what is false."""
    settings = load_settings(brands_file=str(sample_brands_path()))
    classifier, tally = Remembering(), Tally()
    for number in range(days):
        end = FIRST + number * APART
        day = sample_day(end=end, seed=number, events=events)
        stream = BytesIO(b"\n".join(msgspec.json.encode(event) for event in day))
        tally.add(rehearse(settings, stream, f"day {number}", classifier), end)
    classifier.close()
    rows = list(tally.rows(len(settings.brands)))
    (show_json if as_json else show)(sys.stdout, {}, rows)


if __name__ == "__main__":
    main()
