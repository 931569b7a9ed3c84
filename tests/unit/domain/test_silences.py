"""Which silence holds for which alert."""

from __future__ import annotations

import pytest

from pipeline.domain.silences import Orders, fits, in_force
from pipeline.records import Acknowledgement, Silence
from tests.builders import an_alert, at


def silence(identity: str = "s1", **fields: object) -> Silence:
    return Silence(
        **{"id": identity, "start": at(0), "end": at(60), "author": "Ann"} | fields  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("fields", "fit"),
    [
        ({"brand": "north"}, True),
        ({"brand": "tern"}, False),
        ({"touchpoint": "delivery"}, True),
        ({"touchpoint": "support"}, False),
        ({"team": "Operations"}, True),
        ({"team": "Marketing"}, False),
        ({"brand": "north", "touchpoint": "support"}, False),
        ({"alert": "north.delivery.20240304T1200Z"}, True),
        ({"alert": "x"}, False),
    ],
)
def test_all_that_is_given_must_fit(fields: dict[str, str], fit: bool) -> None:
    assert fits(silence(**fields), an_alert()) is fit


def test_of_several_touchpoints_all_must_be_silenced() -> None:
    both = an_alert(touchpoints=("delivery", "support"))
    assert not fits(silence(touchpoint="delivery"), both)
    assert fits(silence(team="Operations"), both)
    assert not fits(silence(team="Operations"), an_alert(touchpoints=("delivery", "price")))


def test_a_silence_holds_from_its_start_until_before_its_end() -> None:
    orders = Orders()
    orders.hear_silence(silence())
    held = [orders.silence_of(an_alert(), at(m)) is not None for m in (-1, 0, 59, 60)]
    assert held == [False, True, True, False]


def test_the_silence_that_ends_last_is_named_and_a_later_word_replaces_an_earlier() -> None:
    orders = Orders()
    orders.hear_silence(silence("a"))
    orders.hear_silence(silence("b", end=at(90)))
    assert orders.silence_of(an_alert(), at(5)) == silence("b", end=at(90))
    orders.hear_silence(silence("b", end=at(4)))
    assert orders.silence_of(an_alert(), at(5)) == silence("a")
    assert orders.revision == 3


def test_an_acknowledgement_is_of_its_alert() -> None:
    orders = Orders()
    orders.hear_acknowledgement(Acknowledgement(an_alert().id, "Bo", at(1)))
    taken = orders.acknowledgement_of(an_alert())
    assert taken is not None
    assert taken.author == "Bo"
    assert orders.acknowledgement_of(an_alert(id="other")) is None


def test_in_force_are_those_that_have_not_ended() -> None:
    ended, now, later = silence("a", end=at(5)), silence("b"), silence("c", start=at(30))
    assert in_force([later, ended, now], at(10)) == [now, later]
