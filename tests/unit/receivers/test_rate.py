"""A bucket gives a burst after a rest, and its rate in the long run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.receivers import Rate
from pipeline.receivers.rate import Bucket


@given(
    st.floats(0.1, 10),
    st.integers(1, 10),
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_its_rate(
    per_second: float, burst: int, rests: list[float]
) -> None:
    now = 0.0
    bucket = Bucket(Rate(per_second, burst), lambda: now)
    taken = []
    for rest in rests:
        now += rest
        now += bucket.wait() * (1 + 1e-9) + 1e-9
        assert bucket.wait() == 0
        bucket.take()
        taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            most = burst + (taken[last] - taken[first]) * per_second
            assert last - first + 1 <= most + 1e-6


def test_a_rested_bucket_gives_a_burst() -> None:
    now = 0.0
    bucket = Bucket(Rate(per_second=0.5, burst=3), lambda: now)
    for _ in range(3):
        assert bucket.wait() == 0
        bucket.take()
    assert bucket.wait() == 2
    now = 2.0
    assert bucket.wait() == 0
