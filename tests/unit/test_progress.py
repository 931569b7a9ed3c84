"""Health means progress: records that wait while none is handled make a worker unhealthy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from faust.types import TP

from pipeline.metrics import Metrics
from pipeline.progress import Progress

EVENTS = TP("gapwatch.events", 0)


@dataclass
class Consumer:
    """What Progress asks of the consumer."""

    end: int = 0
    position: int = 0

    def lag(self) -> dict[TP, int]:
        return {EVENTS: self.end - self.position}

    def positions(self) -> dict[TP, int]:
        return {EVENTS: self.position}


@dataclass
class App:
    """What Progress asks of the application."""

    consumer: Consumer = field(default_factory=Consumer)
    chunked: frozenset[str] = frozenset({EVENTS.topic})
    crashed: bool = False
    crash_reason: BaseException | None = None
    ready: bool = True


class Bench:
    def __init__(self) -> None:
        self.app = App()
        self.metrics = Metrics()
        self.now = 0.0
        app: Any = self.app
        self.progress = Progress(app, self.metrics, stuck_after=60, clock=lambda: self.now)

    def look(self, *, at: float, end: int, position: int) -> bool:
        self.now = at
        self.app.consumer.end, self.app.consumer.position = end, position
        self.progress.look()
        return self.progress.health()[0]


def test_an_idle_worker_is_healthy_for_ever() -> None:
    bench = Bench()
    assert bench.look(at=0, end=5, position=5)
    assert bench.look(at=10_000, end=5, position=5)


def test_a_worker_that_moves_is_healthy_however_far_behind() -> None:
    bench = Bench()
    assert all(bench.look(at=60.0 * n, end=10**6, position=n) for n in range(100))


def test_records_that_wait_while_none_is_handled_make_it_unhealthy_until_one_is() -> None:
    bench = Bench()
    bench.look(at=0, end=8, position=5)
    bench.look(at=1, end=8, position=5)
    assert bench.look(at=60, end=9, position=5)
    assert not bench.look(at=62, end=9, position=5)
    healthy, why = bench.progress.health()
    assert why["reason"] == "4 records wait and none was handled for 61 s"
    assert bench.look(at=63, end=9, position=6)
    assert not healthy


def test_a_crash_is_told_with_its_reason() -> None:
    bench = Bench()
    bench.app.crashed, bench.app.crash_reason = True, RuntimeError("no more")
    assert bench.progress.health() == (False, {"status": "crashed", "reason": "no more"})


def test_rate_is_over_the_last_seconds_and_counts_come_from_the_metrics() -> None:
    bench = Bench()
    for second in range(10):
        bench.metrics.classified.inc(0 if second < 4 else 50)
        bench.look(at=second, end=0, position=0)
    bench.metrics.events.labels("web").inc(7)
    bench.metrics.rejected.labels("invalid").inc(2)
    bench.look(at=10, end=0, position=0)
    assert bench.progress.rate == 40  # 200 texts in the last five seconds
    assert (bench.progress.events, bench.progress.rejected) == (9, 2)


def test_lag_is_shown_by_topic() -> None:
    bench = Bench()
    bench.look(at=0, end=9, position=5)
    value = bench.metrics.registry.get_sample_value("gapwatch_lag_records", {"topic": EVENTS.topic})
    assert value == 4


def test_how_long_it_stands_still_is_shown_until_it_moves() -> None:
    bench = Bench()
    stuck = partial(bench.metrics.registry.get_sample_value, "gapwatch_stuck_seconds")
    bench.look(at=0, end=8, position=5)
    bench.look(at=1, end=8, position=5)
    bench.look(at=31, end=8, position=5)
    assert stuck() == 30
    bench.look(at=32, end=8, position=6)
    assert stuck() == 0
