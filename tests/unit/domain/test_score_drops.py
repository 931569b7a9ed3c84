"""Falls of the score: beyond their margin, told once, over when they are over."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.domain.lifecycle import Brand
from pipeline.domain.score_drops import Course
from pipeline.domain.silences import Orders
from pipeline.records import Alert, GapRate, Score
from tests.builders import at

BRAND = Brand("North Bikes")


def score(hours: float, value: float | None, margin: float = 4.0, few: bool = False) -> Score:
    return Score(
        brand="north", window="24h", as_of=at(60 * hours), score=value, margin=margin, few=few,
        mentions=400, authors=300, suggestions=0, stages={"creation": 400}, sentiments={},
        advocacies={"detractor": 100}, gap=GapRate(400, 0.2, 0.1), gap_by_touchpoint={},
        gap_by_team={}, share_of_voice=None,
    )  # fmt: skip


def told(*scores: Score, course: Course | None = None, drop: float = 10.0) -> list[Alert]:
    course = course or Course()
    found = [course.look("north", BRAND, each, drop, Orders()) for each in scores]
    return [alert for alert in found if alert is not None]


def test_a_steady_score_is_no_alert() -> None:
    assert told(*(score(h, 30 + h % 5) for h in range(72))) == []


@pytest.mark.parametrize(("value", "alerts"), [(20.0, False), (15.0, False), (13.0, True)])
def test_a_fall_must_be_beyond_the_margin_and_the_drop(value: float, alerts: bool) -> None:
    # The margin of the difference is hypot(4, 4) = 5.7 points.
    assert bool(told(*(score(h, 30) for h in range(25)), score(25, value))) is alerts


def test_what_it_says() -> None:
    alert = told(*(score(h, 30) for h in range(25)), score(25, -2))[0]
    assert alert.id == "north.score.all.20240305T1300Z"
    assert (alert.kind, alert.status, alert.touchpoint) == ("score", "firing", "all")
    assert (alert.score_before, alert.score_now) == (30, -2)
    assert "from +30 to -2" in alert.severity_reason
    assert alert.severity == 5
    assert alert.share == 0.25


@pytest.mark.parametrize("after", [29.0, -3.0])
def test_it_is_over_when_the_score_is_back_or_has_stayed_for_a_day(after: float) -> None:
    falls = [score(h, 30) for h in range(25)] + [score(25, -2)]
    alerts = told(*falls, *(score(h, after) for h in range(26, 60)))
    assert [a.status for a in alerts if a.status != "firing"] == ["resolved"]
    assert len({a.id for a in alerts}) == 1


def test_few_mentions_or_none_are_no_fall() -> None:
    steady = [score(h, 30) for h in range(25)]
    assert told(*steady, score(25, -50, few=True), score(26, None)) == []


def test_a_restart_goes_on_where_it_was() -> None:
    course = Course()
    told(*(score(h, 30) for h in range(25)), score(25, -2), course=course)
    again = msgspec.json.decode(msgspec.json.encode(course), type=Course)
    assert again == course
    assert told(score(25, -2), course=again) == []
    assert len(msgspec.json.encode(course)) < 4096
