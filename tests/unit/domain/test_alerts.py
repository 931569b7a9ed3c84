"""The life of an alert: when it fires, what it says, and that a log has one story."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import msgspec
import pytest

from pipeline.domain.alerts import POST_CHARACTERS, POSTS_SHOWN, Rules, Series, Watch, alert_id
from pipeline.domain.clock import StreamClock
from pipeline.records import Alert, Mention
from tests.builders import NOON, a_mention, an_event, at

RULES: Final = Rules(
    window_minutes=15,
    min_mentions=8,
    min_share=0.1,
    probability=1e-6,
    resolve_after_minutes=30,
)

HISTORY_HOURS: Final = 48
"""Usual talk before noon: every 5 minutes a neutral post, every hour a complaint on delivery."""


class Fold:
    """Folds a log as the detect agent does: time passes by the minute, then the mention counts."""

    def __init__(self, state: dict[bytes, Series] | None = None, rules: Rules = RULES) -> None:
        self.state = {} if state is None else state
        self.watch = Watch(self.state, rules, {"north": "North Bikes"})
        self.clock = StreamClock()
        self.clock.start_at(self.watch.newest())
        self.told: list[Alert] = []

    def run(self, log: Iterable[Mention]) -> list[Alert]:
        """Fold in `log`; returns everything told so far."""
        for mention in log:
            before = self.clock.time
            now = self.clock.hear(mention.event.published.timestamp(), 0.0)
            if before // 60 != now // 60:
                self.told += self.watch.settle(now)[1]
            self.told += self.watch.apply(mention, now)[1]
        return self.told

    def wait(self, minutes: float) -> list[Alert]:
        """Let time pass without mentions, until `minutes` after noon; returns what was told."""
        while self.clock.time < at(minutes).timestamp():
            self.clock.start_at(self.clock.time + 60)
            self.told += self.watch.settle(self.clock.time)[1]
        return self.told


def changes(alerts: Iterable[Alert]) -> list[tuple[str, str]]:
    """Touchpoint and status of every change told; new figures alone are no change."""
    found: list[tuple[str, str]] = []
    last: dict[str, str] = {}
    for alert in alerts:
        if last.get(alert.id) != alert.status:
            found.append((alert.touchpoint, alert.status))
        last[alert.id] = alert.status
    return found


def in_order(*parts: Iterable[Mention]) -> list[Mention]:
    """The parts as one log of one events partition, by time, with offsets."""
    log = sorted((m for part in parts for m in part), key=lambda m: m.event.published)
    return [
        msgspec.structs.replace(
            mention, stamp=msgspec.structs.replace(mention.stamp, offset=offset)
        )
        for offset, mention in enumerate(log)
    ]


def usual_talk(hours: float = HISTORY_HOURS, until: float = 0.0) -> list[Mention]:
    """Usual talk from so many hours before noon until so many minutes after it."""
    first = int(-hours * 60)
    return [a_mention(minutes=m) for m in range(first, int(until), 5)] + [
        complaint(m) for m in range(first + 3, int(until), 60)
    ]


def complaint(minutes: float, touchpoint: str = "delivery", **event: object) -> Mention:
    """A negative-gap mention."""
    return a_mention(
        gap="negative",
        touchpoint=touchpoint,
        event=an_event(
            **{"id": f"c{touchpoint}{minutes}", "text": f"late {minutes}"}
            | event
            | {"published": at(minutes)}
        ),
    )


def complaints(
    start: float, minutes: int, per_minute: int, touchpoint: str = "delivery"
) -> list[Mention]:
    """So many complaints a minute for so many minutes."""
    return [complaint(start + n / per_minute, touchpoint) for n in range(minutes * per_minute)]


INCIDENT: Final = in_order(usual_talk(until=180), complaints(30, 25, 2))
"""Two complaints a minute from 12:30 to 12:55, amid usual talk until 15:00."""


def test_a_quiet_day_raises_no_alert() -> None:
    assert Fold().run(in_order(usual_talk())) == []


def test_an_incident_fires_once_escalates_once_and_resolves() -> None:
    told = Fold().run(INCIDENT)
    assert changes(told) == [
        ("delivery", "firing"),
        ("delivery", "escalated"),
        ("delivery", "resolved"),
    ]
    assert len({alert.id for alert in told}) == 1


def test_a_firing_alert_says_what_where_since_when_and_how_unusual() -> None:
    alert = Fold().run(INCIDENT)[0]
    assert alert.id == alert_id("north", "delivery", int(at(30).timestamp() // 60))
    assert alert.id == "north.delivery.20240304T1230Z"
    assert alert.notification == f"{alert.id}.firing"
    assert (alert.brand, alert.brand_name) == ("north", "North Bikes")
    assert (alert.touchpoint, alert.team) == ("delivery", "Operations")
    assert alert.onset == at(30)
    assert at(33) <= alert.updated <= at(36)
    assert 8 <= alert.seen <= 12
    assert alert.expected == pytest.approx(0.25, abs=0.1)
    assert alert.window_minutes == 15
    assert alert.probability < RULES.probability
    assert 0.5 < alert.share < 1
    assert alert.peak == alert.seen
    assert not alert.cold


@pytest.mark.parametrize(
    ("touchpoint", "team"),
    [("product", "Operations"), ("warranty", "Operations"), ("price", "Marketing")],
)
def test_an_alert_names_the_team_that_answers(touchpoint: str, team: str) -> None:
    told = Fold().run(in_order(usual_talk(), complaints(1, 15, 3, touchpoint)))
    assert {(alert.touchpoint, alert.team) for alert in told} == {(touchpoint, team)}


def test_a_touchpoint_nobody_complained_of_is_known_to_be_quiet() -> None:
    alert = Fold().run(in_order(usual_talk(), complaints(1, 15, 2, "warranty")))[0]
    assert alert.touchpoint == "warranty"
    assert not alert.cold
    assert alert.seen == RULES.min_mentions


def test_an_alert_escalates_when_its_window_holds_twice_what_it_held_at_first() -> None:
    told = Fold().run(INCIDENT)
    first = told[0].seen
    assert all(alert.seen < 2 * first for alert in told if alert.status == "firing")
    assert next(alert for alert in told if alert.status == "escalated").seen == 2 * first


def test_every_status_has_a_notification_of_its_own() -> None:
    told = Fold().run(INCIDENT)
    assert {alert.notification for alert in told} == {
        f"{told[0].id}.{status}" for status in ("firing", "escalated", "resolved")
    }


def test_figures_of_an_open_alert_are_told_once_a_minute_at_most() -> None:
    told = [alert for alert in Fold().run(INCIDENT) if alert.status != "resolved"]
    for status in ("firing", "escalated"):
        minutes = [a.updated.replace(second=0) for a in told if a.status == status]
        assert len(minutes) == len(set(minutes))


def test_peak_is_the_most_seen_while_it_lasted() -> None:
    told = Fold().run(INCIDENT)
    assert told[-1].peak == max(alert.seen for alert in told)
    assert told[-1].seen < told[-1].peak


def test_an_alert_resolves_only_after_talk_was_usual_for_long_enough() -> None:
    resolved = Fold().run(INCIDENT)[-1]
    # The last complaint was at 12:54:30; its window and then 30 minutes have to pass.
    assert at(55 + 30) <= resolved.updated <= at(55 + 15 + 30 + 1)


def test_an_alert_resolves_in_silence_too() -> None:
    fold = Fold()
    fold.run(in_order(usual_talk(), complaints(1, 15, 3)))
    assert [alert.status for alert in fold.watch.open_alerts()] == ["escalated"]
    assert changes(fold.wait(90))[-1] == ("delivery", "resolved")
    assert fold.watch.open_alerts() == []


def test_talk_that_flares_up_again_keeps_the_alert_open() -> None:
    flares = [m for start in (30, 60, 90) for m in complaints(start, 10, 2)]
    told = Fold().run(in_order(usual_talk(until=240), flares))
    assert changes(told)[-1] == ("delivery", "resolved")
    assert [status for _, status in changes(told)].count("firing") == 1


def test_a_second_incident_is_a_second_alert() -> None:
    log = in_order(usual_talk(until=600), complaints(30, 20, 2), complaints(400, 20, 2))
    told = Fold().run(log)
    assert [alert.id for alert in told if alert.status == "resolved"] == [
        "north.delivery.20240304T1230Z",
        "north.delivery.20240304T1840Z",
    ]


def test_an_incident_is_no_part_of_what_is_usual_after_it() -> None:
    # Three hours long, so that not only the hour in which it fired counts as the incident's.
    told = Fold().run(
        in_order(usual_talk(until=900), complaints(30, 180, 2), complaints(700, 20, 2))
    )
    first, second = [alert for alert in told if alert.status == "resolved"]
    assert (second.touchpoint, second.onset) == ("delivery", at(700))
    assert second.expected == pytest.approx(first.expected, abs=0.1)


def test_an_incident_at_a_touchpoint_is_no_part_of_what_is_usual_for_the_brand() -> None:
    spread = [complaint(400 + n / 2, "none") for n in range(30)]
    before = Fold().run(in_order(usual_talk(until=600), spread))[0]
    after = Fold().run(in_order(usual_talk(until=600), complaints(30, 20, 5), spread))
    brand_wide = next(alert for alert in after if alert.touchpoint == "all")
    assert brand_wide.expected == pytest.approx(before.expected, abs=0.1)


def test_without_a_past_more_is_asked_for_and_the_alert_says_so() -> None:
    told = Fold().run(in_order(complaints(0, 15, 4)))
    assert told[0].cold
    assert told[0].seen > 2 * RULES.min_mentions


def test_a_first_handful_of_complaints_is_no_alert() -> None:
    assert Fold().run(in_order(complaints(0, 15, 1))) == []


def test_fewer_mentions_than_the_floor_never_alert() -> None:
    seven = [complaint(1 + n / 10) for n in range(RULES.min_mentions - 1)]
    assert Fold().run(in_order(usual_talk(), seven)) == []


@pytest.mark.parametrize(("praise_a_minute", "alerts"), [(0, True), (40, False)])
def test_a_wave_of_popularity_is_no_incident(praise_a_minute: int, alerts: bool) -> None:
    # The same complaints, alone and as a small share of a wave of talk.
    praise = [
        a_mention(minutes=1 + n / max(1, praise_a_minute), advocacy="promoter")
        for n in range(15 * praise_a_minute)
    ]
    told = Fold().run(in_order(usual_talk(), praise, complaints(1.001, 15, 1)))
    assert bool(told) is alerts


def test_positive_gaps_and_plain_complaints_are_not_watched() -> None:
    talk = [
        a_mention(minutes=1 + n / 10, gap=gap, touchpoint="delivery", sentiment="negative")
        for n in range(150)
        for gap in ("positive", "none")
    ]
    assert Fold().run(in_order(usual_talk(), talk)) == []


TOUCHPOINTS_TOGETHER = ("delivery", "support", "product", "price")


def test_complaints_all_over_the_place_alert_for_the_brand_as_a_whole() -> None:
    spread = [
        complaint(1 + 4 * n + place / 10, touchpoint)
        for n in range(4)
        for place, touchpoint in enumerate(TOUCHPOINTS_TOGETHER)
    ]
    told = Fold().run(in_order(usual_talk(), spread))
    assert {(alert.touchpoint, alert.team) for alert in told} == {("all", "none")}
    assert told[0].id == "north.all.20240304T1201Z"


def test_complaints_about_nothing_in_particular_alert_for_the_brand() -> None:
    told = Fold().run(in_order(usual_talk(), complaints(1, 15, 2, "none")))
    assert {alert.touchpoint for alert in told} == {"all"}


def test_the_brand_as_a_whole_keeps_silent_while_a_touchpoint_speaks() -> None:
    fold = Fold()
    told = fold.run(in_order(usual_talk(), complaints(1, 30, 4), complaints(10, 20, 3, "none")))
    assert {alert.touchpoint for alert in told} == {"delivery"}


def test_brands_do_not_touch_each_other() -> None:
    south = [msgspec.structs.replace(mention, brand="south") for mention in complaints(1, 15, 3)]
    told = Fold().run(in_order(usual_talk(), south))
    assert {alert.brand for alert in told} == {"south"}
    assert told[0].brand_name == "south"  # a brand that left the settings has only its key


def test_folding_a_log_twice_tells_the_same_alerts() -> None:
    assert Fold().run(INCIDENT) == Fold().run(INCIDENT)


def test_replaying_the_whole_log_over_the_final_state_tells_nothing_new() -> None:
    fold = Fold()
    fold.run(INCIDENT)
    state = msgspec.json.encode(fold.state)
    again = Fold(fold.state)
    assert again.run(INCIDENT) == []
    assert msgspec.json.encode(fold.state) == state


def test_replaying_while_an_alert_is_open_tells_nothing_new() -> None:
    log = [mention for mention in INCIDENT if mention.event.published < at(50)]
    fold = Fold()
    assert fold.run(log)
    assert Fold(fold.state).run(log) == []


@pytest.mark.parametrize("minutes", [-600.0, 0.0, 31.0, 33.5, 36.0, 41.0, 56.0, 80.0, 99.0, 150.0])
def test_a_restart_changes_no_alert(minutes: float) -> None:
    before = [m for m in INCIDENT if m.event.published < at(minutes)]
    first = Fold()
    first.run(before)
    restored = msgspec.json.decode(msgspec.json.encode(first.state), type=dict[bytes, Series])
    assert restored == first.state

    second = Fold(restored)
    # What was not acknowledged comes again: here the last ten mentions.
    second.run(before[-10:] + INCIDENT[len(before) :])
    assert first.told + second.told == Fold().run(INCIDENT)


def test_stragglers_that_come_after_the_incident_do_not_move_time_back() -> None:
    fold = Fold()
    told = list(fold.run(INCIDENT))
    offset = len(INCIDENT)
    straggler = msgspec.structs.replace(
        complaint(-100), stamp=msgspec.structs.replace(INCIDENT[-1].stamp, offset=offset)
    )
    assert fold.run([straggler]) == told


def late(log: list[Mention], *stragglers: Mention) -> list[Mention]:
    """The log, and after all of it what comes late."""
    return log + [
        msgspec.structs.replace(
            mention, stamp=msgspec.structs.replace(mention.stamp, offset=len(log) + place)
        )
        for place, mention in enumerate(stragglers)
    ]


def test_stragglers_of_an_incident_that_is_over_do_not_raise_it_again() -> None:
    stragglers = [
        complaint(30 + n / 2, id=f"straggler{n}", text=f"straggler {n}") for n in range(40)
    ]
    assert Fold().run(late(INCIDENT, *stragglers)) == Fold().run(INCIDENT)


def test_an_incident_that_comes_late_as_a_whole_is_told_all_the_same() -> None:
    quiet = in_order(usual_talk(until=90))
    told = Fold().run(late(quiet, *complaints(30, 15, 2)))
    assert changes(told)[0] == ("delivery", "firing")
    assert told[0].id == "north.delivery.20240304T1230Z"
    assert told[0].onset == at(30)


def test_posts_shown_are_few_those_of_most_reach_and_from_the_spike() -> None:
    posts = [
        complaint(
            1 + n / 4,
            id=f"p{n}",
            text=f"late {n}",
            author=f"author{n}",
            followers=n,
            url=f"https://social.example/{n}",
        )
        for n in range(9)
    ]
    alert = Fold().run(in_order(usual_talk(), posts))[-1]
    assert len(alert.posts) == POSTS_SHOWN == 3
    assert [post.followers for post in alert.posts] == sorted(
        (post.followers for post in alert.posts), reverse=True
    )
    best = alert.posts[0]
    assert best.author == f"author{best.followers}"
    assert best.url == f"https://social.example/{best.followers}"
    assert all(post.published >= alert.onset for post in alert.posts)
    assert alert.reach >= sum(post.followers for post in alert.posts)


def test_a_post_of_great_reach_is_shown_however_many_follow_it() -> None:
    log = in_order(
        usual_talk(), [complaint(1, id="star", followers=90_000)], complaints(1.5, 14, 4)
    )
    assert Fold().run(log)[-1].posts[0].id == "star"


def test_hostile_texts_are_cut_and_otherwise_left_alone() -> None:
    hostile = "<script>alert(1)</script>\u202e" + "A" * 99_000
    posts = [complaint(1 + n / 4, text=f"{n}{hostile}") for n in range(10)]
    for post in Fold().run(in_order(usual_talk(), posts))[-1].posts:
        assert len(post.text) == POST_CHARACTERS
        assert post.text[1:].startswith("<script>alert(1)</script>\u202e")


def test_copied_texts_and_reposts_are_shown_once() -> None:
    copies = [complaint(1 + n / 4, id=f"copy{n}", text="same words") for n in range(10)]
    reposts = [
        complaint(1.1 + n / 4, id=f"repost{n}", type="Announce", text=f"RT {n}") for n in range(10)
    ]
    alert = Fold().run(in_order(usual_talk(), copies, reposts))[-1]
    assert [post.text for post in alert.posts] == ["same words"]


def test_state_stays_bounded_over_weeks() -> None:
    fold = Fold()
    sizes = []
    for week in range(3):
        start = week * 7 * 24 * 60
        talk = [complaint(start + n * 20) for n in range(7 * 24 * 3)]
        fold.run(
            msgspec.structs.replace(
                mention,
                stamp=msgspec.structs.replace(
                    mention.stamp, offset=week * 10_000 + mention.stamp.offset
                ),
            )
            for mention in in_order(talk)
        )
        sizes.append(len(msgspec.json.encode(fold.state)))
    assert sizes[2] < 1.1 * sizes[1]


def test_an_alert_id_says_brand_touchpoint_and_onset() -> None:
    onset = NOON + timedelta(hours=11, minutes=59)
    identity = alert_id("north-bikes", "price", int(onset.timestamp() // 60))
    assert identity == "north-bikes.price.20240304T2359Z"
