"""`python -m benchmarks`: measure everything, or parts of it, and print a table."""

from __future__ import annotations

import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from benchmarks.brokers import Kind, start_broker
from benchmarks.machine import machine
from benchmarks.report import Row, show, show_json
from benchmarks.suite import PARTS, Suite
from benchmarks.worker import BenchmarkError
from pipeline.broker import BrokerError


def _parts(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str]:
    chosen = [name.strip() for name in value.split(",")] if value else list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose of {', '.join(PARTS)}")
    return [name for name in PARTS if name in chosen]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--events", type=click.IntRange(min=1000), default=40_000, show_default=True,
              help="Events for the null classifier; the model gets a fifth of them.")  # fmt: skip
@click.option("--broker", type=click.Choice(["kafka", "embedded"]),
              help="Default: Apache Kafka where Java and Maven are, else embedded.")  # fmt: skip
@click.option("--only", "parts", callback=_parts, metavar="NAME,…",
              help=f"Parts to measure: {', '.join(PARTS)}.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(events: int, broker: Kind | None, parts: list[str], as_json: bool) -> None:
    """Measure what Gapwatch costs and how fast it is, on this machine, side by side.

    Close what else is running first: with other load the figures say little.
    """
    if not sys.platform.startswith("linux"):
        raise click.ClickException("the figures come from /proc: Linux is needed")
    # As Ctrl-C: everything started is ended, nothing is left behind.
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{time.monotonic() - began:5.0f} s  {what}", err=True)

    facts = machine()
    rows: list[Row] = []
    failed = False
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gapwatch-")))
            facts["broker"], kafka, _ = start_broker(broker, folder, stack, say)
            say(f"broker: {facts['broker']}")
            suite = Suite(folder, kafka, events=events, say=say)
            for part in parts:
                failed |= not _measure(suite, part, rows, say)
    except (BrokerError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    (show_json if as_json else show)(sys.stdout, facts, rows)
    sys.exit(1 if failed else 0)


def _measure(suite: Suite, part: str, rows: list[Row], say: Callable[[str], None]) -> bool:
    """Add a part's rows; one that fails must not cost the others."""
    try:
        for row in suite.run(part):
            say(f"  {row.what.strip()}: {row.figure}")
            rows.append(row)
    except (BenchmarkError, BrokerError, RuntimeError) as error:
        say(f"  {part} failed: {error}")
        rows.append(Row(part, "failed", "–", str(error).splitlines()[-1]))
        return False
    return True


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
