"""`python -m benchmarks.restore`: how long a worker takes to have its state back.

A worker starts with nothing but its topics. Beside one without state this shows what restoring
costs: time until it is ready to work, CPU and memory. Then one of two workers is killed while
events come in, without and with standbys. The classifier is the null one, so that nothing of it is
a model's.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import click

from benchmarks.brokers import Kind, start_broker
from benchmarks.failover import run_failover
from benchmarks.machine import machine
from benchmarks.report import Row, show, show_json
from benchmarks.saturation import prepare
from benchmarks.state import Plan, Written, plan, write_state
from benchmarks.worker import BenchmarkError, Worker
from pipeline.broker import BrokerError
from pipeline.settings import KafkaSettings, Settings

KEYS: Final = "0,10_000,1_000_000"
KILLED: Final = "10_000,1_000_000"

PATIENCE: Final = 600.0


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    try:
        return [int(number) for number in value.split(",") if number]
    except ValueError:
        raise click.BadParameter("give whole numbers with commas between them") from None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keys", callback=_numbers, default=KEYS, show_default=True,
              help="State keys in all, one measurement for each number.")  # fmt: skip
@click.option("--killed", callback=_numbers, default=KILLED, show_default=True,
              help="State keys in all when one of two workers is killed.")  # fmt: skip
@click.option("--turns", type=click.IntRange(min=1), default=2, show_default=True,
              help="Starts measured for each.")  # fmt: skip
@click.option("--broker", type=click.Choice(["kafka", "embedded"]),
              help="Default: Apache Kafka where Java and Maven are, else embedded.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(
    keys: list[int], killed: list[int], turns: int, broker: Kind | None, as_json: bool
) -> None:
    """Measure how long a worker takes to have its state back, on this machine."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{time.monotonic() - began:5.0f} s  {what}", err=True)

    facts = machine()
    rows: list[Row] = []
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapwatch-")))
            facts["broker"], kafka, _ = start_broker(broker, folder, stack, say)
            for number in keys:
                say(f"{number:,} keys")
                rows += measure(folder, kafka, number, turns, say)
            for number in killed:
                for standbys in (0, 1):
                    rows += fail_over(folder, kafka, number, standbys, say)
    except (BenchmarkError, BrokerError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    (show_json if as_json else show)(sys.stdout, facts, rows)


@dataclass(frozen=True, slots=True)
class Start:
    """A worker's start.

    Attributes:
        seconds: From its beginning until it is ready to work.
        cpu: CPU seconds used by then.
        megabytes: Memory it holds then (resident).
        peak: The most it held until then.
    """

    seconds: float
    cpu: float
    megabytes: float
    peak: float


def measure(
    folder: Path, kafka: KafkaSettings, keys: int, turns: int, say: Callable[[str], None]
) -> list[Row]:
    """Start workers on as many state keys, one after the other."""
    state = plan(keys)
    config, settings = prepare(folder, kafka, model="null", brands_file=_brands(folder, state))
    written = asyncio.run(write_state(settings, state)) if keys else Written(0, 0)
    starts = []
    for turn in range(turns):
        starts.append(_start(config, settings))
        say(f"  {turn + 1} of {turns}: {starts[-1]}")
    part = f"{written.keys:,} keys, {written.bytes / 1e6:.0f} MB"
    seconds = [start.seconds for start in starts]
    value = median(seconds)
    return [
        Row(part, "start to ready", f"{value:.1f} s",
            "runs " + ", ".join(f"{s:.1f}" for s in seconds), value=value),
        Row(part, "CPU by then", f"{median(start.cpu for start in starts):.1f} s"),
        Row(part, "memory then", f"{median(start.megabytes for start in starts):.0f} MB",
            f"at most {max(start.peak for start in starts):.0f} MB"),
    ]  # fmt: skip


def fail_over(
    folder: Path, kafka: KafkaSettings, keys: int, standbys: int, say: Callable[[str], None]
) -> list[Row]:
    """Kill one of two workers that share as many state keys."""
    say(f"{keys:,} keys: one of two workers is killed, {standbys} standby")
    state = plan(keys)
    kafka = kafka.model_copy(update={"standby_replicas": standbys})
    config, settings = prepare(folder, kafka, model="null", brands_file=_brands(folder, state))
    written = asyncio.run(write_state(settings, state))
    found = run_failover(config, settings, state)
    name = f"killed, {written.keys:,} keys, " + ("a standby" if standbys else "no standby")
    return [
        Row(name, "kill to mentions of its partitions", f"{found.longest:.1f} s",
            f"session timeout {found.session_timeout:.0f} s", value=found.longest),
        Row(name, "pause of the partition that paused least", f"{found.shortest:.1f} s",
            value=found.shortest),
        Row(name, "memory of the one that is left", f"{found.megabytes:.0f} MB",
            f"{found.megabytes_before:.0f} MB while there were two", value=found.megabytes),
    ]  # fmt: skip


def _brands(folder: Path, state: Plan) -> Path:
    path = folder / f"brands-{state.brands}.toml"
    path.write_text(
        "".join(f'[[brands]]\nkey = "{name}"\nname = "{name}"\n' for name in state.names()), "utf-8"
    )
    return path


def _start(config: Path, settings: Settings) -> Start:
    began = time.monotonic()
    with Worker(config, settings) as worker:
        worker.ready(PATIENCE)
        seconds, cpu = time.monotonic() - began, worker.cpu().total
        start = Start(seconds, cpu, worker.megabytes(), worker.peak_megabytes())
        worker.stop()
    return start


if __name__ == "__main__":
    main()
