"""`python -m benchmarks.watching`: what one worker's watch over many brands costs.

CPU a mention (counting, judging, remembering; no Kafka), CPU of a minute passing, memory and state
of a brand. The texts are the sample day's, a number added so that no two are the same.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median

import click
import msgspec

from benchmarks.machine import machine
from benchmarks.report import Row, show, show_json
from models.labels import HEADS, NEUTRAL, TEAM_OF_TOUCHPOINT, Label, Labels
from pipeline.domain.alerts import State, Watch
from pipeline.domain.incident import Case
from pipeline.domain.lifecycle import Rules
from pipeline.domain.spikes import Detector
from pipeline.records import Actor, Event, Mention, Stamp
from pipeline.sample.texts import load_texts

START = datetime(2026, 3, 2, tzinfo=UTC)
RULES = Rules(
    min_mentions=8, min_share=0.1, resolve_after_minutes=30, cooldown_minutes=60,
    max_messages_per_hour=6,
)  # fmt: skip
TOUCHPOINTS = tuple(name for name in TEAM_OF_TOUCHPOINT if name != "none")
TEXTS = tuple(text.text for text in load_texts())

LABELS = {
    (gap, touchpoint): Labels(
        **{
            head: Label(value, {other: float(other == value) for other in HEADS[head]})
            for head, value in (NEUTRAL | {"gap": gap, "touchpoint": touchpoint}).items()
        }
    )
    for gap in ("negative", "none")
    for touchpoint in (*TOUCHPOINTS, "none")
}


class Talk:
    """Makes mentions, one after another, in the order of the log."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._number = 0

    def mention(self, brand: int, at: datetime, touchpoint: str | None) -> Mention:
        """A post about a brand; with a touchpoint, one that tells of a gap there."""
        rng, number = self._rng, self._number
        self._number += 1
        event = Event(
            id=f"e{number}",
            source="bench",
            published=at,
            text=f"{rng.choice(TEXTS)} ({number})",
            actor=Actor(f"a{rng.randrange(100_000)}", followers=int(rng.paretovariate(1) * 50)),
        )
        labels = LABELS["negative" if touchpoint else "none", touchpoint or "none"]
        return Mention(event, f"brand{brand}", labels, "none", 1.0, "bench", Stamp(0, number), at)

    def usual(self, brands: int, hours: int) -> Iterator[Mention]:
        """Hours of usual talk: each brand twice an hour, and a complaint at some touchpoint."""
        for hour in range(hours):
            for turn in range(3):
                for brand in range(brands):
                    seconds = hour * 3600 + turn * 1200 + brand * 1200 / brands
                    touchpoint = TOUCHPOINTS[(brand + hour) % 6] if turn == 2 else None
                    yield self.mention(brand, START + timedelta(seconds=seconds), touchpoint)

    def busy(self, start: datetime, count: int, complaints: float) -> list[Mention]:
        """A busy brand's mentions, one a second; a share of them complain about deliveries."""
        return [
            self.mention(
                0,
                start + timedelta(seconds=second),
                "delivery" if self._rng.random() < complaints else None,
            )
            for second in range(count)
        ]


def cpu_a_mention(watch: Watch, mentions: list[Mention]) -> float:
    """Microseconds of CPU a mention, time passing by the minute included."""
    before = 0
    started = time.process_time()
    for mention in mentions:
        now = mention.event.published.timestamp()
        if now // 60 != before:
            before = int(now // 60)
            watch.settle(now)
        watch.apply(mention, now)
    return (time.process_time() - started) / len(mentions) * 1e6


def resident_megabytes() -> float:
    """Memory this process holds now (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def a_watch() -> tuple[dict[bytes, State], Watch]:
    """A watch over nothing yet, and its state."""
    state: dict[bytes, State] = {}
    return state, Watch(state, RULES, Detector(budget=1.0, min_mentions=RULES.min_mentions))


def one_brand() -> Iterator[Row]:
    """CPU a mention of one busy brand, usual and in an incident."""
    talk = Talk(1)
    _, watch = a_watch()
    cpu_a_mention(watch, talk.busy(START, 40_000, 0.1))
    start = START + timedelta(seconds=40_000)
    usual = cpu_a_mention(watch, talk.busy(start, 10_000, 0.1))
    yield Row("one brand", "usual talk, a tenth of it complaints", f"{usual:.1f} µs a mention")
    start += timedelta(seconds=10_000)
    incident = cpu_a_mention(watch, talk.busy(start, 5_000, 0.9))
    note = f"{len(watch.open_alerts())} alert open"
    yield Row("", "an incident, nine of ten complain", f"{incident:.1f} µs a mention", note)


def many_brands(brands: int, hours: int) -> Iterator[Row]:
    """Memory, state and CPU of a watch over many brands."""
    gc.collect()
    empty = resident_megabytes()
    talk = Talk(2)
    state, watch = a_watch()
    spent, count, minute = 0.0, 0, 0
    for mention in talk.usual(brands, hours):
        now = mention.event.published.timestamp()
        started = time.process_time()
        if now // 60 != minute:
            minute = int(now // 60)
            watch.settle(now)
        watch.apply(mention, now)
        spent += time.process_time() - started
        count += 1
    part = f"{brands:,} brands"
    gc.collect()
    held = resident_megabytes() - empty
    note = f"{len(state):,} values: talk, words, case, series"
    yield Row(part, "CPU a mention, all brands alike", f"{spent / count * 1e6:.1f} µs", note)
    yield Row("", "memory held", f"{held:,.0f} MB", f"{held * 1e3 / brands:.1f} kB a brand")
    sizes: dict[str, list[int]] = {}
    for value in state.values():
        sizes.setdefault(type(value).__name__, []).append(len(msgspec.json.encode(value)))
    for name, found in sizes.items():
        note = f"{len(found):,} of them; largest {max(found):,} B"
        yield Row("", f"a {name} in the changelog", f"{median(found):,.0f} B", note)

    start = START + timedelta(hours=hours)
    for brand in range(brands // 100):
        for n in range(40):
            at = start + timedelta(seconds=n)
            watch.apply(talk.mention(brand, at, "delivery"), at.timestamp())
    opened = len(watch.open_alerts())
    passing = []
    for minutes in range(1, 31):
        started = time.process_time()
        watch.settle((start + timedelta(minutes=minutes)).timestamp())
        passing.append((time.process_time() - started) * 1e3)
    note = f"once a minute; {opened:,} alerts open, a brand in a hundred; most {max(passing):.0f}"
    yield Row("", "CPU of a minute passing", f"{median(passing):.0f} ms", note)
    largest = max(
        len(msgspec.json.encode(value)) for value in state.values() if isinstance(value, Case)
    )
    yield Row("", "largest case, an alert open", f"{largest:,} B")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--brands", type=click.IntRange(min=100), default=10_000, show_default=True)
@click.option("--hours", type=click.IntRange(min=7), default=12, show_default=True,
              help="Hours of usual talk, three mentions of each brand an hour.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(brands: int, hours: int, as_json: bool) -> None:
    """Measure what watching for alerts costs a worker, on this machine."""
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the figures come from /proc: Linux is needed")
    rows = [*many_brands(brands, hours), *one_brand()]
    (show_json if as_json else show)(sys.stdout, machine(), rows)


if __name__ == "__main__":
    main()
