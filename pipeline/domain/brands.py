"""Which brands an event mentions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ahocorasick_rs import AhoCorasick

from pipeline.domain.text import UNSPACED, extends, fold, is_unspaced, is_word, joins
from pipeline.records import Event
from pipeline.settings import BrandSettings

MAX_LOOKED_AT: Final = 20_000
"""Characters of a text that are searched; what comes after them is not."""

_ADDRESS: Final = re.compile(
    rf"https?://[^\s<>\"{UNSPACED}]+"
    # Networks with Latin handles end them at the first character of another script.
    r"|@[a-z0-9_]+(?:[.@-][a-z0-9_]+)*"
    rf"|[@#][\w{UNSPACED}]+"
)
"""What names a place rather than says a word: URL, handle, host of an e-mail address, hashtag."""

_REST_OF_MAILBOX: Final = re.compile(r"(?:[\w.+&'-]{0,63}\w)?@\w")
"""What follows a word that is in an e-mail address, left of its `@`; 64 is the longest there is."""

_NOBODY: Final = -1

_Kind = Literal["alias", "handle", "hashtag"]


@dataclass(slots=True)
class _Needle:
    """One folded string that is looked for, and what finding it means."""

    kind: _Kind = "alias"
    owner: int = _NOBODY
    """Index of the brand it names; `_NOBODY` for a mere context word."""
    given: str = ""
    """As the settings spell it."""
    is_context: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    """Needles of the words that decide whether a brand's aliases count."""

    required: frozenset[int]
    forbidden: frozenset[int]

    def allows(self, words: set[int]) -> bool:
        return (not self.required or not self.required.isdisjoint(words)) and (
            self.forbidden.isdisjoint(words)
        )


class BrandMatcher:
    """Finds brands in events, all of them in one pass over the text.

    A brand is mentioned where its name or an alias stands as words of their own, or by one of its
    handles or whole hashtags. All comparing is of folded text (see `pipeline.domain.text.fold`).

    - Aliases inside URLs, e-mail addresses, handles and hashtags do not count. A handle in a URL
      does: `https://social.example/@north` points at the brand.
    - Where aliases overlap, the leftmost and then the longest counts, whosever it is: "North Face"
      does not mention "North".
    - `required` and `forbidden` words are looked for, as whole words and anywhere, in the text the
      alias is in. They do not touch handles and hashtags.
    - A handle ends where no network could go on: `@north.` is `@north`, while `@north.bikes`,
      `@north-bikes` and `@north@social.example` are other accounts.
    - Scripts without spaces need no word boundaries, and are one to words of other scripts.
    - An event by one of a brand's own accounts never mentions that brand.
    """

    def __init__(self, brands: Sequence[BrandSettings]) -> None:
        """Prepare to look for `brands`.

        Raises:
            ValueError: A pattern can never be found, or two brands share one; the message names
                the brands and the pattern as given.
        """
        self._keys = tuple(brand.key for brand in brands)
        self._needles: list[_Needle] = []
        self._ids: dict[str, int] = {}
        self._accounts: dict[str, set[int]] = {}
        for index, brand in enumerate(brands):
            for alias in (brand.name, *brand.aliases):
                self._claim(_folded_alias(brand, alias), "alias", index, alias)
            for handle in brand.handles:
                self._claim(_folded_tag(brand, "handle", "@", handle), "handle", index, handle)
            for hashtag in brand.hashtags:
                self._claim(_folded_tag(brand, "hashtag", "#", hashtag), "hashtag", index, hashtag)
            for account in brand.accounts:
                owners = self._accounts.setdefault(_folded_account(brand, account), set())
                owners.add(index)
        self._contexts = tuple(
            _Context(
                self._context_words(brand, "required", brand.required),
                self._context_words(brand, "forbidden", brand.forbidden),
            )
            for brand in brands
        )
        self._automaton = AhoCorasick(self._ids, store_patterns=False)

    def match(self, event: Event) -> tuple[str, ...]:
        """Keys of the brands the event mentions in `text` or `object`, in the settings' order."""
        found: set[int] = set()
        for text in (event.text, event.object):
            if text:
                self._find(fold(text[:MAX_LOOKED_AT]), found)
        if found and self._accounts:
            for identity in (event.actor.name, event.actor.id):
                found -= self._accounts.get(_without_at(fold(identity)), set())
        return tuple(self._keys[index] for index in sorted(found))

    def _find(self, text: str, found: set[int]) -> None:
        """Add the brands mentioned in a folded text."""
        hits = self._automaton.find_matches_as_indexes(text, overlapping=True)
        if not hits:
            return
        aliases: list[tuple[int, int, int]] = []
        words: set[int] = set()
        for needle_id, start, end in hits:
            needle = self._needles[needle_id]
            if _is_words(text, start, end):
                if needle.is_context:
                    words.add(needle_id)
                is_alias = needle.kind == "alias" and needle.owner != _NOBODY
                if is_alias and not _REST_OF_MAILBOX.match(text, end):
                    aliases.append((start, -end, needle.owner))
            if (needle.kind == "handle" and _is_handle(text, start, end)) or (
                needle.kind == "hashtag" and _is_hashtag(text, start, end)
            ):
                found.add(needle.owner)
        if aliases:
            # Addresses compete for their place like aliases, so that none is found inside them.
            aliases += ((m.start(), -m.end(), _NOBODY) for m in _ADDRESS.finditer(text))
            found.update(
                owner
                for owner in _leftmost_longest(aliases)
                if owner != _NOBODY and self._contexts[owner].allows(words)
            )

    def _claim(self, folded: str, kind: _Kind, owner: int, given: str) -> None:
        """Look for `folded` on behalf of a brand."""
        needle = self._needles[self._id(folded)]
        if needle.owner not in (_NOBODY, owner):
            raise ValueError(
                f"brand {self._keys[owner]!r}: {kind} {given!r} is the same as {kind} "
                f"{needle.given!r} of brand {self._keys[needle.owner]!r}; "
                "a mention could not be told apart"
            )
        needle.kind, needle.owner, needle.given = kind, owner, given

    def _context_words(
        self, brand: BrandSettings, field: str, words: Iterable[str]
    ) -> frozenset[int]:
        ids = [self._id(_folded(brand, f"{field} word", word)) for word in words]
        for needle_id in ids:
            self._needles[needle_id].is_context = True
        return frozenset(ids)

    def _id(self, folded: str) -> int:
        if folded not in self._ids:
            self._ids[folded] = len(self._needles)
            self._needles.append(_Needle())
        return self._ids[folded]


def _leftmost_longest(candidates: list[tuple[int, int, int]]) -> Iterator[int]:
    """Owners of the (start, −end, owner) that hold their place against those they overlap."""
    free_from = 0
    for start, minus_end, owner in sorted(candidates):
        if start >= free_from:
            free_from = -minus_end
            yield owner


def _is_words(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] does not begin or end within a word."""
    if start and joins(text[start - 1]) and not _stands_alone(text[start]):
        return False
    if end == len(text):
        return True
    after = text[end]
    return not extends(after) and (not joins(after) or _stands_alone(text[end - 1]))


def _stands_alone(character: str) -> bool:
    """Whether there is a word boundary beside it in any case: unspaced scripts and emoji."""
    return is_unspaced(character) or not (character.isascii() or is_word(character))


def _is_handle(text: str, start: int, end: int) -> bool:
    """Whether the handle at text[start:end] begins and ends there."""
    if start and joins(text[start - 1]):
        return False
    rest = text[end : end + 2]
    if not rest:
        return True
    goes_on = is_word if is_unspaced(text[end - 1]) else joins
    if extends(rest[0]) or goes_on(rest[0]):
        return False
    return not (rest[0] in ".-@" and joins(rest[1:] or " "))


def _is_hashtag(text: str, start: int, end: int) -> bool:
    """Whether the hashtag at text[start:end] is a whole one; a `/#part` of a URL is none."""
    if start and (joins(text[start - 1]) or text[start - 1] == "/"):
        return False
    return end == len(text) or not is_word(text[end])


def _folded(brand: BrandSettings, what: str, given: str) -> str:
    folded = fold(given)
    if not folded:
        raise ValueError(f"brand {brand.key!r}: {what} {given!r} holds nothing to look for")
    return folded


def _folded_alias(brand: BrandSettings, alias: str) -> str:
    folded = _folded(brand, "alias", alias)
    if _ADDRESS.search(folded):
        raise ValueError(
            f"brand {brand.key!r}: alias {alias!r} holds a handle, hashtag or address, in which "
            "aliases do not count; list it under handles or hashtags"
        )
    return folded


def _folded_tag(brand: BrandSettings, kind: _Kind, mark: str, given: str) -> str:
    folded = _folded(brand, kind, given).removeprefix(mark)
    if not folded or " " in folded:
        raise ValueError(
            f"brand {brand.key!r}: {kind} {given!r} must be {mark!r} and letters or digits, "
            "without spaces"
        )
    return mark + folded


def _folded_account(brand: BrandSettings, account: str) -> str:
    folded = _without_at(_folded(brand, "account", account))
    if not folded:
        raise ValueError(f"brand {brand.key!r}: account {account!r} holds nothing to look for")
    return folded


def _without_at(account: str) -> str:
    return account.removeprefix("@")
