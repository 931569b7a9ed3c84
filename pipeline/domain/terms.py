"""What people say that the brand's talk does not usually say: distinctive words and word pairs.

Incident and ordinary talk are compared by posts, so that one post repeating a word has one voice.
A term's weight is the log-odds ratio of holding it, with an informative Dirichlet prior, in
standard deviations (Monroe, Colaresi and Quinn 2008, "Fightin' Words", with posts for words).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from math import log, sqrt
from typing import Final
from zlib import crc32

import msgspec

from pipeline.records import Term

READ_CHARACTERS: Final = 1000
"""Of a text, so much is read: what it is about stands at its beginning."""

WORD_CHARACTERS: Final = 24
TERM_CHARACTERS: Final = 40
"""Longest word, and longest pair; longer runs of letters are no words a reader would know."""

TERMS_SHOWN: Final = 6
LEAST_POSTS: Final = 2
LEAST_DISTINCTION: Final = 1.96
"""A term is shown from so many posts and so many standard deviations (two-sided 5 %) on."""

PRIOR_POSTS: Final = 20.0
"""Weight of the prior, in posts: both talks are taken to have held a term so often as together."""

COUNTED: Final = 300
COUNTED_ON: Final = 200
"""Most terms an incident counts, and how many of the most frequent go on when it reaches them."""

CELLS: Final = 4096
REMEMBERED: Final = 256
"""Posts of ordinary talk until all counts are halved: old talk fades, and counts fit a byte."""

SAMPLE_MINUTES: Final = 2
"""Of ordinary talk, one post in so long is counted: enough to know what is ordinary, and as cheap
for a brand everybody talks about."""

_NOISE: Final = re.compile(r"(?:https?://|www\.)\S+|@[\w.@-]+")
_WORD: Final = re.compile(r"[^\W\d_][^\W_]*(?:['-][^\W_]+)*|[.,;:!?()\[\]\n\"…|/]")
_HALF: Final = bytes(count // 2 for count in range(256))

_STOP: Final = frozenset(
    """
    a about after again all already also always am an and any anyone anything are as at away back be
    because been before being but by can can't could day days did didn't do does doesn't doing don't
    done else even ever every everyone everything for from get gets getting give go goes going gone
    got had has hasn't have haven't having he her here him his how i i'd i'll i'm i've if im in into
    is isn't it it's its ive just keep keeps know let like literally look lot made make makes many
    me mine more most much my myself need new no not nothing now of off oh ok on one only or other
    our out over own people please put quite rather really right said same say says see seems she
    should so some someone something still such sure take than thank thanks that that's the their
    them then there there's these they they're thing things think this those through time to today
    too two u up us use used very via want was wasn't way we we're well went were what what's when
    where which while who why will with won't would wouldn't yes yet you you're your
    """.split()  # noqa: SIM905 (a list of a word a line would be longer than this module)
)
_NEGATIONS: Final = frozenset(
    {"no", "not", "never", "can't", "won't", "didn't", "doesn't", "isn't"}
)
"""They begin a pair ("no refund") though they are no term of their own."""


def words(text: str) -> list[str]:
    """The words of a text in lower case, with punctuation marks where clauses end.

    Addresses and handles are left out; control characters and digits are no part of words.
    """
    text = text[:READ_CHARACTERS]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
    return _WORD.findall(_NOISE.sub(" ", text.lower()))


def terms_of(text: str, leave_out: frozenset[str] = frozenset()) -> list[str]:
    """The words and pairs of neighbouring words a text holds, each once.

    Args:
        text: A post's text.
        leave_out: Words that are in no term: the brand's own names.
    """
    found: dict[str, None] = {}
    before = ""
    for word in words(text):
        if len(word) > WORD_CHARACTERS or not word[0].isalpha() or word in leave_out:
            before = ""
            continue
        telling = len(word) > 1 and word not in _STOP
        if telling:
            found[word] = None
            if before and len(before) + len(word) < TERM_CHARACTERS:
                found[f"{before} {word}"] = None
        before = word if telling or word in _NEGATIONS else ""
    return list(found)


class OrdinaryTalk(msgspec.Struct, array_like=True, tag="words"):
    """How many of a brand's ordinary posts hold a term, within a few kilobytes.

    A count-min sketch with conservative update (Cormode and Muthukrishnan 2005; Estan and Varghese
    2002), two cells a term: counts are never too low, and a little too high for rare terms, which
    makes those less distinctive.

    Attributes:
        posts: Posts counted, halved with the cells.
        minute: Event minute of the last one.
        saved: Event minute at which it was last made durable.
    """

    cells: bytearray = msgspec.field(default_factory=lambda: bytearray(CELLS))
    posts: int = 0
    minute: int = 0
    saved: int = 0

    def hear(self, terms: Iterable[str]) -> None:
        """Count a post by its terms."""
        cells = self.cells
        for term in terms:
            one, other = _places(term)
            count, other_count = cells[one], cells[other]
            if count < other_count:
                cells[one] = count + 1
            elif other_count < count:
                cells[other] = other_count + 1
            elif count < 255:  # terms that share their cells could push a count beyond a byte
                cells[one] = cells[other] = count + 1
        self.posts += 1
        if self.posts >= REMEMBERED:
            self.posts //= 2
            self.cells = cells.translate(_HALF)

    def holding(self, term: str) -> int:
        """About how many of the posts hold `term`; rather too many than too few."""
        one, other = _places(term)
        return min(self.cells[one], self.cells[other], self.posts)


def _places(term: str) -> tuple[int, int]:
    hashed = crc32(term.encode())
    return hashed % CELLS, (hashed >> 16) % CELLS


def count_terms(counts: dict[str, int], terms: Iterable[str]) -> None:
    """Add a post that holds `terms` to an incident's counts, which stay at most `COUNTED`.

    Where there are too many, the rarest are forgotten, older ones first; what many say comes back.
    """
    for term in terms:
        counts[term] = counts.get(term, 0) + 1
    if len(counts) > COUNTED:
        newest_first = reversed(list(counts.items()))
        kept = sorted(newest_first, key=lambda item: -item[1])[:COUNTED_ON]
        gone = counts.keys() - {term for term, _ in kept}
        for term in gone:
            del counts[term]


def distinctive(
    counts: Mapping[str, int], posts: int, ordinary: OrdinaryTalk | None
) -> tuple[Term, ...]:
    """The terms that set an incident's posts apart, the most distinctive first.

    Args:
        counts: Posts of the incident that hold a term.
        posts: Posts of the incident.
        ordinary: The brand's ordinary talk; without any there is nothing to tell it from.
    """
    if ordinary is None or not ordinary.posts:
        return ()
    found = [
        Term(term, held, round(weight, 1))
        for term, held in counts.items()
        if held >= LEAST_POSTS
        and (weight := _distinction(held, posts, ordinary.holding(term), ordinary.posts))
        >= LEAST_DISTINCTION
    ]
    found.sort(key=lambda term: (-term.distinction, -term.posts, term.text))
    return tuple(_without_repetition(found)[:TERMS_SHOWN])


def _distinction(held: int, posts: int, held_usually: int, posts_usually: int) -> float:
    """Monroe et al.'s z-score of a term; above 0 where the incident holds it more often."""
    held = min(held, posts)
    rate = (held + held_usually + 0.5) / (posts + posts_usually + 1)
    prior, rest = PRIOR_POSTS * rate, PRIOR_POSTS * (1 - rate)
    here = (held + prior) / (posts - held + rest)
    usually = (held_usually + prior) / (posts_usually - held_usually + rest)
    return log(here / usually) / sqrt(1 / (held + prior) + 1 / (held_usually + prior))


def _without_repetition(terms: list[Term]) -> list[Term]:
    """Of a pair and its words: the pair where most posts with a word hold it, else the words."""
    shown: list[Term] = []
    for term in terms:
        parts = set(term.text.split())
        kin = [other for other in shown if parts & set(other.text.split())]
        if not kin:
            shown.append(term)
        elif all(_is_closer(term, other) for other in kin):
            shown[shown.index(kin[0])] = term
            shown = [other for other in shown if other not in kin]
    return shown


def _is_closer(pair: Term, word: Term) -> bool:
    """Whether a pair says more exactly what most posts with one of its words say."""
    return " " in pair.text and " " not in word.text and pair.posts >= 0.6 * word.posts
