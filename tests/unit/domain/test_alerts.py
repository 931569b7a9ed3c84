"""The fold from mentions to alerts: what fires, joins, resolves; and that a log has one story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.domain.alerts import State, Watch, latest, writing_order
from pipeline.domain.clock import StreamClock
from pipeline.domain.incident import alert_id
from pipeline.domain.lifecycle import Brand, Rules
from pipeline.domain.silences import Orders
from pipeline.domain.spikes import Detector
from pipeline.records import Alert, AlertKind, Mention
from tests.builders import NOON, a_mention, an_event, at

RULES: Final = Rules(
    min_mentions=8,
    min_share=0.1,
    resolve_after_minutes=30,
    cooldown_minutes=60,
    max_messages_per_hour=6,
)

BRANDS: Final = {
    "north": Brand("North Bikes", frozenset({"north"}), rival_of=("tern",)),
    "tern": Brand("Tern"),
}

HISTORY_HOURS: Final = 48
"""Usual talk before noon: every 5 minutes a neutral post, every hour a complaint on delivery."""


class Fold:
    """Folds a log as the detect agent does: time passes by the minute, then the mention counts."""

    def __init__(
        self,
        state: dict[bytes, State] | None = None,
        rules: Rules = RULES,
        kinds: Iterable[AlertKind] = ("gap",),
        orders: Orders | None = None,
    ) -> None:
        self.state = {} if state is None else state
        self.watch = Watch(
            self.state,
            rules,
            Detector(budget=1.0, min_mentions=8),
            kinds=frozenset(kinds),
            brands=BRANDS,
            orders=orders,
        )
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

    def restarted(self) -> Fold:
        """What a restart makes of the state."""
        encoded = msgspec.json.encode(self.state)
        return Fold(msgspec.json.decode(encoded, type=dict[bytes, State]))


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
    assert alert.id == alert_id("north", "gap", "delivery", int(alert.onset.timestamp() // 60))
    assert alert.notification == f"{alert.id}.firing"
    assert (alert.brand, alert.brand_name, alert.kind) == ("north", "North Bikes", "gap")
    assert (alert.touchpoint, alert.team) == ("delivery", "Operations")
    assert at(0) <= alert.onset <= at(30)
    assert at(32) <= alert.updated <= at(36)
    assert 8 <= alert.seen <= 12
    assert 0 < alert.expected < 1.5
    assert alert.window_minutes >= 15
    assert alert.probability < 1e-4
    assert 0.4 < alert.share <= 1
    assert alert.usual_share is not None
    assert alert.usual_share < 0.2
    assert alert.peak == alert.seen
    assert 1 <= alert.severity <= 5
    assert f"{alert.seen} where" in alert.severity_reason
    assert "of usual talk" in alert.unusual
    assert alert.changed == ""
    assert alert.silenced is None
    assert not alert.cold
    assert sum(alert.stages.values()) >= 8


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
    assert alert.seen == 8


def test_a_quiet_day_raises_no_alert() -> None:
    assert Fold().run(in_order(usual_talk())) == []


def test_a_new_brands_talk_rising_from_night_to_noon_is_no_incident() -> None:
    night = [a_mention(minutes=m) for m in range(-360, 0, 10)]
    noon = [a_mention(minutes=m / 4) for m in range(480)]
    usual = [complaint(m) for m in (*range(-353, 0, 60), *range(0, 120, 2))]
    assert Fold().run(in_order(night, noon, usual)) == []
    told = Fold().run(in_order(night, noon, usual, complaints(60.5, 20, 4)))
    assert told[0].cold
    assert at(60) <= told[0].updated <= at(70)


def test_an_incident_is_named_by_what_answers_for_most_of_it_once_that_is_clear() -> None:
    everywhere = [
        complaint(1 + n / 5, name)
        for n, name in enumerate(("support", "product", "price", "warranty") * 2)
    ]
    told = Fold().run(in_order(usual_talk(until=120), everywhere, complaints(3, 20, 1, "delivery")))
    assert (told[0].touchpoint, told[0].team) == ("all", "none")
    named = next(alert for alert in told if alert.touchpoint != "all")
    assert (named.touchpoint, named.team) == ("delivery", "Operations")
    assert named.updated < at(12)
    assert {alert.id for alert in told} == {told[0].id}
    assert changes(told)[-1] == ("delivery", "resolved")


def test_another_incident_while_one_is_open_is_told_aloud() -> None:
    first = complaints(1, 90, 1, "support")
    told = Fold().run(in_order(usual_talk(until=240), first, complaints(70, 60, 4, "delivery")))
    assert len({alert.id for alert in told}) == 1
    loud = next(alert for alert in told if "delivery joined" in alert.changed)
    assert loud.status == "escalated"
    assert loud.updated < at(80)
    assert told[-1].touchpoint == "delivery"


def test_every_status_has_a_notification_of_its_own() -> None:
    told = Fold().run(INCIDENT)
    assert {alert.notification for alert in told} == {
        f"{told[0].id}.{status}" for status in ("firing", "escalated", "resolved")
    }


def test_figures_of_an_open_alert_are_told_once_a_minute_at_most() -> None:
    told = Fold().run(INCIDENT)
    for status in ("firing", "escalated"):
        updates = [a for a in told if a.status == status][1:]
        assert len({a.updated for a in updates}) == len(updates)
        assert len({int(a.updated.timestamp() // 60) for a in updates}) == len(updates)


def test_peak_is_the_most_seen_while_it_lasted() -> None:
    told = Fold().run(INCIDENT)
    assert told[-1].peak == max(alert.seen for alert in told)
    assert told[-1].seen < told[-1].peak


def test_an_alert_resolves_only_after_talk_was_usual_for_long_enough() -> None:
    resolved = Fold().run(INCIDENT)[-1]
    assert resolved.status == "resolved"
    # The last complaint was at 12:54:30; 30 calm minutes have to pass.
    assert at(55 + 30) <= resolved.updated <= at(180)
    assert resolved.changed.startswith("back to usual for 30 minutes; ")
    assert resolved.changed.endswith(f"; {sum(resolved.stages.values())} posts in all")


def test_an_alert_resolves_in_silence_too() -> None:
    fold = Fold()
    fold.run(in_order(usual_talk(), complaints(1, 15, 3)))
    assert [alert.status for alert in fold.watch.open_alerts()] == ["escalated"]
    assert changes(fold.wait(240))[-1] == ("delivery", "resolved")
    assert fold.watch.open_alerts() == []


def test_talk_that_flares_up_again_keeps_the_alert_open() -> None:
    flares = [m for start in (30, 60, 90) for m in complaints(start, 10, 2)]
    told = Fold().run(in_order(usual_talk(until=360), flares))
    assert changes(told)[-1] == ("delivery", "resolved")
    assert [status for _, status in changes(told)].count("firing") == 1


def test_a_second_incident_is_a_second_alert() -> None:
    log = in_order(usual_talk(until=600), complaints(30, 20, 2), complaints(400, 20, 2))
    resolved = [alert for alert in Fold().run(log) if alert.status == "resolved"]
    assert len({alert.id for alert in resolved}) == len(resolved) == 2
    assert resolved[1].onset >= at(330)


def test_an_incident_is_no_part_of_what_is_usual_after_it() -> None:
    told = Fold().run(
        in_order(usual_talk(until=900), complaints(30, 180, 2), complaints(700, 20, 2))
    )
    first, second = [alert for alert in told if alert.status == "resolved"]
    usual = [alert.expected / alert.window_minutes for alert in (first, second)]
    assert usual[1] < 2 * usual[0]


def test_without_a_past_the_alert_says_so() -> None:
    told = Fold().run(in_order(complaints(0, 15, 4)))
    assert told[0].cold
    assert told[0].seen >= 8
    assert told[0].unusual.endswith("what is usual is still a guess")


def test_a_first_handful_of_complaints_is_no_alert() -> None:
    assert Fold().run(in_order(complaints(0, 7, 1))) == []


def test_fewer_mentions_than_the_floor_never_alert() -> None:
    few = [complaint(60 + n / 10) for n in range(6)]
    assert Fold().run(in_order(usual_talk(), few)) == []


@pytest.mark.parametrize(("praise_a_minute", "alerts"), [(0, True), (40, False)])
def test_a_wave_of_popularity_is_no_incident(praise_a_minute: int, alerts: bool) -> None:
    # The same complaints, alone and as a small share of a wave of talk.
    praise = [
        a_mention(minutes=1 + n / max(1, praise_a_minute), advocacy="promoter")
        for n in range(15 * praise_a_minute)
    ]
    told = Fold().run(in_order(usual_talk(), praise, complaints(1.001, 15, 1)))
    assert bool(told) is alerts


def test_complaints_that_grow_as_the_talk_does_are_no_incident() -> None:
    # One in twelve complains as ever, above the least share; only there are twenty times as many.
    wave = [a_mention(minutes=1 + n / 4) for n in range(160)]
    told = Fold(rules=msgspec.structs.replace(RULES, min_share=0.01)).run(
        in_order(usual_talk(), wave, complaints(1.01, 40, 1)[::3])
    )
    assert told == []


def test_positive_gaps_and_plain_complaints_are_not_watched() -> None:
    talk = [
        a_mention(minutes=1 + n / 10, gap=gap, touchpoint="delivery", sentiment="negative")
        for n in range(150)
        for gap in ("positive", "none")
    ]
    assert Fold().run(in_order(usual_talk(), talk)) == []


def test_delight_is_an_alert_of_its_own_where_it_is_wanted() -> None:
    joy = [
        a_mention(minutes=1 + n / 3, gap="positive", touchpoint="product", advocacy="promoter")
        for n in range(45)
    ]
    told = Fold(kinds=("gap", "delight")).run(in_order(usual_talk(), joy))
    assert {(alert.kind, alert.touchpoint) for alert in told} == {("delight", "product")}
    assert told[0].id.startswith("north.delight.product.2024")


def test_a_rivals_trouble_is_told_in_a_low_key_to_those_who_want_it() -> None:
    told = Fold(kinds=("gap", "rival")).run(INCIDENT)
    theirs = [alert for alert in told if alert.brand == "tern"]
    assert {(a.kind, a.rival, a.brand_name) for a in theirs} == {("rival", "North Bikes", "Tern")}
    assert list(dict.fromkeys(alert.status for alert in theirs)) == ["firing", "resolved"]
    assert {alert.id for alert in theirs} == {f"tern.rival.{told[0].id}"}
    assert max(alert.severity for alert in theirs) <= 3
    assert {a.brand for a in Fold(kinds=("rival",)).run(INCIDENT)} == {"tern"}


TOUCHPOINTS_TOGETHER = ("delivery", "support", "product", "price")


def test_complaints_all_over_the_place_alert_for_the_brand_as_a_whole() -> None:
    spread = [
        complaint(1 + 4 * n + place / 10, touchpoint)
        for n in range(4)
        for place, touchpoint in enumerate(TOUCHPOINTS_TOGETHER)
    ]
    told = Fold().run(in_order(usual_talk(), spread))
    assert {(alert.touchpoint, alert.team) for alert in told} == {("all", "none")}
    assert told[0].id.startswith("north.all.20240304T12")


def test_complaints_about_nothing_in_particular_alert_for_the_brand() -> None:
    told = Fold().run(in_order(usual_talk(), complaints(1, 15, 2, "none")))
    assert {alert.touchpoint for alert in told} == {"all"}


def test_touchpoints_that_spike_together_are_one_alert() -> None:
    log = in_order(
        usual_talk(until=240), complaints(30, 30, 2), complaints(31, 30, 2, "support"),
        complaints(50, 20, 3, "price"),
    )  # fmt: skip
    told = Fold().run(log)
    assert len({alert.id for alert in told}) == 1
    assert [status for _, status in changes(told)] == ["firing", "escalated", "resolved"]
    assert set(told[-1].touchpoints) == {"delivery", "support", "price"}
    assert any("touchpoint price joined" in alert.changed for alert in told)
    assert next(a for a in told if a.status == "escalated").updated >= at(35)


def test_a_touchpoint_that_joins_late_escalates() -> None:
    steady = complaints(30, 60, 1)
    alone = Fold().run(in_order(usual_talk(until=240), steady))
    joined = Fold().run(in_order(usual_talk(until=240), steady, complaints(70, 12, 1, "support")))
    late = [alert for alert in joined if "support" in alert.touchpoints]
    assert late[0].updated >= at(76)
    assert "escalated" in {alert.status for alert in late}
    assert {alert.id for alert in joined} == {alert.id for alert in alone}


def test_brands_do_not_touch_each_other() -> None:
    south = [msgspec.structs.replace(mention, brand="south") for mention in complaints(1, 15, 5)]
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
    second = first.restarted()
    assert second.state == first.state
    # What was not acknowledged comes again: here the last ten mentions.
    second.run(before[-10:] + INCIDENT[len(before) :])
    assert first.told + second.told == Fold().run(INCIDENT)


@st.composite
def logs(draw: st.DrawFn) -> list[Mention]:
    """A day's usual talk with a few bursts at some touchpoints, a part of it late."""
    bursts = draw(
        st.lists(
            st.tuples(
                st.integers(0, 300),
                st.integers(3, 40),
                st.integers(1, 4),
                st.sampled_from(["delivery", "support", "none"]),
            ),
            min_size=1,
            max_size=3,
        )
    )
    seed = draw(st.integers(0, 3))
    talk = usual_talk(hours=12, until=600)
    for start, minutes, per_minute, touchpoint in bursts:
        talk += complaints(start + 0.01, minutes, per_minute, touchpoint)
    arrival = sorted(
        enumerate(talk),
        key=lambda each: (
            each[1].event.published.timestamp() + (4200.0 if each[0] % 4 == seed else 0.0),
            each[0],
        ),
    )
    return [
        msgspec.structs.replace(m, stamp=msgspec.structs.replace(m.stamp, offset=offset))
        for offset, (_, m) in enumerate(arrival)
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.lists(st.integers(0, 600), max_size=5))
def test_wherever_it_is_cut_and_restarted_a_log_has_one_story(
    log: list[Mention], cuts: list[int]
) -> None:
    whole = Fold().run(log)
    fold, told, start = Fold(), [], 0
    for cut in sorted({min(cut, len(log)) for cut in cuts}):
        told += fold.run(log[start:cut])
        fold, start = fold.restarted(), max(0, cut - 7)  # a little comes again
    told += fold.run(log[start:])

    def story(alerts: list[Alert]) -> list[tuple[str, str]]:
        return list(dict.fromkeys((alert.id, alert.status) for alert in alerts))

    assert story(told) == story(whole)
    opened = [identity for identity, status in story(whole) if status == "firing"]
    assert len(opened) == len(set(opened))


def test_a_backlog_tells_what_was_told_live() -> None:
    sparse = in_order(usual_talk(), complaints(30, 20, 2), [a_mention(minutes=400)])
    live = Fold()
    live.run(sparse[:-1])
    live.wait(400)
    live.run(sparse[-1:])

    def gist(alerts: list[Alert]) -> list[tuple[object, ...]]:
        return [(a.id, a.status, int(a.updated.timestamp() // 60), a.seen) for a in alerts]

    assert gist(Fold().run(sparse)) == gist(live.told)


def test_what_came_of_a_series_is_written_before_it() -> None:
    fold = Fold()
    fold.run(INCIDENT)
    keys = writing_order(fold.state)
    assert set(keys) == set(fold.state)
    assert keys.index(b"north|gap") < keys.index(b"north|gap|all")


def test_a_restart_between_the_two_keeps_the_alert() -> None:
    # Of what the firing changed only the case was written.
    log = [m for m in INCIDENT if m.event.published < at(36)]
    whole, cut = Fold(), 0
    while not whole.told:
        before = msgspec.json.encode(whole.state)
        whole.run(log[cut : cut + 1])
        cut += 1
    restored = msgspec.json.decode(before, type=dict[bytes, State])
    restored[b"north|gap"] = whole.restarted().state[b"north|gap"]
    again = Fold(restored)
    again.run(INCIDENT[cut - 1 :])
    assert {alert.id for alert in again.told} == {whole.told[0].id}
    assert [status for _, status in changes(again.told)][-1] == "resolved"


def test_of_two_versions_of_the_state_the_further_one_counts() -> None:
    cut = [m for m in INCIDENT if m.event.published < at(45)]
    less, more = Fold(), Fold()
    less.run(cut)
    more.run(INCIDENT)
    for key, value in more.state.items():
        older = less.state.get(key, value)
        assert latest(older, value) is value
        assert latest(value, older) == value


def test_stragglers_that_come_after_the_incident_do_not_move_time_back() -> None:
    fold = Fold()
    told = list(fold.run(INCIDENT))
    straggler = msgspec.structs.replace(
        complaint(-100), stamp=msgspec.structs.replace(INCIDENT[-1].stamp, offset=len(INCIDENT))
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


def test_an_incident_that_comes_late_as_a_whole_is_told_from_firing_to_resolved() -> None:
    quiet = in_order(usual_talk(until=90))
    after = [a_mention(minutes=300)]
    told = Fold().run(late(quiet, *complaints(30, 15, 2), *after))
    assert changes(told)[0] == ("delivery", "firing")
    assert changes(told)[-1] == ("delivery", "resolved")
    assert told[0].updated < at(40)
    assert len({alert.id for alert in told}) == 1


def test_terms_tell_what_the_usual_talk_does_not() -> None:
    posts = [
        complaint(
            1 + n / 3, text=f"North app update ate my basket again, number {n}", author=f"a{n}"
        )
        for n in range(45)
    ]
    talk = [
        a_mention(
            minutes=m, event=an_event(id=f"t{m}", published=at(m), text="North is fine again")
        )
        for m in range(-2000, 0, 5)
    ]
    alert = Fold().run(in_order(talk, posts))[-1]
    shown = [term.text for term in alert.terms]
    assert "app update" in shown
    assert not any("north" in term for term in shown)
    assert all(term.posts >= 2 and term.distinction > 1.96 for term in alert.terms)


def test_posts_shown_are_few_of_most_reach_and_from_the_spike() -> None:
    words = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet"]
    posts = [
        complaint(
            1 + n / 4,
            id=f"p{n}",
            text=f"{word} parcel {word} lost {word}",
            author=f"author{n}",
            followers=10**n,
            url=f"https://social.example/{n}",
        )
        for n, word in enumerate(words)
    ]
    alert = Fold().run(in_order(usual_talk(until=10), posts))[-1]
    assert [post.followers for post in alert.posts] == [10**8, 10**7, 10**6]
    assert alert.posts[0].url == "https://social.example/8"
    assert all(post.published >= alert.onset for post in alert.posts)
    assert alert.reach == sum(10**n for n in range(9))
    assert alert.authors == 10  # one of them complains every hour


def test_a_post_of_great_reach_is_shown_however_many_follow_it() -> None:
    names = [f"{a}{b}" for a in "bcdfghjk" for b in "aeiouyw"]
    crowd = [
        complaint(1.5 + n / 4, id=f"f{n}", text=f"{name} waited {name} long {name}", author=name)
        for n, name in enumerate(names)
    ]
    star = complaint(1.4, id="star", text="one of a kind words", followers=90_000)
    told = Fold().run(in_order(usual_talk(), [star], crowd))
    assert told[-1].posts[0].id == "star"


def test_an_author_who_speaks_often_reaches_people_once() -> None:
    posts = [complaint(1 + n / 4, id=f"p{n}", followers=700) for n in range(40)]
    alert = Fold().run(in_order(usual_talk(), posts))[-1]
    assert (alert.authors, alert.reach) == (1, 700)


def test_hostile_texts_are_cut_and_otherwise_left_alone() -> None:
    hostile = "<script>alert(1)</script>\u202e" + "A" * 99_000
    posts = [complaint(1 + n / 4, text=f"{n}{hostile}") for n in range(10)]
    alert = Fold().run(in_order(usual_talk(), posts))[-1]
    for post in alert.posts:
        assert len(post.text) == 280
        assert post.text[1:].startswith("<script>alert(1)</script>\u202e")
    assert all(len(term.text) <= 40 for term in alert.terms)


def test_copied_texts_and_reposts_are_shown_once_and_counted() -> None:
    copies = [complaint(1 + n / 4, id=f"copy{n}", text="same words here") for n in range(10)]
    reposts = [
        complaint(
            1.1 + n / 4, id=f"r{n}", type="Announce", text="RT @x: Same words, here! http://x.y"
        )
        for n in range(10)
    ]
    alert = Fold().run(in_order(usual_talk(), copies, reposts))[-1]
    assert [post.text for post in alert.posts] == ["same words here"]
    assert alert.posts[0].alike >= 15


def test_the_curve_shows_two_hours_before_and_all_since() -> None:
    told = Fold().run(INCIDENT)
    curve = told[-1].curve
    assert curve is not None
    assert len(curve.seen) == len(curve.expected) <= 60
    assert curve.start == at((told[0].onset - NOON).total_seconds() / 60 - 120)
    end = curve.start.timestamp() + 60 * curve.step_minutes * len(curve.seen)
    assert end >= told[-1].updated.timestamp()
    assert sum(curve.seen) >= 50
    assert max(curve.seen) == 2 * curve.step_minutes


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
    assert sizes[2] < 1.5 * sizes[1]


def test_an_incident_of_any_size_keeps_its_state_bounded() -> None:
    flood = [
        complaint(
            1 + n / 400,
            id=f"f{n}",
            text=" ".join(f"w{(n * 7919 + k * 104729) % 5000:x}q" for k in range(40)),
            author=f"a{n}",
            followers=n,
        )
        for n in range(4000)
    ]
    fold = Fold()
    fold.run(in_order(usual_talk(), flood))
    assert len(msgspec.json.encode(fold.state[b"north|gap"])) < 64 * 1024


def test_an_alert_id_says_brand_kind_touchpoint_and_onset() -> None:
    onset = int(at(11 * 60 + 59).timestamp() // 60)
    assert alert_id("north-bikes", "gap", "price", onset) == "north-bikes.price.20240304T2359Z"
    assert alert_id("n", "delight", "all", onset) == "n.delight.all.20240304T2359Z"
