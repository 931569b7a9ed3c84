"""Posts that say nearly the same, shown as one; and which of the others to show."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from math import log2, log10
from typing import Final

import msgspec

from pipeline.records import Post

LIKE: Final = 0.5
"""From this likeness on, two posts say the same: half of their word pairs are common."""

KEPT: Final = 24
"""Posts kept to choose from, of a brand and kind."""

SHOWN: Final = 3
POST_CHARACTERS: Final = 280

_NOISE: Final = re.compile(r"(?:https?://|www\.)\S+|@[\w.@-]+|^rt\b")
_WORD: Final = re.compile(r"\w+")
_DIGITS: Final = re.compile(r"\d+")


class Kept(msgspec.Struct, array_like=True):
    """A post, which may stand for others like it.

    Attributes:
        post: The one of most reach among them; `alike` counts the others.
        touchpoint: What it is about.
        minute: Event minute in which it was posted.
        repost: The words are another's: it counts where those are kept, and is never shown.
    """

    post: Post
    touchpoint: str
    minute: int
    repost: bool = False

    @property
    def worth(self) -> float:
        """How much it deserves to be shown: tenfold reach counts as a good thrice as many alike."""
        return log10(1 + self.post.followers) + 0.6 * log2(1 + self.post.alike)


@lru_cache(maxsize=2048)
def shingles(text: str) -> frozenset[str]:
    """The pairs of neighbouring words of a text, as it is compared.

    Case, style, punctuation, addresses, handles and numbers make no difference. A text of one word
    has that word, one without any has itself.
    """
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    plain = _DIGITS.sub("0", _NOISE.sub(" ", plain.casefold()))
    words = _WORD.findall(plain)
    if len(words) < 2:
        return frozenset(words or [text])
    return frozenset(map(" ".join, pairwise(words)))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard index of two sets of shingles: what they have in common of all they have."""
    # The cheap upper bound first: sets of very different size have little in common.
    if not LIKE * len(one) <= len(other) <= len(one) / LIKE:
        return 0.0
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def remember(posts: list[Kept], kept: Kept) -> None:
    """Append a post to `posts`, which stay at most `KEPT`, without a look at what they say.

    Reach decides who may be shown, recency who is kept: the least heard of the older half goes.
    """
    posts.append(kept)
    if len(posts) > KEPT:
        followers = [older.post.followers for older in posts[: KEPT // 2]]
        del posts[followers.index(min(followers))]


def fold(posts: list[Kept], new: Kept) -> None:
    """Take a post into `posts`, of which each stands for all like it, at most `KEPT`."""
    mine = shingles(new.post.text)
    for place, kept in enumerate(posts):
        theirs = shingles(kept.post.text)
        if mine.isdisjoint(theirs) or likeness(mine, theirs) < LIKE:
            continue
        # A source may send a post again after an edit: it is not like itself.
        alike = kept.post.alike + (new.post.id != kept.post.id)
        widest = new if new.post.followers > kept.post.followers and not new.repost else kept
        kept.post = msgspec.structs.replace(widest.post, alike=alike)
        posts.append(posts.pop(place))
        return
    if new.repost:
        return
    posts.append(new)
    if len(posts) > KEPT:
        posts.remove(min(posts[: KEPT // 2], key=lambda kept: kept.worth))


def choose(posts: Iterable[Kept]) -> tuple[Post, ...]:
    """The posts to show: of most worth, but saying different things, by different authors."""
    left = list(posts)
    chosen: list[Kept] = []

    def appeal(kept: Kept) -> float:
        mine = shingles(kept.post.text)
        said = max((likeness(mine, shingles(other.post.text)) for other in chosen), default=0.0)
        heard = any(kept.post.author == other.post.author for other in chosen)
        return kept.worth - 4.0 * said - 4.0 * heard

    while left and len(chosen) < SHOWN:
        best = max(left, key=appeal)
        left.remove(best)
        chosen.append(best)
    return tuple(kept.post for kept in chosen)
