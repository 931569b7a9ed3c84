"""How many people spoke and how many they reach, each counted once, in bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

from pipeline.domain import distinct

LOUDEST: Final = 16
"""Authors of most followers whose reach is kept exactly: they make most of any crowd's."""


class Crowd(msgspec.Struct, array_like=True):
    """Distinct authors and their followers, the same whatever the order they come in.

    A sample of the authors with the smallest hashes, as in `distinct`, with their followers, and
    the loudest of all. Exact up to 256 authors, estimated from there on: the loudest as they are,
    the others by the sample's mean.

    Attributes:
        hashes: The smallest author hashes, ascending.
        followers: Followers of each of them.
        loudest: Author hash to followers, of those with most.
    """

    hashes: list[int] = msgspec.field(default_factory=list)
    followers: list[int] = msgspec.field(default_factory=list)
    loudest: dict[int, int] = msgspec.field(default_factory=dict)

    def hear(self, author: int, followers: int) -> None:
        """Take in an author by hash; of several times, the largest following counts."""
        at = bisect_left(self.hashes, author)
        if at < len(self.hashes) and self.hashes[at] == author:
            self.followers[at] = max(self.followers[at], followers)
        elif at < distinct.K:
            self.hashes.insert(at, author)
            self.followers.insert(at, followers)
            del self.hashes[distinct.K :]
            del self.followers[distinct.K :]
        loudest = self.loudest
        if followers > loudest.get(author, 0):
            loudest[author] = followers
            if len(loudest) > LOUDEST:
                del loudest[min(loudest, key=lambda hashed: (loudest[hashed], hashed))]

    @property
    def authors(self) -> int:
        """Distinct authors; from 257 on within about 6 %."""
        return distinct.estimate(self.hashes)

    @property
    def reach(self) -> int:
        """Followers of the authors, each author once."""
        if len(self.hashes) < distinct.K:
            return sum(self.followers)
        quiet = [
            count
            for hashed, count in zip(self.hashes, self.followers, strict=True)
            if hashed not in self.loudest
        ]
        mean = sum(quiet) / len(quiet) if quiet else 0.0
        return sum(self.loudest.values()) + round(mean * (self.authors - len(self.loudest)))
