"""How bad and how unusual, in figures and in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.severity import Size, unusual

LITTLE = Size(seen=8, expected=0.3, share=0.3, usual_share=0.08, reach=500, lately=6, before=2)
MUCH = Size(
    seen=400, expected=20, share=0.8, usual_share=0.1, reach=2_000_000, lately=250, before=100
)


def test_a_handful_is_worth_a_look_and_an_uproar_is_the_worst() -> None:
    assert LITTLE.severity == 3
    assert MUCH.severity == 10


@given(
    st.integers(0, 10**6), st.floats(0, 1e5), st.floats(0, 1), st.floats(0, 1),
    st.integers(0, 2**53), st.integers(0, 1000), st.integers(0, 1000),
)  # fmt: skip
def test_severity_is_from_one_to_ten(
    seen: int, expected: float, share: float, usual: float, reach: int, lately: int, before: int
) -> None:
    size = Size(seen, expected, share, usual, reach, lately, before)
    assert 1 <= size.severity <= 10
    assert "\n" not in size.reason


def test_reach_alone_makes_no_catastrophe() -> None:
    size = Size(seen=8, expected=4, share=0.1, usual_share=0.1, reach=2**53, lately=3, before=3)
    assert size.severity <= 4


def test_the_reason_says_what_it_is_made_of() -> None:
    assert LITTLE.reason == (
        "8 where 0.3 are usual; 30% of the talk, usually 8%; 500 followers reached; growing fast"
    )


@pytest.mark.parametrize(
    ("probability", "window", "words"),
    [
        (1e-30, 15, "less than once in a hundred years of usual talk"),
        (1e-6, 15, "about once in 29 years of usual talk"),
        (0.7e-5, 15, "about once in 4 years of usual talk"),
        (0.2e-4, 15, "about once a year of usual talk"),
        (0.5e-4, 15, "about once in 7 months of usual talk"),
        (1e-3, 15, "about once a week of usual talk"),
        (0.2, 15, "more than once a day in usual talk"),
        (1e-3, 180, "about once in 4 months of usual talk"),
        (0.0, 15, "less than once in a hundred years of usual talk"),
    ],
)
def test_how_unusual_in_words(probability: float, window: int, words: str) -> None:
    assert unusual(probability, window, cold=False) == words
    assert unusual(probability, window, cold=True).startswith(words + ";")
