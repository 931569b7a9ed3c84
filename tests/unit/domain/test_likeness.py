"""Near-duplicates: folded, counted, and one of each shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.likeness import (
    KEPT,
    LIKE,
    Kept,
    choose,
    fold,
    likeness,
    remember,
    shingles,
)
from pipeline.records import Post
from tests.builders import NOON


def post(text: str, number: int = 0, followers: int = 0, author: str | None = None) -> Post:
    return Post(f"p{number}", author or f"a{number}", text, NOON, followers)


def kept(*posts: Post) -> list[Kept]:
    found: list[Kept] = []
    for minute, each in enumerate(posts):
        fold(found, Kept(each, "delivery", minute))
    return found


@pytest.mark.parametrize(
    "other",
    [
        "My order is three days late, again!",
        "@north my order is 3 days late again https://t.example/x1",
        "RT my order is three days late again",
        "MY ORDER IS THREE DAYS LATE AGAIN 😡😡",
        "so: my order is three days late again",
    ],
)
def test_the_same_words_in_another_dress_are_alike(other: str) -> None:
    assert likeness(shingles("my order is three days late again"), shingles(other)) >= LIKE


def test_other_words_are_not() -> None:
    one = shingles("my order is three days late again")
    assert likeness(one, shingles("the app lost my basket twice today")) < LIKE


@given(st.text(max_size=280), st.text(max_size=280))
def test_likeness_is_mutual_and_of_oneself_complete(one: str, other: str) -> None:
    a, b = shingles(one), shingles(other)
    assert likeness(a, a) == 1.0
    assert likeness(a, b) == likeness(b, a)


def test_the_widest_heard_stands_for_all_like_it() -> None:
    found = kept(
        *(post("same words for all of us", n, followers=n % 7) for n in range(42)),
        post("quite another thing to say", 99),
    )
    assert [k.post.alike for k in found] == [41, 0]
    assert found[0].post.followers == 6


def test_a_repost_counts_and_is_not_shown() -> None:
    found = kept(post("same words for all of us"))
    for again in (post("RT same words for all of us", 1, 9_000), post("words nobody kept", 2)):
        fold(found, Kept(again, "delivery", 1, repost=True))
    assert [(k.post.id, k.post.alike) for k in found] == [("p0", 1)]


def test_the_same_post_again_is_not_like_itself() -> None:
    assert kept(post("same words for all"), post("same words for all"))[0].post.alike == 0


def test_posts_kept_are_bounded_and_a_great_reach_stays() -> None:
    star = post("one of a kind", 0, followers=10**6)
    names = [a + b + c for a in "bcdfgh" for b in "aeiou" for c in "klmnpr"]
    found = kept(star, *(post(f"{name} says {name}", n) for n, name in enumerate(names, 1)))
    assert len(found) == KEPT
    assert star in [k.post for k in found]
    for minute in range(200):
        remember(found, Kept(post("words", minute), "delivery", minute))
    assert len(found) == KEPT
    assert star in [k.post for k in found]


def test_three_are_shown_that_say_different_things_by_different_people() -> None:
    found = kept(
        post("late parcel again today", 1, followers=5000, author="ann"),
        post("late parcel again friday noon", 2, followers=4000),
        post("rude driver at my door", 3, followers=3000, author="ann"),
        post("no refund for weeks now", 4, followers=10),
        post("app shows the wrong price", 5, followers=0),
    )
    shown = [p.id for p in choose(found)]
    assert shown[0] == "p1"
    assert len(shown) == 3
    assert "p3" not in shown  # her words are there already
    assert "p4" in shown
