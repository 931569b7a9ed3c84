"""Saturation: all events are there before the worker starts; it takes them as fast as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import copy_topic, last_written
from benchmarks.machine import Cpu
from benchmarks.worker import Mark, Worker, write_settings
from benchmarks.workload import Workload
from pipeline.sending import send_events
from pipeline.settings import KafkaSettings, Settings
from pipeline.topics import changelog_topic, create_topics

PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What a worker did and used between being ready and having handled everything.

    Attributes:
        handled: Events (or mentions, where only those were there) handled in that time.
        seconds: From being ready to the last record it wrote, by that record's Kafka timestamp.
        cpu: CPU time used, less what it uses in as much time without events.
        idle: Share of a core it uses without events.
        peak_megabytes: The most memory it held, start included.
        batch: Mean events handled together.
        cache_hit_share: Share of texts whose labels were known from the same text before.
        others: Cores kept busy by everything else meanwhile: broker, benchmark, other load.
        broker: CPU time of the broker meanwhile, where asked for.
    """

    handled: float
    seconds: float
    cpu: Cpu
    idle: float
    peak_megabytes: float
    batch: float
    cache_hit_share: float
    others: float
    broker: Cpu

    @property
    def per_second(self) -> float:
        """Events handled a second."""
        return self.handled / self.seconds

    def microseconds(self, cpu: Cpu | None = None) -> float:
        """CPU time an event."""
        return (cpu or self.cpu).total / self.handled * 1e6


def prepare(
    folder: Path, kafka: KafkaSettings, *, model: str, brands_file: Path | None = None
) -> tuple[Path, Settings]:
    """Settings and topics for one worker."""
    config, settings = write_settings(folder, kafka, model=model, brands_file=brands_file)
    asyncio.run(create_topics(settings, say=lambda _: None))
    return config, settings


def preload(settings: Settings, work: Workload) -> None:
    """Put all events of `work` into the events topic."""
    asyncio.run(send_events(settings, work.records()))


def run_events(
    folder: Path,
    kafka: KafkaSettings,
    work: Workload,
    *,
    model: str,
    brands_file: Path | None = None,
    broker: int | None = None,
) -> tuple[WorkerRun, Settings]:
    """Measure a worker on the events of `work`; also returns where its topics are.

    Args:
        broker: The broker's process, to measure it too.
    """
    config, settings = prepare(folder, kafka, model=model, brands_file=brands_file)
    preload(settings, work)
    mentions = work.mentions if brands_file is None else 0

    def finished(mark: Mark) -> bool:
        counted = mark["mentions_counted_total"] + mark["replayed_total"] + mark["late_total"]
        return mark["events_total"] >= len(work) and counted >= mentions

    tables = ("buckets", "series", "repeats") if mentions else ("repeats",)
    topics = [changelog_topic(settings, table) for table in tables]
    with Worker(config, settings) as worker:
        run = _measure(worker, settings, finished, "events_total", topics, broker)
    return run, settings


def run_mentions(folder: Path, kafka: KafkaSettings, source: Settings) -> WorkerRun:
    """Measure a worker's second hop alone: on the mentions another worker made."""
    config, settings = prepare(folder, kafka, model="null")
    count = asyncio.run(copy_topic(source, settings, "mentions"))

    def finished(mark: Mark) -> bool:
        return mark["mentions_counted_total"] + mark["late_total"] >= count

    topics = [changelog_topic(settings, table) for table in ("buckets", "series")]
    with Worker(config, settings) as worker:
        return _measure(worker, settings, finished, "mentions_counted_total", topics, None)


def _measure(
    worker: Worker,
    settings: Settings,
    finished: Callable[[Mark], bool],
    counter: str,
    topics: list[str],
    broker: int | None,
) -> WorkerRun:
    ready, before = worker.ready(), _cpu(broker)
    done = worker.done(finished, PATIENCE)
    broker_cpu = _cpu(broker) - before
    wrote = asyncio.run(last_written(settings, topics))
    peak = worker.peak_megabytes()
    idle = worker.idle()
    batches = done["batch_size_count"]
    lookups = done["cache_lookups_total"]
    return WorkerRun(
        handled=done[counter] - ready[counter],
        seconds=wrote - ready.at,
        cpu=done.cpu - ready.cpu - idle * (done.at - ready.at),
        idle=idle.total,
        peak_megabytes=peak,
        batch=done["batch_size_sum"] / batches if batches else 0.0,
        cache_hit_share=done["cache_hits_total"] / lookups if lookups else 0.0,
        others=max(0.0, done.busy - ready.busy - (done.cpu - ready.cpu).total)
        / (done.at - ready.at),
        broker=broker_cpu,
    )


def _cpu(pid: int | None) -> Cpu:
    return Cpu.of(pid) if pid is not None else Cpu(0.0, 0.0)
