"""The curve around an alert: bounded, and nothing lost where steps grow longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.curve import STEPS, Steps
from tests.builders import at

NOON_MINUTE = int(at().timestamp() // 60)


def one_a_minute(minute: int, length: int) -> tuple[int, float]:
    return length, length / 2


@given(st.lists(st.integers(1, 400), max_size=20))
def test_all_is_in_it_in_at_most_sixty_steps(pauses: list[int]) -> None:
    steps = Steps.around(NOON_MINUTE, NOON_MINUTE + 3)
    minute = NOON_MINUTE + 3
    for pause in [0, *pauses]:
        minute += pause
        steps.extend(minute, one_a_minute)
        curve = steps.drawn(minute, one_a_minute)
        assert len(curve.seen) == len(curve.expected) <= STEPS
        assert sum(curve.seen) == minute - steps.start + 1


def test_it_begins_two_hours_before_or_where_counts_are_still_known() -> None:
    assert Steps.around(NOON_MINUTE, NOON_MINUTE + 3).start == NOON_MINUTE - 120
    assert Steps.around(NOON_MINUTE - 250, NOON_MINUTE).start == NOON_MINUTE - 299
