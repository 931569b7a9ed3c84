"""One run: events come in while things break; then all is mended, and what must hold is checked."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from pipeline.sending import send_events
from pipeline.settings import Settings, load_settings
from tests.faults.checker import Sample, Verdict, check
from tests.faults.faults import FAULTS, World
from tests.faults.feed import BRANDS, feed
from tests.faults.fleet import Fleet
from tests.faults.log import Onlooker
from tests.hook import Hook
from tests.kafka.cluster import KafkaCluster
from tests.worker import write_config

SLICES = 40
UNDO_SECONDS = (2.0, 7.0)
"""How long what can be undone lasts."""

REST_PATIENCE = 180.0
"""Seconds that workers may take to come to rest once all is mended."""


@dataclass
class Outcome:
    """What became of a run.

    Attributes:
        faults: (seconds since the start, name), in order.
        silence: Longest time without a new mention while events came in, in seconds.
        recovery: Seconds from everything mended to everything handled.
    """

    seed: int
    faults: list[tuple[float, str]] = field(default_factory=list)
    silence: float = 0.0
    recovery: float = 0.0
    crashes: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def ok(self) -> bool:
        """Whether all held."""
        return not self.verdict.problems


def run(
    cluster: KafkaCluster,
    seed: int,
    *,
    events: int = 4000,
    seconds: float = 40.0,
    faults: int = 6,
    only: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Make the run of a seed on a cluster that is up; it is up and whole again afterwards.

    Args:
        events: Events sent, over about so many `seconds`.
        faults: How many things break.
        only: Names of the faults to choose from; all if not given.
    """
    random = Random(seed)
    outcome = Outcome(seed)
    received: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Hook(received) as hook:
        kafka = cluster.settings(f"run-{seed}-{time.monotonic_ns()}")
        config = write_config(
            Path(folder),
            kafka,
            brands=BRANDS,
            model={"batch": 64},
            alerts={"min_mentions": 5},
            receivers=[hook.receiver],
        )
        settings = load_settings(config)
        fleet = Fleet(config)
        world = World(cluster, fleet, hook, Path(folder), random)
        try:
            asyncio.run(
                _run(world, settings, outcome, events, seconds, faults, only, received, say)
            )
        finally:
            fleet.kill()
            cluster.heal()
    return outcome


async def _run(
    world: World,
    settings: Settings,
    outcome: Outcome,
    events: int,
    seconds: float,
    faults: int,
    only: tuple[str, ...],
    received: list[dict[str, Any]],
    say: Callable[[str], None],
) -> None:
    random, fleet = world.random, world.fleet
    names = list(only or FAULTS)
    plan = sorted(
        (random.uniform(0.05, 0.9) * seconds, random.choice(names)) for _ in range(faults)
    )
    undo: list[tuple[float, Callable[[], None]]] = []
    samples: list[Sample] = []
    sources = tuple(settings.topic(name) for name in ("events", "mentions", "alerts"))
    for number in (0, 1):
        fleet.add(number)
    fleet.tend()
    async with Onlooker(settings) as onlooker:
        await until(lambda: has_topics(onlooker, sources), fleet, "the topics")
        feeding = threading.Thread(
            target=_feed, args=(settings, outcome.seed, events, seconds), daemon=True
        )
        feeding.start()
        began = last_news = time.monotonic()
        mentions = -1
        while plan or feeding.is_alive():
            now = time.monotonic()
            while plan and now - began >= plan[0][0]:
                at, name = plan.pop(0)
                say(f"{at:5.1f} s  {name}")
                outcome.faults.append((round(at, 1), name))
                mend = FAULTS[name](world)
                if mend is not None:
                    undo.append((now + random.uniform(*UNDO_SECONDS), mend))
            for due in [item for item in undo if now >= item[0]]:
                undo.remove(due)
                due[1]()
            fleet.tend()
            seen = await sample(onlooker, settings)
            if seen is not None:
                samples.append(seen)
                written = sum(seen.ends.values())
                if written > mentions:
                    mentions, last_news = written, time.monotonic()
            if feeding.is_alive():
                outcome.silence = max(outcome.silence, time.monotonic() - last_news)
            await asyncio.sleep(0.2)
        for _, mend in undo:
            mend()
        fleet.thaw()
        world.cluster.heal()
        mended = time.monotonic()

        async def at_rest() -> bool:
            return await onlooker.behind(sources) == 0 and not fleet.undelivered()

        try:
            await until(at_rest, fleet, "the workers to have handled all", REST_PATIENCE)
            outcome.recovery = time.monotonic() - mended
        except TimeoutError as error:
            outcome.verdict.problems.append(f"{error}\n{fleet.output()}")
    codes = fleet.stop()
    outcome.crashes = len(fleet.crashes)
    problems = outcome.verdict.problems
    outcome.verdict = await check(settings, samples, [message["id"] for message in received])
    outcome.verdict.problems += problems
    if any(code not in (0, 1, -9, -15) for code in codes):
        outcome.verdict.problems.append(f"exit codes {codes}")


def _feed(settings: Settings, seed: int, count: int, seconds: float) -> None:
    """Send the events of a seed, in slices spread over so many seconds."""
    end = datetime.now(UTC) - timedelta(minutes=5)
    began = time.monotonic()
    events = feed(seed, count, end)
    for number in range(SLICES):
        time.sleep(max(0.0, began + seconds * number / SLICES - time.monotonic()))
        asyncio.run(send_events(settings, islice(events, -(-count // SLICES))))


async def has_topics(onlooker: Onlooker, topics: tuple[str, ...]) -> bool:
    """Whether topics (full names) are there; raises where they are not."""
    await onlooker.ends(*topics)
    return True


async def sample(onlooker: Onlooker, settings: Settings) -> Sample | None:
    """Commits first, then what is written: what was committed must be among it."""
    try:
        async with asyncio.timeout(2):
            commits = await onlooker.commits()
            ends = await onlooker.ends(settings.topic("mentions"))
    except Exception:  # whatever the fault at hand does to the onlooker
        return None
    return Sample(commits, ends)


async def until(
    condition: Callable[[], Any], fleet: Fleet, what: str, patience: float = 120.0
) -> None:
    """Wait until a condition holds, tending the fleet; it may raise for a while."""
    deadline = time.monotonic() + patience
    while True:
        fleet.tend()
        try:
            async with asyncio.timeout(10):
                if await condition():
                    return
        except Exception as error:
            reason = repr(error)
        else:
            reason = "not yet"
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience:g} s in vain for {what} ({reason})")
        await asyncio.sleep(0.2)


def describe(outcome: Outcome) -> str:
    """A run in a line of JSON."""
    verdict = outcome.verdict
    return json.dumps(
        {
            "seed": outcome.seed,
            "ok": outcome.ok,
            "faults": [name for _, name in outcome.faults],
            "events": verdict.events,
            "mentions": verdict.mentions,
            "repeated": verdict.repeated,
            "alerts": verdict.alerts,
            "lost": verdict.lost,
            "double": verdict.double,
            "silence": round(outcome.silence, 1),
            "recovery": round(outcome.recovery, 1),
            "crashes": outcome.crashes,
            "problems": verdict.problems,
        }
    )
