"""The measurements, and how each is made.

Workers run with the defaults a user gets, as `python -m pipeline run`, on topics of four
partitions. Where speeds are compared, the programs take turns (A B A B), so that a machine that
slows down slows down both; what is told is the median, with the single values beside it.

The broker runs on the same machine, so it takes from the worker what the bare loop has for itself.
How much was busy besides what is measured is told: on a quiet machine it is nothing for the loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.alerting import run_alerts
from benchmarks.latency import run_latency
from benchmarks.programs import run_program
from benchmarks.report import Row
from benchmarks.saturation import WorkerRun, preload, prepare, run_events, run_mentions
from benchmarks.workload import Workload, sample_posts
from pipeline.settings import KafkaSettings, ModelSettings

PARTS: Final = ("null", "model", "latency", "alert", "plain")

MICROSECONDS: Final = 200.0
RATIO: Final = 0.85
MEGABYTES: Final = 700.0
P99_MILLISECONDS: Final = 500.0
ALERT_SECONDS: Final = 1.0

_TURNS: Final = 2
_MODEL_SHARE: Final = 5
"""One in so many events is enough where the model takes most of the time."""

_PLAIN_SHARE: Final = 66
_LEAST: Final = 100

_LATENCY_SECONDS: Final = 30.0
_LATENCY_EVENTS: Final = 60_000
_LATENCY_RATE: Final = 0.5

_NOBODY: Final = '[[brands]]\nkey = "nobody"\nname = "Nobody of that name"\n'


class Suite:
    """The measurements of one run, in order.

    Args:
        folder: For settings files and the like.
        kafka: The broker.
        events: Events for the cheapest measurement; the others take a share of it.
        say: Told what is going on.
    """

    def __init__(
        self, folder: Path, kafka: KafkaSettings, *, events: int, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._kafka = kafka
        self._events = events
        self._say = say
        self._saturation: float | None = None
        """Distinct posts a second of the worker with the model."""

    def run(self, part: str) -> Iterator[Row]:
        """Measure a part; rows come as they are known."""
        parts: Mapping[str, Callable[[], Iterator[Row]]] = {
            "null": self.null,
            "model": self.model,
            "latency": self.latency,
            "alert": self.alert,
            "plain": self.plain,
        }
        yield from parts[part]()

    def null(self) -> Iterator[Row]:
        """What the pipeline costs: a worker whose classifier labels nothing.

        The parts of the cost come from two more runs: one with a brand nobody mentions, so that
        events are only taken in, and one on a copy of the mentions, so that they are only counted.
        """
        work = sample_posts(self._events)
        runs = []
        for turn in range(_TURNS):
            self._say(f"worker, null classifier: {len(work):,} events, {turn + 1} of {_TURNS}")
            run, settings = run_events(self._folder, self._kafka, work, model="null")
            runs.append(run)
        self._say("the same, second hop alone")
        counting = run_mentions(self._folder, self._kafka, settings)
        self._say("the same, no brand to find")
        brands = self._folder / "nobody.toml"
        brands.write_text(_NOBODY, encoding="utf-8")
        taking, _ = run_events(self._folder, self._kafka, work, model="null", brands_file=brands)

        costs = [run.microseconds() for run in runs]
        cost = median(costs)
        users = median(run.cpu.user / run.handled * 1e6 for run in runs)
        part = "worker, null classifier"
        yield Row(
            part,
            "CPU an event, both hops",
            f"{cost:.0f} µs",
            f"{_each(costs, '.0f')}; user {users:.0f}, system {cost - users:.0f}",
            f"≤ {MICROSECONDS:.0f} µs",
            cost <= MICROSECONDS,
            cost,
        )
        first = taking.microseconds()
        second = counting.microseconds() * work.mentions / len(work)
        yield Row(
            part, "  taking in", f"{first:.0f} µs", "read, find brands, drop repeats", value=first
        )
        yield Row(
            part,
            "  making mentions",
            f"{cost - first - second:.0f} µs",
            "labels, weight, sending; what the two others leave",
            value=cost - first - second,
        )
        yield Row(
            part, "  counting", f"{second:.0f} µs", "second hop: scores and spikes", value=second
        )
        speeds = [run.per_second for run in runs]
        yield Row(
            part,
            "at saturation",
            f"{median(speeds):,.0f} events/s",
            f"{_each(speeds, ',.0f')}; {runs[-1].batch:.0f} events a batch",
            value=median(speeds),
        )
        idle = median(run.idle for run in runs) * 100
        yield Row(part, "CPU without events", f"{idle:.1f} % of a core", "not in the figures above")

    def model(self) -> Iterator[Row]:
        """The worker with its model beside the bare model loop, taking turns.

        Once with distinct words only, once with reposts as the sample day has them, which both
        find in their caches.
        """
        count = max(_LEAST, self._events // _MODEL_SHARE)
        peaks = []
        for name, distinct in (("distinct posts", True), ("with reposts", False)):
            work = sample_posts(count, distinct=distinct)
            bare, runs = [], []
            for turn in range(_TURNS):
                at = f"{len(work):,} {name}, {turn + 1} of {_TURNS}"
                self._say(f"bare model loop: {at}")
                bare.append(self._bare(work))
                self._say(f"worker with model: {at}")
                runs.append(run_events(self._folder, self._kafka, work, model="default")[0])
            yield from self._compared(name, work, bare, runs)
            peaks += [run.peak_megabytes for run in runs]
            if distinct:
                self._saturation = median(run.per_second for run in runs)
        peak = max(peaks)
        yield Row(
            "worker with model",
            "peak memory",
            f"{peak:.0f} MB",
            f"{_each(peaks, '.0f')}; resident, start included",
            f"≤ {MEGABYTES:.0f} MB",
            peak <= MEGABYTES,
            peak,
        )

    def latency(self) -> Iterator[Row]:
        """Event to mention, at half of what the worker can do."""
        if self._saturation is None:
            work = sample_posts(max(_LEAST, self._events // _MODEL_SHARE), distinct=True)
            self._say(f"worker with model: {len(work):,} distinct posts, for its saturation")
            run, _ = run_events(self._folder, self._kafka, work, model="default")
            self._saturation = run.per_second
        rate = self._saturation * _LATENCY_RATE
        seconds = min(_LATENCY_SECONDS, _LATENCY_EVENTS / rate)
        self._say(f"latency: {rate:.0f} events/s for {seconds:.0f} s")
        # Some more than are sent, for the warm-up.
        work = sample_posts(int(rate * (seconds + 5)), distinct=True)
        found = run_latency(self._folder, self._kafka, work, rate=rate, seconds=seconds)
        part = "latency at half saturation"
        note = f"{found.rate:.0f} distinct posts/s, {found.mentions:,} mentions"
        if not found.kept_up:
            note += "; it fell behind, more were still to come"
        p99 = found.written["p99"]
        yield Row(
            part, "event → mention, p50", f"{found.written['p50']:.0f} ms", note,
            value=found.written["p50"],
        )  # fmt: skip
        yield Row(
            part,
            "event → mention, p99",
            f"{p99:.0f} ms",
            f"p95 {found.written['p95']:.0f}, longest {found.written['max']:.0f}",
            f"≤ {P99_MILLISECONDS:.0f} ms",
            found.kept_up and p99 <= P99_MILLISECONDS,
            p99,
        )
        yield Row(
            part,
            "… until another process has it, p99",
            f"{found.seen['p99']:.0f} ms",
            f"p50 {found.seen['p50']:.0f}",
            value=found.seen["p99"],
        )
        cost = found.cpu_microseconds
        yield Row(part, "CPU an event", f"{cost:,.0f} µs", "idle costs included", value=cost)

    def alert(self) -> Iterator[Row]:
        """From the event that makes a spike to the alert at a receiver."""
        self._say("alerts: brands spike, one after the other")
        found = run_alerts(self._folder, self._kafka)
        yield Row(
            "spike to webhook",
            "median",
            f"{found.median * 1000:.0f} ms",
            f"{len(found.seconds)} spikes, longest {max(found.seconds) * 1000:.0f} ms",
            f"≤ {ALERT_SECONDS * 1000:.0f} ms",
            found.median <= ALERT_SECONDS,
            found.median * 1000,
        )

    def plain(self) -> Iterator[Row]:
        """An aiokafka loop around a Hugging Face pipeline, as `benchmarks.plain` has it."""
        part = "aiokafka + transformers"
        missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
        if missing:
            note = f"{' and '.join(missing)} not installed: pip install 'gapwatch[torch]'"
            yield Row(part, "not measured", "–", note)
            return
        work = sample_posts(max(_LEAST, self._events // _PLAIN_SHARE), distinct=True)
        for batch, name in ((1, "one event at a time"), (32, "batches of 32")):
            self._say(f"aiokafka + transformers, {name}: {len(work)} distinct posts")
            config, settings = prepare(self._folder, self._kafka, model="null")
            preload(settings, work)
            found = run_program("plain", [str(config), str(len(work)), str(batch)])
            speed = found["events"] / found["seconds"]
            cost = found["cpu"] / found["events"] * 1e6
            note = f"CPU {cost:,.0f} µs an event, torch threads: {found['threads']}"
            note += f", {found['peak_megabytes']:.0f} MB"
            yield Row(part, name, f"{speed:.0f} events/s", note, value=speed)
            if self._saturation is not None:
                times = self._saturation / speed
                yield Row(
                    part,
                    "  worker with model ÷ this",
                    f"{times:.1f} ×",
                    "this: float, one head, random weights; the worker: int8, six heads",
                    value=times,
                )

    def _bare(self, work: Workload) -> Mapping[str, Any]:
        texts = self._folder / "texts.json"
        texts.write_text(json.dumps(work.texts), encoding="utf-8")
        return run_program("bare", [str(texts), str(ModelSettings().batch)])

    def _compared(
        self, name: str, work: Workload, bare: list[Mapping[str, Any]], runs: list[WorkerRun]
    ) -> Iterator[Row]:
        loop = [len(work) / result["seconds"] for result in bare]
        speeds = [run.per_second for run in runs]
        ratios = [worker / model for worker, model in zip(speeds, loop, strict=True)]
        cost = median(run.microseconds() for run in runs)
        model_cost = median(result["cpu"] / len(work) * 1e6 for result in bare)
        hits = bare[-1]["hit_share"]
        part = f"model, {name}"
        yield Row(
            part,
            "bare model loop",
            f"{median(loop):,.0f} posts/s",
            f"{_each(loop, ',.0f')}; CPU {model_cost:,.0f} µs a post, {hits:.0%} from its cache; "
            f"{median(result['others'] for result in bare):.2f} cores busy otherwise",
            value=median(loop),
        )
        yield Row(
            part,
            "worker with model",
            f"{median(speeds):,.0f} events/s",
            f"{_each(speeds, ',.0f')}; CPU {cost:,.0f} µs an event, "
            f"{runs[-1].cache_hit_share:.0%} from its cache, {runs[-1].batch:.0f} events a batch; "
            f"{median(run.others for run in runs):.2f} cores busy otherwise, broker included",
            value=median(speeds),
        )
        ratio = median(ratios)
        yield Row(
            part,
            "  worker ÷ bare loop",
            f"{ratio:.2f}",
            _each(ratios, ".2f"),
            f"≥ {RATIO:.2f}",
            ratio >= RATIO,
            ratio,
        )


def _each(values: list[float], form: str) -> str:
    return "runs " + ", ".join(f"{value:{form}}" for value in values)
