"""Running a worker as a process: prepare, start, wait for a signal or a crash, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Final

import uvloop

from models.classifier import Classifier
from pipeline.app import Worker
from pipeline.broker import BrokerAwayError, BrokerError
from pipeline.broker.allowed import require_rights
from pipeline.broker.client import wait_for_broker
from pipeline.rights import rights
from pipeline.settings import Settings
from pipeline.streaming import StateError
from pipeline.topics import create_topics
from pipeline.watchdog import Watchdog
from pipeline.web import WebError
from pipeline.web.access import check_access

log = logging.getLogger("gapwatch")

EXIT_CRASHED: Final = 1
EXIT_UNUSABLE: Final = 2
"""Settings, model, broker or port cannot be used: starting again as it is will not help."""

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may hold the interpreter while another waits. A model thread is back from ONNX
Runtime every few milliseconds; at Python's 5 ms it would stand as long behind the event loop."""

AGAIN_SECONDS: Final = 2.0
"""Between two tries to begin with a broker that went away."""

STOP_SECONDS: Final = 50.0
"""How long a stop may take: longer than finishing and committing what is at hand ever should."""

_QUIET: Final = ("pipeline.streaming", "faust", "mode", "aiokafka", "kafka", "aiohttp.access")


def set_up_logging(level: str) -> None:
    """Log to standard error; libraries only what needs attention."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    if level != "DEBUG":
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)


def run_worker(
    settings: Settings,
    *,
    say: Callable[[str], None],
    log_level: str,
    classifier: Classifier | None = None,
) -> int:
    """Run a worker until it is told to stop; returns the process's exit code.

    SIGINT and SIGTERM finish the chunk at hand, commit and stop. A crash gives 1, so that a
    supervisor starts the worker again; what it held unconfirmed comes again.

    Args:
        classifier: What labels the posts; the one the settings name if not given.
    """
    set_up_logging(log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, say, classifier))


async def _run(
    settings: Settings, say: Callable[[str], None], classifier: Classifier | None
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        check_access(settings.web)  # before a broker is waited for
        prepared = await _or_stop(_prepare(settings, say), stop)
        if not prepared:
            return 0
        worker = Worker(settings, classifier)
        watchdog = Watchdog()
        watchdog.start()
        try:
            say(f"starting with {len(settings.brands)} brands, model {worker.classifier.version}")
            if not await _or_stop(worker.start(), stop):
                return 0
            say(f"live page at {worker.web.url}")
            watching = asyncio.create_task(_watch(worker, watchdog))
            await _or_stop(worker.app.wait_until_stopped(), stop)
            watching.cancel()
            if stop.is_set() and worker.crash_reason is None:
                say("stopping: finishing the batch at hand")
        finally:
            watchdog.expect("it did not stop", STOP_SECONDS)
            await worker.stop()
            watchdog.stop()
    except (BrokerError, WebError) as error:
        say(f"cannot start: {error}")
        return EXIT_UNUSABLE
    reason = worker.crash_reason
    if isinstance(reason, StateError):
        say(f"cannot go on: {reason}")
        return EXIT_UNUSABLE
    if reason is not None:
        say(f"stopped by an error: {reason}")
        return EXIT_CRASHED
    say("stopped; all that was handled is committed")
    return 0


async def _watch(worker: Worker, watchdog: Watchdog) -> None:
    """Tell the watchdog that the worker gets on, as long as it does."""
    while True:
        healthy, _ = worker.progress.health()
        if healthy:
            watchdog.expect("work stands still", worker.settings.web.exit_after)
        await asyncio.sleep(1.0)


async def _prepare(settings: Settings, say: Callable[[str], None]) -> None:
    """See to broker, rights and topics, however long the broker is away."""
    while True:
        try:
            return await _prepare_once(settings, say)
        except BrokerAwayError as error:
            say(f"{error}; trying again")
            await asyncio.sleep(AGAIN_SECONDS)


async def _prepare_once(settings: Settings, say: Callable[[str], None]) -> None:
    await wait_for_broker(settings.kafka, say=say, timeout=None)
    needed = rights("worker", settings)
    if settings.ingest.tokens or settings.ingest.token_files:
        needed += rights("ingest", settings)
    await require_rights(settings, needed)
    await create_topics(settings, say=say)


async def _or_stop(work: object, stop: asyncio.Event) -> bool:
    """Wait for `work` or a signal, whichever is first; says whether `work` came to its end."""
    working = asyncio.ensure_future(work)  # type: ignore[call-overload]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False
