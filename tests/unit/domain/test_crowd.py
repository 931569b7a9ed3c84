"""Distinct authors and their reach."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.crowd import LOUDEST, Crowd
from pipeline.domain.distinct import K, hash_author


def crowd_of(people: list[tuple[str, int]]) -> Crowd:
    crowd = Crowd()
    for name, followers in people:
        crowd.hear(hash_author(name), followers)
    return crowd


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1000)), max_size=40))
def test_each_author_counts_once_with_the_largest_following(people: list[tuple[str, int]]) -> None:
    crowd = crowd_of(people)
    largest: dict[str, int] = {}
    for name, followers in people:
        largest[name] = max(followers, largest.get(name, 0))
    assert (crowd.authors, crowd.reach) == (len(largest), sum(largest.values()))


@given(st.randoms(use_true_random=False))
def test_the_order_makes_no_difference(rng: random.Random) -> None:
    people = [(f"a{n}", n * n % 977) for n in range(600)]
    shuffled = rng.sample(people, len(people))
    one, other = crowd_of(people), crowd_of(shuffled)
    assert (one.hashes, one.followers) == (other.hashes, other.followers)
    assert sorted(one.loudest.values()) == sorted(other.loudest.values())


def test_a_large_crowds_reach_is_estimated_and_the_loudest_are_exact() -> None:
    rng = random.Random(1)
    people = [(f"a{n}", int(rng.lognormvariate(5, 1))) for n in range(5000)]
    people += [(f"star{n}", 10**6) for n in range(5)]
    crowd = crowd_of(people)
    assert crowd.authors == pytest.approx(5005, rel=0.2)
    assert crowd.reach == pytest.approx(sum(f for _, f in people), rel=0.25)


def test_memory_is_bounded() -> None:
    crowd = crowd_of([(f"a{n}", n) for n in range(3000)])
    assert len(crowd.hashes) == len(crowd.followers) == K
    assert len(crowd.loudest) == LOUDEST
    assert len(msgspec.json.encode(crowd)) < 8 * 1024
