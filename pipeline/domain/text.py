"""Text as it is compared: one spelling for what readers take to be the same word.

`fold` brings text to that spelling; `is_word`, `joins` and `extends` say where words end in it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_APOSTROPHES: Final = "`´‘’‛′ʹʻʼʽʾʿˈꞌ❛❜"
_HYPHENS: Final = "‐‑‒–−⁃"  # no em dash: it parts clauses, not words
_UNDECOMPOSED: Final = {
    "ı": "i", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe",
}  # fmt: skip
_STYLED: Final = (
    ("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz"),  # small capitals
    ("".join(map(chr, range(0x1F150, 0x1F16A))), "abcdefghijklmnopqrstuvwxyz"),  # white on a disc
    ("".join(map(chr, range(0x1F170, 0x1F18A))), "abcdefghijklmnopqrstuvwxyz"),  # white on a square
)
_SPELLINGS: Final = {
    **dict.fromkeys(_APOSTROPHES, "'"),
    **dict.fromkeys(_HYPHENS, "-"),
    **dict.fromkeys("™℠®", ""),  # NFKD would make "Lowe™" one word, "LoweTM"
    **_UNDECOMPOSED,
    **{styled: plain for row in _STYLED for styled, plain in zip(*row, strict=True)},
}
"""Characters that NFKD and casefold leave apart from the plain ones they stand for."""

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Default-ignorable characters that are not of category Cf: joiners, fillers, variants."""

UNSPACED: Final = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\u3005-\u3007"
    "\u3031-\u30ff\u3100-\u318f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf"
    "\ua960-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\U0001aff0-\U0001b16f"
    "\U00020000-\U0003ffff"
)
"""Scripts that write words together, as the inside of a regular expression's character class.

Thai, Lao, Tibetan, Burmese, Khmer, Tai and Javanese scripts, Han, kana, bopomofo, Yi; and Hangul,
whose particles join the noun they follow.
"""

_IS_UNSPACED: Final = re.compile(f"[{UNSPACED}]")
_REMEMBERED_BELOW: Final = 0x20000


def fold(text: str) -> str:
    """Bring text to the spelling it is compared in; not meant for showing.

    Gone are differences of case, accent, width and style (`𝓛öwe` is `lowe`), of apostrophe and of
    hyphen, of kind and length of white space, and everything invisible. Letters that are not
    accented variants stay apart (`か` and `が`, Thai and Indic vowel signs), decomposed. Lone
    surrogates become U+FFFD. Folding what is folded changes nothing; any text can be folded.
    """
    spelt = text.lower().replace("`", "'") if text.isascii() else text.translate(_folding)
    return " ".join(spelt.split())


class _Folding(dict[int, str]):
    """A table for `str.translate` that fills itself; a character's folding needs no neighbours."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if code < _REMEMBERED_BELOW:  # a writer of all of Unicode must not fill our memory
            self[code] = folded
        return folded


_folding: Final = _Folding()


def _fold_character(character: str) -> str:
    spelling = _SPELLINGS.get(character)
    if spelling is not None:
        return spelling
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in ("Cf", "Me") or _is_accent(character) or _INVISIBLE.match(character):
        return ""
    plain = unicodedata.normalize("NFKD", character.casefold())
    if plain == character:
        return character
    return "".join(map(_fold_character, plain))


def _is_accent(character: str) -> bool:
    """A mark that varies a letter: not kana voicing, nor a vowel sign or tone of Thai or Indic."""
    place = unicodedata.combining(character)
    return place == 1 or 10 <= place <= 36 or place >= 200


@lru_cache(maxsize=8192)
def is_word(character: str) -> bool:
    """Whether a folded character is part of a word: a letter, digit, mark or underscore."""
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


@lru_cache(maxsize=8192)
def is_unspaced(character: str) -> bool:
    """Whether a folded character is of a script that writes words together."""
    return _IS_UNSPACED.match(character) is not None


@lru_cache(maxsize=8192)
def joins(character: str) -> bool:
    """Whether a folded character beside a word makes it a longer one: `s` to `north`, not `の`."""
    return is_word(character) and not is_unspaced(character)


@lru_cache(maxsize=8192)
def extends(character: str) -> bool:
    """Whether a folded character alters the one before: a mark, or a jamo within its syllable."""
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"
        or "\ud7b0" <= character <= "\ud7ff"
    )
