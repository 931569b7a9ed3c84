"""`python -m benchmarks.scale`: what an event costs by model and mix, how several workers add up,
and from it what clusters need.

The first table is measured, side by side in one run on one machine with the broker on it; the
second is computed from the first by `benchmarks.sizing`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.brokers import Broker, Kind, bytes_of, start_broker
from benchmarks.growth import Growth, run_growth
from benchmarks.machine import Cpu, machine
from benchmarks.programs import run_program
from benchmarks.report import NARROWEST, Row, show
from benchmarks.saturation import WorkerRun, run_events, run_mentions
from benchmarks.sizing import REPLICATION, RETENTION_DAYS, UTILISATION, Costs, Mix, Sizing, sizing
from benchmarks.worker import BenchmarkError
from benchmarks.workload import sample_posts
from pipeline.broker import BrokerError
from pipeline.settings import Settings
from pipeline.topics import CHANGELOGS, changelog_topic

RATES: Final = (1_000, 10_000, 100_000)
MIXES: Final = (Mix(1.0, 0.25, 200), Mix(0.1, 0.25, 200))
"""Events chosen at the source, and a stream of which one in ten names a brand; a quarter reposts,
as in the sample day."""

LIMIT: Final = 500.0
"""Posts a second of the classifier that stands for one elsewhere."""

GROWTH_EVENTS: Final = {None: 200_000, LIMIT: 15_000}
TURNS: Final = 2

_NOBODY: Final = '[[brands]]\nkey = "nobody"\nname = "Nobody of that name"\n'


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--events", type=click.IntRange(min=1000), default=40_000, show_default=True,
              help="Events for the null classifier; the model gets a fifth of them.")  # fmt: skip
@click.option("--broker", type=click.Choice(["kafka", "embedded"]),
              help="Default: Apache Kafka where Java and Maven are, else embedded.")  # fmt: skip
@click.option("--growth", "growth_only", is_flag=True, help="Only one worker beside two.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(events: int, broker: Kind | None, growth_only: bool, as_json: bool) -> None:
    """Measure what an event costs and how workers add up; compute what clusters need."""
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the figures come from /proc: Linux is needed")
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{time.monotonic() - began:5.0f} s  {what}", err=True)

    facts = machine()
    rows: list[Row] = []
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapwatch-")))
            running = start_broker(broker, folder, stack, say)
            facts["broker"] = running.name
            scale = Scale(folder, running, events, say)
            parts = (scale.growth,) if growth_only else (scale.costs, scale.model, scale.growth)
            for part in parts:
                for row in part():
                    say(f"{row.part}: {row.what.strip()}: {row.figure}")
                    rows.append(row)
    except (BenchmarkError, BrokerError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    costs = None if growth_only else scale.summary()
    computed = [
        (rate, mix, remote, sizing(rate, costs, mix, remote=remote))
        for mix in MIXES
        for remote in (False, True)
        for rate in RATES
        if costs is not None
    ]
    if as_json:
        _print_json(facts, rows, costs, computed)
    else:
        show(sys.stdout, facts, rows)
        if computed:
            _show_computed(computed)


class Scale:
    """The measurements, in order."""

    def __init__(
        self, folder: Path, broker: Broker, events: int, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._broker = broker
        self._events = events
        self._say = say
        self._found: dict[str, float] = {}

    def costs(self) -> Iterator[Row]:
        """What an event costs without a model, where it goes, and how many bytes it makes."""
        work = sample_posts(self._events)
        self._say(f"null classifier: {len(work):,} events that name a brand")
        run, settings = self._run(work, "null")
        self._say("the same, second hop alone")
        counting = run_mentions(self._folder, self._broker.settings, settings)
        self._say("the same, none names a brand")
        nobody = self._folder / "nobody.toml"
        nobody.write_text(_NOBODY, encoding="utf-8")
        taking, _ = self._run(work, "null", brands_file=nobody)
        self._say("the steps, without Kafka")
        steps = run_program("steps", [])

        per_event = work.mentions / len(work)
        whole, event = run.microseconds(), taking.microseconds()
        count = counting.microseconds() * per_event
        broker = run.broker.total / run.handled * 1e6
        found = self._found
        found |= {
            "event": event,
            "mention": (whole - event) / per_event,
            "broker": broker / per_event,
            "publish": steps["publish"],
            "hear": steps["hear"],
            "score_bytes": steps["score_bytes"],
            "brand_bytes": steps["brand_bytes"]["300"],
        }
        part = "CPU an event, no model"
        yield _row(part, "that names a brand", whole, "µs", f"{run.per_second:,.0f} events/s")
        yield _row(part, "that names none", event, "µs", f"{taking.per_second:,.0f} events/s")
        making, decode = steps["make"] * per_event, steps["decode"] * per_event
        score, detect = steps["score"] * per_event, steps["detect"] * per_event
        part = "where it goes"
        yield _row(part, "classify: read, find brands", steps["take_in"], "µs")
        yield _row(part, "classify: make the mention", making, "µs")
        yield _row(part, "score: decode, count", decode + score, "µs")
        yield _row(part, "detect: decode, judge", decode + detect, "µs", "no gaps among them")
        yield _row(part, "Kafka client and Faust, first hop",
                   whole - count - steps["take_in"] - making, "µs")  # fmt: skip
        yield _row(part, "Kafka client and Faust, second hop",
                   count - 2 * decode - score - detect, "µs")  # fmt: skip
        yield _row(part, "broker, not replicated", broker, "µs", "in its own process")
        yield from self._bytes(settings, len(work), work.mentions)
        part = "state of a brand"
        for rate, size in steps["brand_bytes"].items():
            note = "as much as it ever takes" if rate == "300" else ""
            yield _row(part, f"with {rate} mentions an hour", size / 1e3, "kB", note)
        yield _row(part, "an author, in each hour he or she speaks", steps["author_bytes"],
                   "bytes", f"the first {steps['authors_most']} of an hour")  # fmt: skip
        part = "scores of a brand"
        note = "each second it is spoken of"
        yield _row(part, "to publish", steps["publish"], "µs", note)
        yield _row(part, "to hear, at every worker", steps["hear"], "µs", note)

    def model(self) -> Iterator[Row]:
        """What the model adds, with distinct posts and with reposts."""
        count = max(1000, self._events // 5)
        part = "CPU an event, int8 model"
        for name, distinct in (("distinct posts", True), ("a quarter reposted", False)):
            work = sample_posts(count, distinct=distinct)
            self._say(f"int8 model: {len(work):,} events, {name}")
            run, _ = self._run(work, "default")
            cost = run.microseconds()
            note = f"{run.per_second:,.0f} events/s, {1e6 / cost:,.0f} a core"
            yield _row(part, name, cost, "µs", note)
            if distinct:
                null = self._found["event"] + self._found["mention"] * work.mentions / len(work)
                self._found["model"] = cost - null

    def growth(self) -> Iterator[Row]:
        """One worker and two, taking turns."""
        for name, limit in (("null classifier", None), ("classifier elsewhere", LIMIT)):
            found: dict[int, list[Growth]] = {1: [], 2: []}
            for turn in range(TURNS):
                for workers in found:
                    self._say(f"{name}: {workers} of 2 workers, {turn + 1} of {TURNS}")
                    found[workers].append(self._grow(workers, limit))
            part = f"growth, {name}"
            for workers, runs in found.items():
                speeds = [run.per_second for run in runs]
                cores = median(run.worker_cores for run in runs)
                broker = median(run.broker_cores for run in runs)
                note = f"runs {', '.join(f'{speed:,.0f}' for speed in speeds)}; "
                note += f"cores: workers {cores:.2f}, broker {broker:.2f}"
                figure = f"{median(speeds):,.0f} events/s"
                yield Row(part, f"{workers} worker{'s' if workers > 1 else ''}", figure, note)
            ratios = [
                two.per_second / one.per_second for one, two in zip(*found.values(), strict=True)
            ]
            yield Row(part, "  2 workers ÷ 1", f"{median(ratios):.2f}",
                      "runs " + ", ".join(f"{ratio:.2f}" for ratio in ratios))  # fmt: skip

    def summary(self) -> Costs:
        """What the calculator takes."""
        return Costs(**self._found)

    def _grow(self, workers: int, limit: float | None) -> Growth:
        return run_growth(
            self._folder,
            self._broker.settings,
            lambda: Cpu.of(self._broker.pid),
            workers=workers,
            events=GROWTH_EVENTS[limit],
            limit=limit,
        )

    def _run(self, work: Any, model: str, **options: Any) -> tuple[WorkerRun, Settings]:
        return run_events(
            self._folder,
            self._broker.settings,
            work,
            model=model,
            broker=self._broker.pid,
            **options,
        )

    def _bytes(self, settings: Settings, events: int, mentions: int) -> Iterator[Row]:
        part = "bytes, keys and values"
        sizes = {}
        for topic in ("events", "mentions"):
            count, size = asyncio.run(bytes_of(settings, settings.topic(topic)))
            sizes[topic] = size / count
            yield _row(part, f"a record of {topic}", size / count, "bytes")
        written = 0
        for table in CHANGELOGS:
            count, size = asyncio.run(bytes_of(settings, changelog_topic(settings, table)))
            written += size
            if count:
                note = f"{count:,} records, {size / count:,.0f} bytes each"
                yield _row(part, f"state {table}, a mention", size / mentions, "bytes", note)
        self._found |= {
            "event_bytes": sizes["events"],
            "mention_bytes": sizes["mentions"],
            "state_bytes": written / mentions,
        }


def _row(part: str, what: str, value: float, unit: str, note: str = "") -> Row:
    form = ",.0f" if value >= 10 else ".1f"
    return Row(part, what, f"{value:{form}} {unit}", note, value=value)


_Computed = list[tuple[int, Mix, bool, Sizing]]


def _show_computed(computed: _Computed) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=NARROWEST)
    title = (
        f"Computed, not measured: replication {REPLICATION}, {RETENTION_DAYS} days kept, cores and "
        f"brokers {UTILISATION:.0%} busy"
    )
    columns = (
        "events/s", "name a brand", "model", "workers", "cores", "partitions", "written MB/s",
        "read MB/s", "disk GB", "broker cores", "state MB", "repeats known",
    )  # fmt: skip
    table = Table(*columns, title=title, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for rate, mix, remote, need in computed:
        table.add_row(
            f"{rate:,}", f"{mix.named:.0%}", "elsewhere" if remote else "int8", f"{need.workers:,}",
            f"{need.cores:,}", f"{need.partitions:,}", f"{need.written:,.1f}", f"{need.read:,.1f}",
            f"{need.disk:,.0f}", f"{need.broker_cores:,.1f}", f"{need.state:,.0f}",
            f"{need.repeats_hours * 60:,.0f} min",
        )  # fmt: skip
    console.print(table)


def _print_json(
    facts: dict[str, str], rows: list[Row], costs: Costs | None, computed: _Computed
) -> None:
    document = {
        "machine": facts,
        "rows": [asdict(row) for row in rows],
        "costs": asdict(costs) if costs else None,
        "computed": [
            {"rate": rate, "mix": asdict(mix), "remote": remote} | asdict(need)
            for rate, mix, remote, need in computed
        ],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
