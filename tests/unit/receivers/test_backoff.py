"""Waits grow, are spread, and honour what the receiver asked for."""

from __future__ import annotations

import pytest

from pipeline.receivers.backoff import BASE, CAP, delay


@pytest.mark.parametrize(("failures", "longest"), [(1, BASE), (2, 2.0), (5, 16.0), (9, 256.0)])
def test_the_longest_wait_doubles(failures: int, longest: float) -> None:
    assert delay(failures, random=lambda: 0.5) == longest / 2
    assert delay(failures, random=lambda: 0.0) == 0


@pytest.mark.parametrize("failures", [10, 100, 10**6])
def test_it_is_capped(failures: int) -> None:
    assert delay(failures, random=lambda: 1.0) == CAP


def test_what_the_receiver_asked_for_is_waited_out() -> None:
    assert delay(1, random=lambda: 0.0, retry_after=30) == 30
    assert 30 < delay(3, random=lambda: 0.5, retry_after=30) <= 30 + 4
