"""Post text as the encoder sees it, the same in training and in serving."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any, Final

import emoji

MAX_CHARACTERS: Final = 4_000
"""Characters of a post that are read; about ten times what the encoder takes in."""

_MAX_ROUNDS: Final = 8

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_URL: Final = re.compile(
    r"(?:https?://|www\.|\b(?:pic\.twitter\.com|t\.co|bit\.ly|youtu\.be)/)\S+", re.IGNORECASE
)
_HANDLE: Final = re.compile(r"(?<!\w)@(\w+)")
_HELP_DESK: Final = re.compile(r"support|help|care", re.IGNORECASE)
_MAYBE_EMOJI: Final = re.compile(r"[\u00a9\u00ae\u203c-\U0010ffff]|[#*0-9]\ufe0f?\u20e3")
_SKIN_TONE: Final = re.compile(r"_?(?:medium-)?(?:light|medium|dark)_skin_tone")
_LETTERS: Final = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
_MARKS: Final = re.compile(r"([^\w\s])\1{3,}")

# Joiners, variation selectors and tags are part of emoji, so they go only once emoji are words.
_EMOJI_GLUE: Final = re.compile(r"[\u200d\u20e3\ufe00-\ufe0f\U000e0000-\U000e0fff]")
_INVISIBLE: Final = re.compile(
    "["
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are not white space
    r"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # soft hyphen, fillers
    r"\u200b\u200c\u2060-\u2065\u206a-\u206f\ufeff"  # zero-width
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi marks, embeddings, isolates
    r"\ufff0-\uffff"  # interlinear marks, replacement character, non-characters
    "]"
)

# The library builds its search tree on first use and holds no lock meanwhile: a second thread
# would look in half a tree and take an emoji for none.
emoji.emoji_count("\N{WHITE SMILING FACE}")


def normalise(text: str) -> str:
    """Return `text` cleaned for the tokenizer: at most `MAX_CHARACTERS` characters, never an error.

    HTML entities are read, compatibility forms folded, links become `http`, handles `@user` (or
    `@support` for a help desk's handle), emoji their English names, `sooooo` becomes `soo`.
    Invisible characters and lone surrogates are dropped, white space is single. Normalising twice
    gives the same text; an empty result means that nothing readable was there.
    """
    text = text[:MAX_CHARACTERS]
    # One rule can make work for another (an entity may spell a link), hence rounds; two is usual.
    for _ in range(_MAX_ROUNDS):
        cleaned = _clean(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def unify(text: str) -> str:
    """Compatibility forms folded, surrogate pairs joined, lone surrogates dropped."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))


def _clean(text: str) -> str:
    if not text.isascii():
        text = unify(text)
    if "&" in text:
        text = unify(html.unescape(html.unescape(text)))
        # Set apart, it can start no further entity; the tokenizer splits there in any case.
        text = text.replace("&", " & ")
    text = _URL.sub(" http ", text)
    text = _HANDLE.sub(_handle, text)
    text = _LETTERS.sub(r"\1\1", text)
    text = _MARKS.sub(r"\1\1\1", text)
    if _MAYBE_EMOJI.search(text):
        text = emoji.replace_emoji(text, _emoji_words)
    text = _EMOJI_GLUE.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    return " ".join(text.split())[:MAX_CHARACTERS].rstrip()


def _handle(match: re.Match[str]) -> str:
    return "@support" if _HELP_DESK.search(match[1]) else "@user"


def _emoji_words(_characters: str, data: dict[str, Any]) -> str:
    name = _SKIN_TONE.sub("", str(data["en"]))
    return f" {name.strip(':').replace('_', ' ')} "
