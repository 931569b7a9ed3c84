"""Events ten times faster than the model: `python -m tests.operations.backpressure --seconds 600`.

The model stands still but for so many texts a second; when the flood is over it is let go, as when
workers or a GPU are added, and what has waited is worked off.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from tests.faults.classifier import RATE
from tests.kafka.cluster import KafkaCluster
from tests.operations.scene import Scene

TIMES = 12
"""Events for each text that the model labels: a sixth of the events have none for it."""

SAMPLE_SECONDS = 0.5

SEEN_SHARE = 0.8
"""Of what waits, so much must be seen in the metrics."""

PAGE = 4096
MB = 2**20


@dataclass(frozen=True)
class Outcome:
    """What a flood did.

    Attributes:
        seconds: How long events came in.
        events, handled: Events that came in, and those handled meanwhile.
        lag: What the worker's metrics said was waiting when the flood ended; `waiting`: what was.
        idle_mb, flood_mb, late_mb, catching_up_mb: The worker's resident memory, at most: before
            the flood, in its first and its second half, and until all was worked off.
        catching_up: Seconds from the end of the flood until all was handled.
        mentions, lost, double: As the checker finds them, which finds nothing wrong or raises.
    """

    seconds: float
    events: int
    handled: int
    lag: int
    waiting: int
    idle_mb: int
    flood_mb: int
    late_mb: int
    catching_up_mb: int
    catching_up: float
    mentions: int
    lost: int
    double: int


async def flood(cluster: KafkaCluster, *, seconds: float, rate: float = 100.0) -> Outcome:
    """Make a flood on a cluster that is up.

    Args:
        rate: Texts a second that the model labels.
    """
    count = int(seconds * rate * TIMES)
    async with Scene(cluster.settings("-"), seed=28, events=count) as scene:
        (scene.folder / RATE).write_text(str(rate))
        await scene.start(0)
        worker = scene.fleet.worker(0)
        memory: list[int] = []

        async def watch() -> None:
            while True:
                memory.append(resident_mb(worker.process.pid))
                await asyncio.sleep(SAMPLE_SECONDS)

        idle = resident_mb(worker.process.pid)
        watching = asyncio.create_task(watch())
        scene.feed(rate=rate * TIMES)
        await scene.fed(hurry=False)
        in_flood = len(memory)
        waiting = await scene.behind("events")
        topic = scene.settings.topic("events")

        def lag_told() -> float:
            return worker.metric("gapwatch_lag_records", topic=topic)

        # It is asked for every two seconds, and shown every second.
        await scene.until(lambda: lag_told() > SEEN_SHARE * waiting, "the lag to be seen")
        lag = await asyncio.to_thread(lag_told)
        (scene.folder / RATE).unlink()
        began = time.monotonic()
        await scene.rest(patience=max(60.0, seconds))
        catching_up = time.monotonic() - began
        watching.cancel()
        verdict = await scene.check()
    half = max(1, in_flood // 2)
    return Outcome(
        seconds=seconds,
        events=count,
        handled=count - waiting,
        lag=int(lag),
        waiting=waiting,
        idle_mb=idle,
        flood_mb=max(memory[:half]),
        late_mb=max(memory[half:in_flood]),
        catching_up_mb=max(memory[in_flood:]),
        catching_up=round(catching_up, 1),
        mentions=verdict.mentions,
        lost=verdict.lost,
        double=verdict.double,
    )


def resident_mb(pid: int) -> int:
    """Memory that a process has in use, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE // MB


def main() -> None:
    """Make one flood and print what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.operations.backpressure")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=40.0, help="of the model, texts a second")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(Path(folder))
        try:
            cluster.start()
            outcome = asyncio.run(flood(cluster, seconds=arguments.seconds, rate=arguments.rate))
        finally:
            cluster.stop()
    sys.stdout.write(msgspec.json.encode(asdict(outcome)).decode() + "\n")


if __name__ == "__main__":
    main()
