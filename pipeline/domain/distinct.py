"""Counting distinct authors in bounded memory, the same whatever the order they come in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

K: Final = 257
"""Hashes kept. Fewer authors are counted exactly, so up to 256; from there on the count's standard
error is 1/sqrt(K - 2), about 6 % (Bar-Yossef et al. 2002, k minimum values)."""

_SPACE: Final = 2.0**64


@lru_cache(maxsize=65_536)
def hash_author(author: str) -> int:
    """A 64-bit hash of an author, uniform over [0, 2^64)."""
    digest = blake2b(author.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def add(smallest: list[int], hashed: int) -> None:
    """Count an author's hash in `smallest`, an ascending list of at most `K` hashes."""
    if len(smallest) == K and hashed >= smallest[-1]:
        return
    at = bisect_left(smallest, hashed)
    if at < len(smallest) and smallest[at] == hashed:
        return
    smallest.insert(at, hashed)
    del smallest[K:]


def union(sketches: Iterable[list[int]]) -> list[int]:
    """The sketch of all authors of `sketches`."""
    merged: set[int] = set()
    for sketch in sketches:
        merged.update(sketch)
    return sorted(merged)[:K]


def estimate(smallest: list[int]) -> int:
    """How many distinct authors a sketch has seen."""
    if len(smallest) < K:
        return len(smallest)
    return round((K - 1) * _SPACE / (smallest[-1] + 1))
