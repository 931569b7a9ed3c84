"""What is told of an alert and what is held back: silences, snoozes, relapses, limits, takers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest

from pipeline.domain.lifecycle import COOL_DOWN, LIMIT, Rules
from pipeline.domain.silences import Orders
from pipeline.records import Acknowledgement, Alert, Mention, Silence
from tests.builders import at
from tests.unit.domain.test_alerts import RULES, Fold, complaints, in_order, usual_talk


def incident(*starts: float, minutes: int = 25, per_minute: int = 2) -> list[Mention]:
    """Usual talk with a burst of complaints at each start."""
    bursts = [complaints(start, minutes, per_minute) for start in starts]
    return in_order(usual_talk(until=max(starts) + 300), *bursts)


def rules(**changed: float) -> Rules:
    return msgspec.structs.replace(RULES, **changed)


def silence(**fields: object) -> Silence:
    given = {
        "id": "s1",
        "start": at(-600),
        "end": at(600),
        "author": "Ann",
        "comment": "we know",
        "brand": "north",
    }
    return Silence(**given | fields)


def told_with(log: list[Mention], *silences: Silence, **changed: float) -> list[Alert]:
    orders = Orders()
    for each in silences:
        orders.hear_silence(each)
    return Fold(orders=orders, rules=rules(**changed)).run(log)


def messages(alerts: Iterable[Alert]) -> list[tuple[str, str]]:
    """Changes of status told and not held back: what a receiver gets."""
    return list(dict.fromkeys((a.id, a.status) for a in alerts if a.silenced is None))


def test_a_silenced_alert_is_followed_and_never_sent() -> None:
    told = told_with(incident(30), silence())
    assert [status for _, status in dict.fromkeys((a.id, a.status) for a in told)] == [
        "firing",
        "escalated",
        "resolved",
    ]
    assert {alert.silenced for alert in told} == {"s1"}


@pytest.mark.parametrize(
    "fields",
    [
        {"touchpoint": "support"},
        {"team": "Marketing"},
        {"brand": "tern"},
        {"end": at(20)},
        {"start": at(500)},
        {"brand": None, "alert": "another"},
    ],
)
def test_a_silence_of_something_else_changes_nothing(fields: dict[str, object]) -> None:
    assert {alert.silenced for alert in told_with(incident(30), silence(**fields))} == {None}


def test_a_silence_that_ends_lets_the_alert_be_heard_once() -> None:
    told = told_with(incident(30, minutes=60), silence(end=at(50)))
    begun, heard = [a for a in told if a.silenced], [a for a in told if a.silenced is None]
    assert begun[-1].updated < at(50) <= heard[0].updated
    assert "no longer silenced" in heard[0].changed
    assert sum("no longer silenced" in alert.changed for alert in told) == 1
    assert messages(told)[-1][1] == "resolved"


def test_a_silence_that_begins_is_announced_once_and_says_whose_it_is() -> None:
    told = told_with(incident(30, minutes=60), silence(start=at(50)))
    announced = [alert for alert in told if "silenced until" in alert.changed]
    assert len(announced) == 1
    assert "silenced until 2024-03-04 22:00 UTC by Ann: we know" in announced[0].changed
    assert announced[0].silenced == "s1"


def test_what_was_opened_is_closed_though_it_is_silenced_meanwhile() -> None:
    told = told_with(incident(30), silence(start=at(40)))
    assert told[-2].silenced == "s1"
    assert (told[-1].status, told[-1].silenced) == ("resolved", None)


def test_orders_are_heeded_without_waiting_for_the_minute() -> None:
    orders = Orders()
    fold = Fold(orders=orders)
    fold.run([m for m in incident(30) if m.event.published < at(41)])
    alert = fold.watch.open_alerts()[0]
    orders.hear_silence(silence(brand=None, alert=alert.id, end=at(90)))
    orders.hear_acknowledgement(Acknowledgement(alert.id, "Bo", at(41)))
    changed, told = fold.watch.heed(fold.clock.time)
    assert changed == {b"north|gap", b"north|gap|delivery", b"north|gap|all"}
    assert (told[0].silenced, told[0].acknowledged) == ("s1", "Bo")
    assert "taken on by Bo" in told[0].changed
    assert fold.watch.heed(fold.clock.time)[1] == []


def test_an_alert_taken_on_escalates_only_when_it_becomes_much_worse() -> None:
    log = incident(30, minutes=20, per_minute=2)
    escalated = next(a for a in Fold().run(log) if a.status == "escalated")

    def taken_on_before(log: list[Mention]) -> list[Alert]:
        orders = Orders()
        fold = Fold(orders=orders)
        fold.run([m for m in log if m.event.published < escalated.updated])
        orders.hear_acknowledgement(Acknowledgement(escalated.id, "Bo", at(31)))
        fold.watch.heed(fold.clock.time)
        fold.told.clear()
        return fold.run([m for m in log if m.event.published >= escalated.updated])

    told = taken_on_before(log)
    assert {a.status for a in told} == {"firing", "resolved"}
    assert {a.acknowledged for a in told} == {"Bo"}
    worse = in_order(log, complaints(45, 20, 60))
    assert "escalated" in {a.status for a in taken_on_before(worse)}


def test_an_alert_that_grows_much_worse_escalates_at_once() -> None:
    told = Fold().run(in_order(usual_talk(until=30), complaints(30, 10, 60)))
    escalated = next(alert for alert in told if alert.status == "escalated")
    assert (escalated.updated - told[0].updated).total_seconds() < 240
    assert escalated.severity >= told[0].severity + 2


def test_an_alert_that_flickers_escalates_once_at_most() -> None:
    waves = [m for n in range(6) for m in complaints(30 + 25 * n, 10, 1 + n % 3)]
    told = Fold().run(in_order(usual_talk(until=400), waves))
    statuses = [a.status for a, b in pairwise([*told, told[-1]]) if a.status != b.status]
    assert statuses.count("firing") <= 1
    assert statuses.count("escalated") <= 1


def test_a_relapse_is_quiet_until_the_cool_down_is_over() -> None:
    # The first is over within two hours; the second begins soon after and is no worse.
    log = in_order(usual_talk(until=500), complaints(30, 20, 3), complaints(170, 20, 1))
    told = told_with(log, cooldown_minutes=240)
    first = told[0].id
    relapse = [alert for alert in told if alert.id != first]
    assert {alert.silenced for alert in relapse if alert.status != "resolved"} == {COOL_DOWN}
    assert {identity for identity, _ in messages(told)} == {first}

    at_once = told_with(log, cooldown_minutes=0)
    assert len({identity for identity, _ in messages(at_once)}) == 2


def test_a_relapse_that_outlasts_the_cool_down_is_told() -> None:
    log = in_order(usual_talk(until=600), complaints(30, 20, 2), complaints(170, 200, 2))
    relapse = [alert for alert in told_with(log, cooldown_minutes=90) if alert.onset >= at(100)]
    assert relapse[0].silenced == COOL_DOWN
    assert "no longer silenced" in next(a for a in relapse if a.silenced is None).changed


def test_a_worse_relapse_is_no_relapse() -> None:
    log = in_order(usual_talk(until=600), complaints(30, 20, 1), complaints(170, 30, 40))
    told = told_with(log, cooldown_minutes=240)
    assert len({identity for identity, _ in messages(told)}) == 2


def test_no_more_messages_an_hour_than_allowed_but_for_resolutions() -> None:
    log = incident(30)
    assert [status for _, status in messages(told_with(log, max_messages_per_hour=1))] == [
        "firing",
        "resolved",
    ]
    # Two brands' worth of it: what is over the limit waits, and is told when there is room.
    waves = in_order(usual_talk(until=600), *(complaints(20 + 100 * n, 15, 2) for n in range(3)))
    told = told_with(waves, max_messages_per_hour=1, cooldown_minutes=0, resolve_after_minutes=5)
    times = sorted(
        min(a.updated for a in told if (a.id, a.status) == message and a.silenced is None)
        for message in messages(told)
        if message[1] != "resolved"
    )
    assert all((b - a).total_seconds() >= 3500 for a, b in pairwise(times))


def test_what_is_over_the_limit_waits_and_says_why() -> None:
    told = told_with(
        in_order(usual_talk(until=400), complaints(20, 12, 3), complaints(100, 90, 3)),
        max_messages_per_hour=1,
        cooldown_minutes=0,
        resolve_after_minutes=5,
    )
    waiting = [alert for alert in told if alert.silenced == LIMIT]
    assert waiting[0].status == "firing"
    heard = [a for a in told if a.id == waiting[0].id and a.silenced is None]
    assert "no longer silenced" in heard[0].changed


def test_what_changed_is_counted_from_the_last_change_of_status() -> None:
    told = Fold().run(incident(30))
    escalated = [alert for alert in told if alert.status == "escalated"]
    counts = [
        int(alert.changed.split(" more")[0].replace(",", ""))
        for alert in escalated[1:]
        if " more post" in alert.changed
    ]
    assert counts == sorted(counts)
    assert counts[-1] == sum(escalated[-1].stages.values()) - sum(escalated[0].stages.values())
