"""Counts by tick: sums of windows, in order or late, are those of a plain dictionary."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.recent import Recent

mentions = st.lists(st.tuples(st.integers(90, 200), st.integers(1, 5)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(mentions, st.integers(90, 210), st.integers(90, 210), st.integers(90, 150))
def test_windows_are_plain_sums(
    added: list[tuple[int, int]], start: int, end: int, keep: int
) -> None:
    recent, plain = Recent(100), Counter[int]()
    for tick, many in added:
        recent.add(tick, many)
        plain[tick] += many
    inside = sorted((t, n) for t, n in plain.items() if start <= t < end)
    if start <= end:
        assert recent.between(start, end) == sum(n for _, n in inside)
        assert recent.counts(start, end) == inside
        assert recent.active(start, end) == [t for t, _ in inside]
        assert recent.first(start, end) == (inside[0][0] if inside else start)
    recent.forget(keep)
    assert recent.between(keep, 300) == sum(n for t, n in plain.items() if t >= keep)
    assert not recent.active(0, keep)
