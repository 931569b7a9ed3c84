"""Is the worker getting on? Counts, rates and health, read off its metrics and its consumer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from pipeline.metrics import Metrics
from pipeline.streaming import App


class Progress:
    """Looked at once a second; says how much was done, how fast, and whether work stands still.

    Args:
        stuck_after: Seconds with records waiting and none handled, until the worker is unhealthy.
    """

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        *,
        stuck_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._stuck_after = stuck_after
        self._clock = clock
        self.started = clock()
        self.events = self.mentions = self.rejected = self.lag = 0
        self.rate = 0.0
        self._waiting_since: float | None = None
        self._positions: dict[Any, int] = {}
        self._classified: deque[tuple[float, float]] = deque(maxlen=6)

    def look(self) -> None:
        """Take stock."""
        now = self._clock()
        metrics = self._metrics
        self.rejected = int(_total(metrics.rejected))
        self.events = int(_total(metrics.events)) + self.rejected
        self.mentions = int(_total(metrics.mentions))
        self._classified.append((now, _total(metrics.classified)))
        (since, before), (until, after) = self._classified[0], self._classified[-1]
        self.rate = (after - before) / (until - since) if until > since else 0.0

        consumer = self._app.consumer
        waiting = consumer.lag()
        by_topic = dict.fromkeys(self._app.chunked, 0)
        for tp, count in waiting.items():
            by_topic[tp.topic] += count
        for topic, count in by_topic.items():
            metrics.lag.labels(topic).set(count)
        self.lag = sum(by_topic.values())

        positions = consumer.positions()
        if not self.lag or positions != self._positions:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        self._positions = positions
        metrics.stuck.set(self._stuck())

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Healthy unless crashed, or records wait and none has been handled for too long."""
        if self._app.crashed:
            return False, {"status": "crashed", "reason": str(self._app.crash_reason)}
        stuck = self._stuck()
        if stuck > self._stuck_after:
            return False, {
                "status": "stuck",
                "reason": f"{self.lag} records wait and none was handled for {stuck:.0f} s",
            }
        return True, {"status": "ok", "lag": self.lag}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready once partitions are assigned and state is restored."""
        if self._app.ready:
            return True, {"status": "ready"}
        return False, {"status": "starting", "reason": "joining the group or restoring state"}

    def _stuck(self) -> float:
        return self._clock() - self._waiting_since if self._waiting_since is not None else 0.0


def _total(metric: MetricWrapperBase) -> float:
    return sum(
        sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    )
