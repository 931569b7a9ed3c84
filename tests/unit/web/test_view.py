"""The live view: what is shown, what is ignored, and how little is sent again."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from pipeline.domain.deliveries import Delivery, Done
from pipeline.records import Expectation, GapCount, Hour, Post
from pipeline.web.view import (
    MENTIONS_SHOWN,
    RESOLVED_KEPT,
    RESOLVED_SHOWN,
    TEXT_SHOWN,
    TREND_HOURS,
    LiveView,
)

BRANDS = {"larkfoot": {"name": "Larkfoot Shoes", "rivals": ["tern"]}, "tern": {"name": "Tern"}}


@pytest.fixture
def view() -> LiveView:
    return LiveView()


def shown(view: LiveView, since: int = 0) -> dict[str, Any]:
    return json.loads(view.snapshot(since))


def test_an_empty_view_has_every_section(view):
    assert shown(view) == {
        "revision": 1,
        "feed": "reading",
        "clock": None,
        "status": {},
        "brands": [],
        "trends": {},
        "alerts": [],
        "mentions": [],
    }


def test_configured_brands_come_first_and_by_name_before_any_score(view):
    view.on_status({"brands": BRANDS})
    first, second = shown(view)["brands"]
    assert (first["name"], first["scores"]) == ("Larkfoot Shoes", {})
    assert first["rivals"] == [{"key": "tern", "name": "Tern"}]
    assert second["key"] == "tern"


def test_a_brand_of_another_worker_is_shown_until_its_scores_stop(view, make_score, noon):
    view.on_score(make_score(brand="elsewhere"))
    view.on_score(make_score(as_of=noon + timedelta(hours=1)))
    assert [b["key"] for b in shown(view)["brands"]] == ["elsewhere", "larkfoot"]
    view.on_score(make_score(as_of=noon + timedelta(hours=25)))
    assert [b["key"] for b in shown(view)["brands"]] == ["larkfoot"]
    assert [score.brand for score in view.scores()] == ["larkfoot"]


def test_an_older_score_is_ignored_and_an_equal_one_changes_nothing(view, make_score, noon):
    view.on_score(make_score(score=5.0))
    before = view.revision
    view.on_score(make_score(score=-90.0, as_of=noon - timedelta(seconds=1)))
    view.on_score(make_score(score=5.0))
    assert view.revision == before
    assert [score.score for score in view.scores()] == [5.0]


def test_windows_are_held_apart(view, make_score):
    view.on_score(make_score(window="1h", score=1.0))
    view.on_score(make_score(window="7d", score=7.0))
    held = shown(view)["brands"][0]["scores"]
    assert {window: score["score"] for window, score in held.items()} == {"1h": 1.0, "7d": 7.0}


def hour_of(start: datetime, mentions: int = 4, below: int = 1) -> Hour:
    gaps = {"delivery": GapCount(mentions, below=below)}
    return Hour(
        "larkfoot", start, mentions, weight=4, weight_squared=4, promoter=2, detractor=1, gaps=gaps
    )


def test_a_trend_is_of_the_hours_that_are_over(view, make_score, noon):
    view.on_score(make_score())
    for ago in range(3):
        view.on_history(hour_of(noon - timedelta(hours=ago)))
    end = int(noon.timestamp())
    assert shown(view)["trends"] == {"larkfoot": [[end - 3600, 25.0, 0.25], [end, 25.0, 0.25]]}


def test_a_trend_reaches_back_a_day_however_long_the_worker_runs(view, make_score, noon):
    view.on_score(make_score())
    for hours in range(200):
        view.on_history(hour_of(noon + timedelta(hours=hours)))
    points = shown(view)["trends"]["larkfoot"]
    assert len(points) == TREND_HOURS
    assert points[-1][0] == int((noon + timedelta(hours=199)).timestamp())


def test_open_alerts_come_first_escalated_before_firing(view, make_alert, noon):
    later = noon + timedelta(minutes=5)
    view.on_alert(make_alert(id="done", status="resolved", updated=later))
    view.on_alert(make_alert(id="old", status="escalated"))
    view.on_alert(make_alert(id="new", onset=later))
    assert [alert["id"] for alert in shown(view)["alerts"]] == ["old", "new", "done"]


def test_an_older_state_of_an_alert_is_ignored(view, make_alert, noon):
    view.on_alert(make_alert(status="resolved", updated=noon + timedelta(minutes=40)))
    before = view.revision
    view.on_alert(make_alert(status="firing", updated=noon))
    assert view.revision == before
    assert [alert.status for alert in view.alerts()] == ["resolved"]


def test_resolved_alerts_are_bounded_and_the_latest_stay(view, make_alert, noon):
    for n in range(RESOLVED_SHOWN + 30):
        at = noon + timedelta(minutes=n)
        view.on_alert(make_alert(id=f"a{n:02}", status="resolved", updated=at))
    kept = [alert.id for alert in view.alerts()]
    assert len(kept) == RESOLVED_SHOWN
    assert kept[0] == f"a{RESOLVED_SHOWN + 29}"


def test_the_newest_mentions_are_shown_newest_first(view, make_mention, noon):
    for n in range(1000):
        view.on_mention(make_mention(f"e{n}", received=noon + timedelta(seconds=n)))
    keys = [mention["key"] for mention in shown(view)["mentions"]]
    assert keys == [f"larkfoot|e{n}" for n in range(999, 999 - MENTIONS_SHOWN, -1)]


def test_the_same_mention_twice_is_shown_once(view, make_mention):
    view.on_mention(make_mention())
    view.on_mention(make_mention())
    view.on_mention(make_mention(brand="tern"))
    assert len(shown(view)["mentions"]) == 2


def test_a_mention_shows_its_labels_and_how_sure_the_model_is(view, make_mention):
    view.on_status({"brands": BRANDS})
    view.on_mention(make_mention())
    (mention,) = shown(view)["mentions"]
    assert (mention["brand"], mention["author"]) == ("Larkfoot Shoes", "nell")
    assert mention["labels"]["gap"] == "none"
    assert mention["sure"]["gap"] == 1.0


def test_long_texts_are_cut(view, make_alert, make_mention, noon):
    view.on_mention(make_mention(text="x" * 50_000))
    view.on_alert(make_alert(posts=(Post("p", "nell", "y" * 50_000, noon),)))
    state = shown(view)
    assert len(state["mentions"][0]["text"]) == TEXT_SHOWN
    assert state["alerts"][0]["posts"][0]["text"].endswith("y…")


def test_only_sections_changed_since_a_revision_are_sent(view, make_score, make_alert):
    view.on_score(make_score())
    seen = view.revision
    view.on_alert(make_alert())
    assert set(shown(view, since=seen)) == {"revision", "feed", "clock", "alerts"}
    assert set(shown(view, since=view.revision)) == {"revision", "feed", "clock"}


def test_a_trend_is_sent_again_only_when_an_hour_begins_or_one_that_is_over_changes(view, noon):
    view.on_history(hour_of(noon))
    seen = view.revision
    view.on_history(hour_of(noon, mentions=5))
    view.on_history(Expectation("larkfoot", noon, {"all": 1.0}))
    assert "trends" not in shown(view, since=seen)
    view.on_history(hour_of(noon + timedelta(hours=1)))
    assert "trends" in shown(view, since=seen)
    seen = view.revision
    view.on_history(hour_of(noon, mentions=6))
    assert "trends" in shown(view, since=seen)


def test_only_sections_asked_for_are_sent(view, make_score):
    view.on_score(make_score())
    sections = frozenset({"status", "alerts"})
    told = json.loads(view.snapshot(0, sections))
    assert set(told) == {"revision", "feed", "clock"} | sections


def test_many_more_alerts_are_kept_than_shown(view, make_alert, noon):
    for n in range(3 * RESOLVED_KEPT):
        at = noon + timedelta(minutes=n)
        view.on_alert(make_alert(id=f"a{n}", status="resolved", updated=at))
    last = 3 * RESOLVED_KEPT - 1
    assert len(view.alerts(resolved=50)) == 50
    assert view.alert(f"a{last - RESOLVED_KEPT + 1}") is not None
    assert view.alert("a0") is None
    assert view.alerts(brand="tern") == []


def test_what_two_workers_know_of_a_delivery_is_put_together(view):
    view.on_delivery(Delivery(alert="a1", done=[Done("team", "a1.firing", 1.0)], updated=1.0))
    view.on_delivery(Delivery(alert="a1", done=[Done("wall", "a1.firing", 2.0)], updated=2.0))
    view.on_delivery(Delivery())  # of a version that did not name its alert
    told = view.delivery("a1")
    assert told is not None
    assert {done.receiver for done in told.done} == {"team", "wall"}
    assert view.delivery("") is None


def test_deliveries_are_bounded(view):
    for n in range(3 * RESOLVED_KEPT):
        view.on_delivery(Delivery(alert=f"a{n}", updated=float(n)))
    assert view.delivery("a0") is None
    assert view.delivery(f"a{3 * RESOLVED_KEPT - 1}") is not None


def test_a_snapshot_is_encoded_once_a_revision(view, make_score):
    view.on_score(make_score())
    assert view.snapshot() is view.snapshot()


def test_the_clock_is_the_newest_event_time(view, make_score, make_alert, noon):
    view.on_score(make_score(as_of=noon))
    view.on_alert(make_alert(updated=noon - timedelta(hours=1)))
    assert shown(view)["clock"] == "2026-03-02T12:00:00Z"


def test_watchers_are_counted_while_they_watch(view):
    with view.watching(), view.watching():
        assert view.watchers == 2
    assert view.watchers == 0
