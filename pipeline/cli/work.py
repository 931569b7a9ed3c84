"""Commands that run or look after workers: run, demo, broker, check, version."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from importlib.metadata import version as installed

import click

from models.classifier import ModelError
from models.registry import load_classifier
from pipeline import __version__
from pipeline.broker import BrokerError
from pipeline.broker.client import wait_for_broker
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.cli.main import Context, say
from pipeline.domain.brands import BrandMatcher
from pipeline.settings import Settings, SettingsError
from pipeline.topics import list_topics, misfit, topic_specs
from pipeline.web import WebError
from pipeline.web.access import check_access

LOG_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)


@click.command()
@click.option("--log-level", type=LOG_LEVELS, default="INFO", show_default=True)
@click.pass_obj
def run(ctx: Context, log_level: str) -> None:
    """Run a worker until Ctrl-C or SIGTERM.

    It waits for the broker, creates missing topics, joins the group, and serves the live page,
    /metrics, /healthz and /readyz. Start as many as there are partitions to share.
    """
    from pipeline.runner import run_worker

    settings = ctx.settings
    if not settings.brands:
        raise SettingsError(
            "no brands to listen for: add [[brands]] to the settings file, or name one with "
            "brands_file (see deploy/gapwatch.example.toml)"
        )
    sys.exit(run_worker(settings, say=say, log_level=log_level.upper()))


@click.command()
@click.option("--speed", type=click.FloatRange(min=1), default=600.0, show_default=True,
              help="How many times faster than life the sample day passes.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True,
              help="Port of the live page; 0 picks a free one.")  # fmt: skip
@click.option("--kafka", help="Use the Kafka cluster at HOST:PORT instead of the embedded broker.")
@click.option("--once", is_flag=True, help="Stop when the sample day is over.")
def demo(speed: float, port: int, kafka: str | None, once: bool) -> None:
    """Show it all at once: broker, worker, live page and a sample day in fast motion.

    Three rival brands, their customers, a delivery gone wrong and a promise not kept. Alerts are
    delivered to a webhook receiver that the demo runs itself and prints. Ctrl-C stops everything.
    """
    from pipeline.demo import run_demo

    sys.exit(run_demo(speed=speed, port=port, kafka=kafka, once=once))


@click.command("broker")
@click.option("--port", type=click.IntRange(0, 65535), default=9092, show_default=True,
              help="Port to listen on, on this machine only; 0 picks a free one.")  # fmt: skip
def broker_command(port: int) -> None:
    """Run the embedded broker until Ctrl-C: for a first look, without a Kafka.

    It keeps everything in memory, is for one worker, and forgets all when it ends. Prints the
    settings that a worker needs for it.
    """
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    broker = EmbeddedBroker(port)
    broker.start()
    try:
        kafka = broker.kafka_settings().model_dump(exclude_defaults=True)
        click.echo("[kafka]")
        for name, value in kafka.items():
            click.echo(f"{name} = {json.dumps(value)}")
        say(f"broker at {broker.bootstrap_servers}, in memory: not for production")
        stopped.wait()
    finally:
        broker.stop()


@click.command()
@click.option("--wait", type=click.FloatRange(min=0), default=5.0, show_default=True,
              help="Seconds to wait for the broker.")  # fmt: skip
@click.pass_obj
def check(ctx: Context, wait: float) -> None:
    """Check settings, brands, model and broker; say what is wrong and how to mend it."""
    settings = ctx.settings
    problems = 0
    for name, probe in (
        ("settings", _check_settings),
        ("brands", _check_brands),
        ("model", _check_model),
        ("receivers", _check_receivers),
        ("page", _check_page),
        ("privacy", _check_privacy),
    ):
        problems += _report(name, lambda probe=probe: probe(settings))
    problems += _report("broker", lambda: asyncio.run(_check_broker(settings, wait)))
    if problems:
        say(f"{problems} to mend")
        sys.exit(1)


def _report(name: str, probe: object) -> int:
    try:
        found = probe()  # type: ignore[operator]
    except (SettingsError, BrokerError, ModelError, WebError, ValueError, OSError) as error:
        click.echo(f"{click.style('✗', fg='red')} {name}: {error}")
        return 1
    click.echo(f"{click.style('✓', fg='green')} {name}: {found}")
    return 0


def _check_settings(settings: Settings) -> str:
    return f"group {settings.group}, topics {settings.topic('*')}"


def _check_brands(settings: Settings) -> str:
    if not settings.brands:
        raise SettingsError("none: add [[brands]] to the settings file, or set brands_file")
    BrandMatcher(settings.brands)
    return ", ".join(brand.key for brand in settings.brands)


def _check_model(settings: Settings) -> str:
    classifier = load_classifier(settings.model.name, backend=settings.model.backend, sessions=1)
    try:
        classifier.classify(["Does this work?"])
        return classifier.version
    finally:
        classifier.close()


def _check_receivers(settings: Settings) -> str:
    for receiver in settings.receivers:
        receiver.check()
    return ", ".join(f"{r.name} ({r.kind})" for r in settings.receivers) or "none: alerts stay here"


def _check_page(settings: Settings) -> str:
    senders = settings.ingest.secrets()
    ingest = f"; takes events from {', '.join(sorted(senders))}" if senders else ""
    return f"{settings.web.host}:{settings.web.port}, {check_access(settings.web)}{ingest}"


def _check_privacy(settings: Settings) -> str:
    return "authors under their own names" if settings.privacy.key() is None else "pseudonyms"


async def _check_broker(settings: Settings, wait: float) -> str:
    await wait_for_broker(settings.kafka, say=say, timeout=wait)
    states = await list_topics(settings)
    counts = {state.name: state.partitions for state in states}
    if problem := misfit(settings, topic_specs(settings), counts):
        raise BrokerError(problem)
    missing = [state.name for state in states if not state.exists]
    found = f"{settings.kafka.bootstrap_servers} answers, {len(states) - len(missing)} topics"
    if missing:
        found += f"; {len(missing)} to be created by `gapwatch topics create` or the first worker"
    return found


@click.command()
def version() -> None:
    """Print the versions of Gapwatch, its model and what it stands on."""
    try:
        classifier = load_classifier(sessions=1)
        model = classifier.version
        classifier.close()
    except ModelError as error:
        model = f"unusable: {error}"
    click.echo(f"gapwatch {__version__}")
    click.echo(f"model {model}")
    click.echo(f"python {sys.version.split()[0]}")
    for package in ("faust-streaming", "aiokafka", "onnxruntime", "tokenizers"):
        click.echo(f"{package} {installed(package)}")


COMMANDS = (run, demo, broker_command, check, version)
