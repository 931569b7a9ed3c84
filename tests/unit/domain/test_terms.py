"""Distinctive terms: which words are counted, and which stand out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.terms import (
    COUNTED,
    REMEMBERED,
    TERM_CHARACTERS,
    OrdinaryTalk,
    count_terms,
    distinctive,
    terms_of,
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The driver was RUDE", ["driver", "rude"]),
        ("Delivery driver rude", ["delivery", "driver", "delivery driver", "rude", "driver rude"]),
        ("No refund, ever", ["refund", "no refund"]),
        ("late. refund", ["late", "refund"]),
        ("@north https://evil.example/late?x=1 www.x.y parcel", ["parcel"]),
        ("North parcel north", ["parcel"]),
        ("#brokenpromise", ["brokenpromise"]),
        ("verspätet", ["verspätet"]),
        ("ｗｉｄｅ", ["wide"]),
        ("don’t bring tomorrow’s", ["bring", "tomorrow's", "bring tomorrow's"]),
        ("12345 4G 99", []),
        ("x" * 25, []),
        ("", []),
    ],
)
def test_terms_of_a_text(text: str, terms: list[str]) -> None:
    assert sorted(terms_of(text, frozenset({"north"}))) == sorted(terms)


@given(st.text())
def test_no_text_makes_a_term_that_is_long_or_hides_something(text: str) -> None:
    for term in terms_of(text):
        assert len(term) <= TERM_CHARACTERS
        assert all(c.isalnum() or c in " '-" for c in term)


def talk(*texts: str, times: int = 50) -> OrdinaryTalk:
    ordinary = OrdinaryTalk()
    for _ in range(times):
        for text in texts:
            ordinary.hear(terms_of(text))
    return ordinary


def found(texts: list[str], ordinary: OrdinaryTalk | None) -> list[str]:
    counts: dict[str, int] = {}
    for text in texts:
        count_terms(counts, terms_of(text))
    return [term.text for term in distinctive(counts, len(texts), ordinary)]


def test_what_is_ordinary_does_not_stand_out() -> None:
    ordinary = talk("great bread and late parcel", "lovely bread")
    assert found(["late parcel with mouldy cheese"] * 6, ordinary)[:1] == ["mouldy cheese"]
    assert found(["great bread"] * 6, ordinary) == []


def test_one_voice_is_no_talk() -> None:
    assert found(["mouldy mouldy mouldy mouldy", "late bread"], talk("bread")) == []


def test_without_ordinary_talk_nothing_stands_out() -> None:
    assert found(["mouldy cheese"] * 6, None) == []
    assert found(["mouldy cheese"] * 6, OrdinaryTalk()) == []


def test_a_pair_stands_for_its_words_where_they_come_together() -> None:
    apart = found(["monthly fee"] * 5 + ["fee"] * 20, talk("bread"))
    assert apart[0] == "fee"
    assert "monthly fee" not in apart
    assert found(["monthly fee"] * 5 + ["fee"], talk("bread")) == ["monthly fee"]


def test_old_talk_fades() -> None:
    ordinary = talk("mouldy cheese", times=200)
    before = ordinary.holding("cheese")
    for _ in range(4 * REMEMBERED):
        ordinary.hear(terms_of("fresh bread"))
    assert ordinary.holding("cheese") < before / 4
    assert ordinary.posts < REMEMBERED


@given(st.lists(st.sampled_from(["bread", "milk", "late", "fee"]), max_size=200))
def test_counts_are_never_too_low(words: list[str]) -> None:
    ordinary = OrdinaryTalk()
    for word in words:
        ordinary.hear([word])
    for word in set(words):
        assert ordinary.holding(word) >= words.count(word)


def test_ordinary_talk_survives_a_restart_within_bounds() -> None:
    ordinary = talk(*(f"w{n}x bread{n}" for n in range(100)), times=1)
    encoded = msgspec.json.encode(ordinary)
    assert msgspec.json.decode(encoded, type=OrdinaryTalk) == ordinary
    assert len(encoded) < 6 * 1024


def test_an_incidents_terms_are_bounded_and_keep_the_frequent() -> None:
    counts: dict[str, int] = {}
    for n in range(5000):
        count_terms(counts, [f"rare{n}", "cheese"])
        assert len(counts) <= COUNTED
    assert counts["cheese"] == 5000
