"""Texts for the classifier's tests: made-up posts, and texts made to break things."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

THINGS: Final = [
    "phone", "parcel", "app", "coffee", "flight", "router", "jacket", "help desk", "price",
]  # fmt: skip
VERDICTS: Final = [
    "is awesome",
    "never arrived and nobody answers",
    "broke again after two days!!!",
    "is fine",
    "should really come with a longer cable, please add one 🙏",
    "is out tomorrow http://example.org/x",
    "was so much better than I expected, thank you @acme 😍",
    "?",
]
OPENINGS: Final = ["", "So my new ", "Honestly, the ", "RT @user: the ", "Just waiting for the ",
                   "Ugh. "]  # fmt: skip

HOSTILE: Final = {
    "late, 100 kB": "late again " * 10_000,
    "one huge token": "x" * 100_000,
    "one huge token, not repeating": "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))) * 5,
    "controls": "".join(map(chr, range(32))) * 3_000 + " late again",
    "NULs": "\x00" * 50_000 + "late again" + "\x00" * 50_000,
    "lone surrogates": "late \ud800\udc00\udfff again \ud83d" * 2_000,
    "right to left": "\u202e\u2066late\u2069 again\u202c" * 5_000,
    "deep combining marks": "l" + "\u0301\u0489\u20dd" * 30_000 + "ate again",
    "combining marks alone": "\u0334" * 100_000,
    "zero width": "\u200b\u200c\u200d\ufeff".join("late again") * 2_000,
    "compatibility forms that grow": "\ufdfa" * 30_000,
    "entities in entities": "&amp;" + "amp;" * 25_000 + "lt;late",
    "unended entities": "&" * 100_000,
    "emoji": "👩🏽\u200d💻🏴\u200d☠️🇺🇸" * 10_000,
    "joined without end": "👩" + "\u200d👩" * 30_000,
    "handles": "@" * 50_000 + "late@" * 10_000,
    "links": "http://" * 15_000,
    "the tokenizer's own words": "[CLS] [SEP] [PAD] [MASK] [UNK] " * 3_000,
    "punctuation": "!?" * 50_000,
    "white space": " \t\r\n\u2028\u3000" * 15_000,
    "private use": "\U000f0000\ue000" * 20_000,
    "unassigned": "\u0378\U0003fffe" * 20_000,
    "terminal escapes": "\x1b[2J\x1b]0;late\x07 again" * 2_000,
}
"""Texts of about 100 kB and their name."""


def posts() -> list[str]:
    """Some four hundred different English posts."""
    return [
        f"{opening}{thing} {verdict}"
        for opening in OPENINGS
        for thing in THINGS
        for verdict in VERDICTS
    ]


def shuffled_parts(texts: list[str], draw: random.Random) -> Iterator[list[str]]:
    """`texts` in another order, in parts of 1 to 64."""
    rest = draw.sample(texts, len(texts))
    while rest:
        size = draw.choice([1, 2, 5, 64])
        yield rest[:size]
        rest = rest[size:]
