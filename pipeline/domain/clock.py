"""Event time, and when to stop waiting for it."""

from __future__ import annotations

from typing import Final

IDLE_SECONDS: Final = 60.0
"""After so long without mentions the wall clock speaks for the stream."""


class StreamClock:
    """The newest event time seen; the wall clock's once the stream has been idle.

    A replayed day runs on its own time, however fast; a brand nobody mentions still grows older.
    The clock never goes back.
    """

    def __init__(self) -> None:
        self._newest = 0.0
        self._heard: float | None = None

    def hear(self, published: float, wall: float) -> float:
        """Take note of a mention's time; returns the clock's."""
        self._newest = max(self._newest, published)
        self._heard = wall
        return self._newest

    @property
    def time(self) -> float:
        """The time as last told, epoch seconds."""
        return self._newest

    def start_at(self, newest: float) -> None:
        """Resume from restored state."""
        self._newest = max(self._newest, newest)

    def now(self, wall: float) -> float:
        """The time windows end at, in epoch seconds; 0 before anything was heard."""
        if self._heard is None:
            self._heard = wall
        if self._newest and wall - self._heard >= IDLE_SECONDS:
            self._newest = max(self._newest, wall - IDLE_SECONDS)
        return self._newest
