"""Event time: the newest heard, the wall's when idle, and never back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.clock import IDLE_SECONDS, StreamClock

WALL = 1_000_000.0


def test_before_anything_was_heard_there_is_no_time() -> None:
    clock = StreamClock()
    assert clock.now(WALL) == 0
    assert clock.now(WALL + 10 * IDLE_SECONDS) == 0


def test_time_is_the_newest_heard() -> None:
    clock = StreamClock()
    assert clock.hear(50.0, WALL) == 50.0
    assert clock.hear(20.0, WALL) == 50.0
    assert clock.hear(70.0, WALL) == 70.0
    assert clock.time == clock.now(WALL) == 70.0


def test_a_replayed_day_runs_on_its_own_time() -> None:
    clock = StreamClock()
    clock.hear(1_000.0, WALL)
    assert clock.now(WALL + IDLE_SECONDS - 1) == 1_000.0


def test_after_a_minute_of_silence_the_wall_tells_the_time() -> None:
    clock = StreamClock()
    clock.hear(WALL - 5, WALL)
    assert clock.now(WALL + IDLE_SECONDS - 1) == WALL - 5
    assert clock.now(WALL + 300) == WALL + 300 - IDLE_SECONDS
    assert clock.time == WALL + 300 - IDLE_SECONDS


def test_hearing_again_ends_the_silence() -> None:
    clock = StreamClock()
    clock.hear(10.0, WALL)
    clock.hear(20.0, WALL + IDLE_SECONDS - 1)
    assert clock.now(WALL + IDLE_SECONDS + 1) == 20.0


def test_time_ahead_of_the_wall_is_kept() -> None:
    clock = StreamClock()
    clock.hear(WALL + 299, WALL)
    assert clock.now(WALL + IDLE_SECONDS) == WALL + 299


def test_after_a_restart_time_goes_on_from_restored_state() -> None:
    clock = StreamClock()
    clock.start_at(WALL - 100)
    assert clock.now(WALL) == WALL - 100
    assert clock.now(WALL + 10) == WALL - 100  # silence is counted from the start
    assert clock.now(WALL + IDLE_SECONDS) == WALL
    clock.start_at(5.0)
    assert clock.time == WALL


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hear", "now", "start_at"]), st.floats(0, 2e9), st.floats(0, 500)
        )
    )
)
def test_time_never_goes_back(steps: list[tuple[str, float, float]]) -> None:
    clock = StreamClock()
    wall = WALL
    last = 0.0
    for what, moment, passed in steps:
        wall += passed
        if what == "hear":
            clock.hear(moment, wall)
        elif what == "now":
            clock.now(wall)
        else:
            clock.start_at(moment)
        assert clock.time >= last
        last = clock.time
