"""Authors who are to be forgotten, and taking them out of what is held.

An author is `source:id`, or `source:name` where a source gives no ids (`Event.author`). The list of
them holds hashes only (BLAKE2b, 128 bits, without a key): enough to recognise a post, and no list
of names; whoever may read it can only test a guess.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec

from pipeline.domain.terms import LEAST_POSTS, terms_of
from pipeline.records import Alert, Erasure, Event, Post


@lru_cache(maxsize=65_536)
def author_hash(source: str, author: str) -> str:
    """By what an author is known in the list, in hexadecimal digits."""
    named = f"{source}:{author}".encode("utf-8", "surrogatepass")
    return blake2b(named, digest_size=16, person=b"gapwatch-erase").hexdigest()


class Erasures:
    """The authors to be forgotten, kept current by `hear` calls.

    Attributes:
        revision: Grows with every change.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._hashes: set[str] = set()

    def hear(self, erasure: Erasure) -> None:
        """Take an author in."""
        new = {erasure.id, *([erasure.also] if erasure.also else ())}
        if not new <= self._hashes:
            self._hashes |= new
            self.revision += 1

    def covers(self, source: str, *authors: str) -> bool:
        """Whether one of an author's names at a source is that of somebody to be forgotten."""
        return bool(self._hashes) and any(
            author_hash(source, author) in self._hashes for author in authors if author
        )

    def covers_event(self, event: Event) -> bool:
        """Whether an event is by somebody to be forgotten."""
        return self.covers(event.source, event.actor.id, event.actor.name)

    def covers_post(self, post: Post) -> bool:
        """Whether a post is by somebody to be forgotten."""
        return self.covers(post.source, post.author_id, post.author)

    def scrubbed(self, alert: Alert) -> Alert:
        """The alert without their posts, and without the words only these held.

        Its figures stay: they say how many spoke, and nothing of anybody.
        """
        gone = [post for post in alert.posts if self.covers_post(post)]
        if not gone:
            return alert
        # Posts that one stands for may be by the same author, and hold the same words.
        held = [(set(terms_of(post.text)), 1 + post.alike) for post in gone]
        left = (
            msgspec.structs.replace(
                term, posts=term.posts - sum(n for words, n in held if term.text in words)
            )
            for term in alert.terms
        )
        return msgspec.structs.replace(
            alert,
            posts=tuple(post for post in alert.posts if post not in gone),
            terms=tuple(term for term in left if term.posts >= LEAST_POSTS),
        )
