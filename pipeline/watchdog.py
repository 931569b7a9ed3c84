"""Ends the process when it no longer gets on, so that its supervisor starts it again.

Kafka clients have been seen to stand still without an error. What a worker has not confirmed comes
again, so ending it is always safe, and better than waiting.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

EXIT_STUCK: Final = 1

LOOK_SECONDS: Final = 0.5

log = logging.getLogger("gapwatch")


def _exit() -> None:
    """Say where every thread stands, and end without further ado: what is stuck cannot clean up."""
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
    os._exit(EXIT_STUCK)


class Watchdog:
    """A thread that looks at a deadline, which whoever gets on keeps moving away.

    It works also where the event loop itself is stuck.

    Args:
        end: What ends the process.
    """

    def __init__(self, *, end: Callable[[], None] = _exit) -> None:
        self._end = end
        self._deadline: tuple[float, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def expect(self, what: str, seconds: float) -> None:
        """End the process in so many seconds, unless this is called again before, or `stop`."""
        self._deadline = time.monotonic() + seconds, f"{what} (waited {seconds:g} s)"

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline[0]:
                log.critical("ending this process: %s", deadline[1])
                self._end()
                return
