"""The score and its companions, against cases worked by hand."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.labels import ADVOCACIES, STAGES
from pipeline.domain.buckets import Totals
from pipeline.domain.scoring import gap_rate, net_score, score_of, weight, with_voice
from pipeline.records import GapRate, Mention, Score
from tests.builders import NOON, a_mention, an_event

STAGE_WEIGHTS = {"consumption": 1.0, "curation": 2.0, "creation": 3.0, "collaboration": 4.0}


def totals_of(*mentions: Mention) -> Totals:
    """Totals of these mentions."""
    totals = Totals()
    for mention in mentions:
        totals.count(mention)
    return totals


def score(*mentions: Mention, few: int = 30, rivals: int = 0) -> Score:
    """The score of a window that holds these mentions."""
    found = score_of("north", "1h", totals_of(*mentions), as_of=NOON.timestamp(), few=few)
    return with_voice(found, rivals)


@pytest.mark.parametrize(
    ("stage", "followers", "reach", "expected"),
    [
        ("consumption", 0, True, 1.0),
        ("curation", 0, True, 2.0),
        ("creation", 0, True, 3.0),
        ("collaboration", 0, True, 4.0),
        ("consumption", 9, True, 2.0),
        ("creation", 999, True, 12.0),
        ("creation", 999, False, 3.0),
        ("consumption", 1, True, 1.30103),  # 1 + log10(2), to six decimals
        ("consumption", 2**53, True, 16.95459),
    ],
)
def test_weight_is_stage_times_reach(
    stage: str, followers: int, reach: bool, expected: float
) -> None:
    event = an_event(followers=followers)
    assert weight(event, stage, STAGE_WEIGHTS, reach=reach) == expected


def test_score_and_margin_worked_by_hand() -> None:
    # P = 4, D = 1, W = 8; Σw² = 16 + 1 + 9 = 26; n_eff = 64/26.
    mentions = (
        a_mention(weight=4.0, advocacy="promoter"),
        a_mention(weight=1.0, advocacy="detractor"),
        a_mention(weight=3.0, advocacy="passive"),
    )
    found = score(*mentions)
    assert found.score == pytest.approx(100 * (4 - 1) / 8)
    variance = 4 / 8 + 1 / 8 - (4 / 8 - 1 / 8) ** 2
    assert found.margin == pytest.approx(196 * sqrt(variance / (64 / 26)))
    assert found.margin == pytest.approx(86.94, abs=0.01)


def test_with_equal_weights_the_margin_is_that_of_a_plain_sample() -> None:
    mentions = [a_mention(weight=2.5, advocacy=a) for a in ("promoter", "detractor") * 50]
    found = score(*mentions)
    assert found.score == 0
    assert found.margin == pytest.approx(196 * sqrt(1 / 100))


def test_one_loud_voice_widens_the_margin() -> None:
    quiet = [a_mention(advocacy=a) for a in ("promoter", "detractor") * 10]
    even = score(*quiet).margin
    loud = score(*quiet, a_mention(weight=20.0, advocacy="passive")).margin
    assert even is not None
    assert loud is not None
    assert loud > even


@pytest.mark.parametrize(
    ("advocacy", "expected"), [("promoter", 100.0), ("passive", 0.0), ("detractor", -100.0)]
)
def test_one_opinion_gives_the_ends_and_the_middle(advocacy: str, expected: float) -> None:
    found = score(*[a_mention(weight=w, advocacy=advocacy) for w in (1.0, 7.3, 2.000001)])
    assert (found.score, found.margin) == (expected, 0.0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(ADVOCACIES), st.floats(0.001, 1000.0)), min_size=1, max_size=20
    )
)
def test_a_score_is_within_the_net_promoter_bounds(opinions: list[tuple[str, float]]) -> None:
    judged = net_score(totals_of(*[a_mention(weight=w, advocacy=a) for a, w in opinions]))
    assert judged is not None
    assert -100.0 <= judged[0] <= 100.0
    assert 0.0 <= judged[1] <= 196.0


@pytest.mark.parametrize("mentions", [[], [a_mention(weight=0.0, advocacy="promoter")]])
def test_where_nothing_weighs_there_is_no_score(mentions: list[Mention]) -> None:
    found = score(*mentions)
    assert (found.score, found.margin) == (None, None)
    assert found.mentions == len(mentions)
    assert found.few


def test_a_window_without_mentions_has_rates_of_zero_and_no_share() -> None:
    found = score()
    assert found.gap == GapRate(0, 0.0, 0.0)
    assert set(found.gap_by_touchpoint.values()) == {GapRate(0, 0.0, 0.0)}
    assert found.share_of_voice is None
    assert found.authors == 0


@pytest.mark.parametrize(("mentions", "few"), [(0, True), (2, True), (3, False), (4, False)])
def test_few_means_below_the_setting(mentions: int, few: bool) -> None:
    assert score(*[a_mention()] * mentions, few=3).few is few


@pytest.mark.parametrize(
    ("mentions", "rivals", "share"), [(1, 0, 1.0), (1, 3, 0.25), (0, 3, 0.0), (0, 0, None)]
)
def test_share_of_voice_is_of_the_brand_and_its_rivals(
    mentions: int, rivals: int, share: float | None
) -> None:
    assert score(*[a_mention()] * mentions, rivals=rivals).share_of_voice == share


def test_gap_rates_by_touchpoint_and_by_the_team_that_answers() -> None:
    found = score(
        a_mention(gap="negative", touchpoint="delivery"),
        a_mention(gap="negative", touchpoint="delivery"),
        a_mention(gap="positive", touchpoint="delivery"),
        a_mention(gap="none", touchpoint="product"),
        a_mention(gap="negative", touchpoint="price"),
        a_mention(gap="none", touchpoint="marketing"),
        a_mention(gap="positive", touchpoint="none"),
        a_mention(gap="none", touchpoint="none"),
    )
    assert found.gap == GapRate(8, 3 / 8, 2 / 8)
    assert found.gap_by_touchpoint == {
        "product": GapRate(1, 0.0, 0.0),
        "delivery": GapRate(3, 2 / 3, 1 / 3),
        "support": GapRate(0, 0.0, 0.0),
        "warranty": GapRate(0, 0.0, 0.0),
        "price": GapRate(1, 1.0, 0.0),
        "marketing": GapRate(1, 0.0, 0.0),
        "none": GapRate(2, 0.0, 0.5),
    }
    assert found.gap_by_team == {
        "Operations": GapRate(4, 0.5, 0.25),
        "Marketing": GapRate(2, 0.5, 0.0),
        "none": GapRate(2, 0.0, 0.5),
    }


def test_gap_rate_of_nothing_is_zero() -> None:
    assert gap_rate([0, 0, 0]) == GapRate(0, 0.0, 0.0)


def test_mixes_count_mentions_whatever_they_weigh() -> None:
    found = score(
        a_mention(weight=9.0, stage="creation", sentiment="negative", suggestion="1"),
        a_mention(weight=1.0, stage="creation", sentiment="positive"),
        a_mention(weight=1.0, stage="curation", sentiment="positive", author="bob"),
    )
    assert found.stages == dict.fromkeys(STAGES, 0) | {"creation": 2, "curation": 1}
    assert found.sentiments == {"negative": 1, "neutral": 0, "positive": 2}
    assert found.advocacies == {"detractor": 0, "passive": 3, "promoter": 0}
    assert (found.mentions, found.suggestions, found.authors) == (3, 1, 2)
