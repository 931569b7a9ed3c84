"""Distinct authors: exact while few, close when many, the same in any order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.distinct import K, add, estimate, hash_author, union

AUTHORS = st.lists(st.text(max_size=3), max_size=600)


def sketch(authors: list[str]) -> list[int]:
    """The sketch of these authors."""
    smallest: list[int] = []
    for author in authors:
        add(smallest, hash_author(author))
    return smallest


def numbered(count: int, prefix: str = "a") -> list[str]:
    """So many authors."""
    return [f"{prefix}{number}" for number in range(count)]


@given(AUTHORS, st.randoms(use_true_random=False))
def test_order_and_repeats_do_not_matter(authors: list[str], random: Random) -> None:
    shuffled = authors * 2
    random.shuffle(shuffled)
    assert sketch(shuffled) == sketch(authors)


@pytest.mark.parametrize("count", [0, 1, 2, 100, 255, 256])
@pytest.mark.parametrize("prefix", ["a", "b", "c"])
def test_up_to_256_the_count_is_exact(count: int, prefix: str) -> None:
    assert estimate(sketch(numbered(count, prefix))) == count


@pytest.mark.parametrize("count", [257, 1_000, 20_000])
def test_beyond_it_is_within_a_quarter(count: int) -> None:
    # Four standard errors of 1/sqrt(K - 2); the hash is fixed, so this cannot flake.
    assert estimate(sketch(numbered(count))) == pytest.approx(count, rel=0.25)


def test_memory_is_bounded_and_in_order() -> None:
    smallest = sketch(numbered(5_000))
    assert len(smallest) == K
    assert smallest == sorted(set(smallest))


@given(AUTHORS, AUTHORS)
def test_the_union_is_the_sketch_of_all_authors(some: list[str], others: list[str]) -> None:
    assert union([sketch(some), sketch(others)]) == sketch(some + others)


def test_an_author_counts_once_over_all_parts() -> None:
    assert estimate(union([sketch(numbered(50)), sketch(numbered(80))])) == 80
    assert union([]) == []


def test_any_name_can_be_counted() -> None:
    assert estimate(sketch(["", "\ud800", "名前", "a" * 10_000])) == 4
