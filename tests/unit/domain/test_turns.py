"""The turns of an alert: which there are, and that they stay few."""

from __future__ import annotations

import msgspec

from pipeline.domain.turns import turned
from pipeline.records import TURNS_KEPT, Alert
from tests.builders import an_alert, at


def followed(*states: dict[str, object]) -> Alert:
    """An alert that has gone through these states, a minute apart."""
    before = None
    for minute, state in enumerate(states):
        now = an_alert(updated=at(minute), **state)
        before = msgspec.structs.replace(now, turns=turned(before, now))
    assert before is not None
    return before


def test_a_turn_is_a_change_of_status_silence_or_keeper() -> None:
    alert = followed(
        {"status": "firing", "seen": 9},
        {"status": "firing", "seen": 20},
        {"status": "firing", "silenced": "s1"},
        {"status": "escalated", "silenced": "s1", "severity": 4},
        {"status": "escalated", "acknowledged": "Bo"},
        {"status": "resolved", "acknowledged": "Bo"},
    )
    assert [(turn.what, turn.by, turn.at) for turn in alert.turns] == [
        ("firing", None, at(0)),
        ("silenced", "s1", at(2)),
        ("escalated", None, at(3)),
        ("heard", None, at(4)),
        ("acknowledged", "Bo", at(4)),
        ("resolved", None, at(5)),
    ]
    assert (alert.turns[0].seen, alert.turns[2].severity) == (9, 4)


def test_one_held_back_from_the_first_has_fired_all_the_same() -> None:
    alert = followed({"status": "firing", "silenced": "limit"})
    assert [(turn.what, turn.by) for turn in alert.turns] == [
        ("firing", None),
        ("silenced", "limit"),
    ]


def test_of_very_many_the_first_and_the_latest_are_kept() -> None:
    flicker = [{"silenced": f"s{n}"} for n in range(3 * TURNS_KEPT)]
    alert = followed({"status": "firing"}, *flicker)
    assert len(alert.turns) == TURNS_KEPT
    assert alert.turns[0].what == "firing"
    assert alert.turns[-1].by == f"s{3 * TURNS_KEPT - 1}"
