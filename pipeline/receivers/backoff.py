"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BASE: Final = 1.0
"""Seconds; longest wait after the first failure."""

CAP: Final = 300.0
"""Seconds; longest wait after any number of failures."""


def delay(failures: int, *, random: Callable[[], float], retry_after: float | None = None) -> float:
    """Seconds to wait after so many failed attempts in a row (1 or more).

    Exponential with full jitter: evenly anywhere up to twice as long as the last time, so that
    workers whose receiver came back do not all call at once
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

    Args:
        random: Gives a number in [0, 1), as `random.random` does.
        retry_after: Seconds the receiver asked for; it is waited out in any case.
    """
    # 2 ** 16 is past the cap; the exponent is bounded for those who fail for weeks.
    longest = min(CAP, BASE * 2.0 ** min(failures - 1, 16))
    return (retry_after or 0.0) + random() * longest
