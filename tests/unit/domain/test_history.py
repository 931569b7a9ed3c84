"""The history of brands: sums that give the scores that were published, steps, and what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.buckets import HOURS_KEPT, BrandBuckets
from pipeline.domain.history import History
from pipeline.domain.scoring import hour_of, score_of
from pipeline.records import Expectation, GapCount, Hour, Mention, Term
from tests.builders import NOON, a_mention

MENTIONS = st.lists(
    st.builds(
        lambda hours, advocacy, stage, gap, touchpoint, weight: {
            "minutes": -60.0 * hours,
            "advocacy": advocacy,
            "stage": stage,
            "gap": gap,
            "touchpoint": touchpoint,
            "weight": weight,
        },
        hours=st.integers(0, 200),
        advocacy=st.sampled_from(["detractor", "passive", "promoter"]),
        stage=st.sampled_from(["consumption", "creation"]),
        gap=st.sampled_from(["negative", "none", "positive"]),
        touchpoint=st.sampled_from(["delivery", "price", "none"]),
        weight=st.floats(0.5, 40).map(lambda weight: round(weight, 6)),
    ),
    min_size=1,
    max_size=60,
)


def counted(mentions: list[Mention]) -> BrandBuckets:
    """Buckets that have counted these mentions."""
    buckets = BrandBuckets({})
    for mention in mentions:
        buckets.apply(mention, NOON.timestamp())
    return buckets


def told(buckets: BrandBuckets, brand: str = "north") -> History:
    """A history that was told every hour."""
    history = History()
    for number in buckets.hours(brand):
        totals = buckets.hour(brand, number)
        assert totals is not None
        history.take(hour_of(brand, number, totals))
    return history


def hour(hours_ago: int, **fields: object) -> Hour:
    return Hour("north", NOON - timedelta(hours=hours_ago), **fields)  # type: ignore[arg-type]


@given(MENTIONS, st.sampled_from(["24h", "7d"]))
def test_the_score_of_hours_together_is_what_was_published(
    told_of: list[dict[str, object]], window: str
) -> None:
    mentions = [
        a_mention(stamp=(0, n), author=f"a{n}", **fields)  # type: ignore[arg-type]
        for n, fields in enumerate([*told_of, {"minutes": 0.0}])
    ]
    buckets = counted(mentions)
    history = told(buckets)
    now = NOON.timestamp()
    totals = buckets.window("north", window, now)
    score = score_of("north", window, totals, as_of=now, few=0)
    (last,) = history.course("north", window=window, hours=1, step=1)
    assert score.score is not None and score.margin is not None
    assert (last.score, last.margin) == (round(score.score, 2), round(score.margin, 2))
    all_of_it = history.course("north", window="1h", hours=HOURS_KEPT, step=1)
    assert sum(step.mentions for step in all_of_it) == len(mentions)
    assert sum(step.gaps["all"].below for step in all_of_it) == sum(
        mention.labels.gap.label == "negative" for mention in mentions
    )


def test_hours_without_a_record_are_steps_all_the_same() -> None:
    history = History()
    history.take(hour(5, mentions=3))
    history.take(hour(0, mentions=2))
    steps = history.course("north", hours=24, step=1)
    assert [step.mentions for step in steps] == [3, 0, 0, 0, 0, 2]
    assert steps[0].start == NOON - timedelta(hours=5)


def test_coarse_steps_hold_their_hours() -> None:
    history = History()
    for ago in range(30):
        gaps = {"delivery": GapCount(2, below=1)}
        history.take(hour(ago, mentions=2, stages={"creation": 2}, gaps=gaps))
        history.take(Expectation("north", NOON - timedelta(hours=ago), {"delivery": 0.5}))
    steps = history.course("north", hours=24, step=6)
    assert [step.start.hour for step in steps] == [18, 0, 6, 12]
    assert [step.mentions for step in steps] == [12, 12, 12, 2]
    assert steps[1].gaps["delivery"].expected == 3.0
    assert steps[1].gaps["delivery"].below == steps[1].gaps["all"].below == 6
    # Of the last step only the first hour is known of yet.
    assert steps[3].gaps["delivery"].expected is None
    assert steps[1].gaps["price"].expected == 0.0
    assert steps[1].gaps["none"].expected is None


def test_the_last_word_on_an_hour_wins_and_the_same_twice_is_no_news() -> None:
    history = History()
    assert history.take(hour(0, mentions=3))
    seen = history.revision("north")
    assert not history.take(hour(0, mentions=3))
    assert history.revision("north") == seen
    assert history.take(hour(0, mentions=1))
    assert history.hour("north", NOON) == hour(0, mentions=1)
    assert history.newest("north") == NOON


def test_what_stands_out_is_what_was_said_last() -> None:
    history = History()
    assert history.terms("north") == ()
    history.take(Expectation("north", NOON, terms=(Term("slot", 4, 3.0),)))
    history.take(Expectation("north", NOON - timedelta(hours=1), terms=(Term("old", 4, 3.0),)))
    assert [term.text for term in history.terms("north")] == ["slot"]


def test_memory_is_bounded() -> None:
    history = History()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(2 * HOURS_KEPT):
        history.take(Hour("north", start + timedelta(hours=n), mentions=1))
    assert history.hour("north", start) is None
    kept = history.course("north", hours=10_000, step=1)
    assert HOURS_KEPT <= len(kept) <= HOURS_KEPT + 24


@pytest.mark.parametrize("brand", ["north", "south"])
def test_of_a_brand_nobody_knows_there_is_no_course(brand: str) -> None:
    history = History()
    history.take(Expectation("north", NOON, {"all": 1.0}))
    assert history.course(brand, hours=24, step=1) == []
    assert history.newest(brand) is None
