"""A token bucket: how often a receiver may be sent to."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.receivers import Rate


class Bucket:
    """Holds `rate.burst` tokens when full; a message takes one, time brings them back."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate.burst)
        self._at = clock()

    def wait(self) -> float:
        """Seconds until there is a token; 0 if there is one."""
        now = self._clock()
        gained = (now - self._at) * self._rate.per_second
        self._tokens = min(self._tokens + gained, float(self._rate.burst))
        self._at = now
        return max(0.0, (1.0 - self._tokens) / self._rate.per_second)

    def take(self) -> None:
        """Use a token."""
        self._tokens -= 1.0
