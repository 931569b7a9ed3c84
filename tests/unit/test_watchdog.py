"""The watchdog ends what is not heard of in time, and only that."""

from __future__ import annotations

import threading

from pipeline.watchdog import Watchdog
from tests.builders import PATIENCE


def test_what_is_not_heard_of_is_ended() -> None:
    ended = threading.Event()
    watchdog = Watchdog(end=ended.set)
    watchdog.start()
    watchdog.expect("work stands still", 0.05)
    assert ended.wait(PATIENCE)
    watchdog.stop()


def test_what_is_heard_of_goes_on() -> None:
    ended = threading.Event()
    watchdog = Watchdog(end=ended.set)
    watchdog.start()
    watchdog.expect("work stands still", 0.0)
    watchdog.expect("work stands still", 1000.0)
    watchdog.stop()
    assert not ended.is_set()


def test_nothing_is_expected_before_anything_is_said() -> None:
    ended = threading.Event()
    watchdog = Watchdog(end=ended.set)
    watchdog.start()
    watchdog.stop()
    assert not ended.is_set()
