"""The language of a post, told only where it is sure."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from functools import cache, lru_cache
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from models.normalise import unify

MIN_BYTES: Final = 12
"""Letters, in UTF-8 bytes, below which nothing is told: twelve of English, four of Chinese."""

MAX_CHARACTERS: Final = 400
"""Characters looked at: about what the encoder takes in."""

REMEMBERED: Final = 20_000
"""Texts whose language is kept for reposts; half a kilobyte each."""

SURE: Final = 0.4
"""Least probability of the language told. Kin such as Danish and Norwegian share theirs."""

DOUBT: Final = 0.02
"""Most probability the judged languages may have together where another is told."""

_LEFT_OUT: Final = frozenset({"pcm"})
"""Nigerian Pidgin: English headlines, without small words, look like it."""

_NO_WORDS: Final = re.compile(
    r"(?:https?://|www\.)\S+|[@#]\w+|[\u2190-\u2bff\u3000-\u303f\ufe0f\U0001f000-\U0001faff]+",
    re.IGNORECASE,
)
_LETTERS: Final = re.compile(r"[^\W\d_]+")


class LanguageDetector:
    """Tells the language of posts; the same text gets the same answer, in any thread.

    Args:
        judged: Codes (ISO 639) of the languages the classifier judges.
    """

    def __init__(self, judged: Collection[str]) -> None:
        self._judged = frozenset(judged)
        self._identifier = _load()
        self._told = lru_cache(REMEMBERED)(self._tell)

    def detect(self, text: str) -> str | None:
        """The language's code (ISO 639), or nothing where the words leave doubt.

        Links, handles, hashtags and emoji do not count. A language that is not judged is told only
        where the judged ones are out of the question. Never raises.
        """
        return self._told(_words(text))

    def is_foreign(self, language: str | None) -> bool:
        """Whether what `detect` told is a language that is not judged."""
        return language is not None and language not in self._judged

    def _tell(self, words: str) -> str | None:
        if sum(len(letters.encode()) for letters in _LETTERS.findall(words)) < MIN_BYTES:
            return None
        language, probability = self._identifier.classify(words)
        if probability < SURE:
            return None
        if language not in self._judged:
            chances = self._identifier.rank(words)
            if sum(chance for code, chance in chances if code in self._judged) > DOUBT:
                return None
        return str(language)


def _words(text: str) -> str:
    """The start of `text` without what is no language, whatever signs it is written in."""
    text = text[:MAX_CHARACTERS]
    if not text.isascii():
        text = unify(text)
    if "&" in text:
        text = unify(html.unescape(text))
    return " ".join(_NO_WORDS.sub(" ", text)[:MAX_CHARACTERS].split())


@cache
def _load() -> LanguageIdentifier:
    """The library's model, read once (half a second) and never changed afterwards."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([code for code in identifier.labels if code not in _LEFT_OUT])
    return identifier
