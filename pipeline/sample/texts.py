"""The hand-written texts of the sample, and how they are dealt out over the day."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

Cue = Literal["ordinary", "delivery-incident", "broken-promise", "delight", "noise", "answer"]

_HERE: Final = Path(__file__).parent

_ENDINGS: Final = {
    "negative": ("😤", "🙄", "🤦", "…", "😑", "😡", "👎", "🫠", "😒", "💔"),
    "none": ("🙂", "…", "✨", "👀", "🍽️", "☕", "🌿", "🥄", "👋", "🍂"),
    "positive": ("🥰", "💚", "😍", "🙌", "!", "😋", "❤️", "🎉", "🤗", "🌟"),
}
_SIGNATURES: Final = ("~mo", "- Ada", "^tk", "(Jules)", "- B.", "~ nell", "- Kit", "/rs", "(Olu)")


class SampleText(msgspec.Struct, frozen=True, omit_defaults=True):
    """One text with its labels.

    Attributes:
        text: The words. `{brand}` and `{handle}` stand for a brand's name and handle where
            `brand` is `any`.
        brand: Key of the brand it is about, `any`, or empty where it is about none.
        cue: Which part of the day's story it belongs to.
        lang: Language of the words (BCP 47).
        own: Written by the brand's own account.
    """

    text: str
    brand: str
    stage: str
    gap: str
    touchpoint: str
    advocacy: str
    cue: Cue
    lang: str = "en"
    own: bool = False


_DECODER: Final = msgspec.json.Decoder(SampleText)


@dataclass(frozen=True, slots=True)
class SampleBrand:
    """What the stream needs to know of a brand: how it is named and who answers for it."""

    key: str
    name: str
    handle: str
    account: str


def sample_brands_path() -> Path:
    """The brand file that goes with the sample."""
    return _HERE / "brands.toml"


@cache
def load_brands() -> dict[str, SampleBrand]:
    """The sample's brands by key."""
    parsed = tomllib.loads(sample_brands_path().read_text(encoding="utf-8"))
    return {
        brand["key"]: SampleBrand(
            key=brand["key"],
            name=brand["name"],
            handle=brand["handles"][0],
            account=brand["accounts"][-1],
        )
        for brand in parsed["brands"]
    }


@cache
def load_texts() -> tuple[SampleText, ...]:
    """All texts, in the order of the file."""
    return tuple(_DECODER.decode_lines((_HERE / "texts.jsonl").read_bytes()))


def for_brand(text: SampleText, brand: SampleBrand) -> SampleText:
    """`text` about `brand`: the placeholders of an `any` text filled in."""
    if text.brand != "any":
        return text
    words = text.text.replace("{brand}", brand.name).replace("{handle}", brand.handle)
    return msgspec.structs.replace(text, text=words, brand=brand.key)


class Deck:
    """Texts dealt in random order, each once before any comes again."""

    def __init__(self, texts: Iterable[SampleText], rng: random.Random) -> None:
        self._texts = list(texts)
        self._rng = rng
        self._left: list[SampleText] = []

    def deal(self) -> SampleText:
        """The next text."""
        if not self._left:
            self._left = self._texts.copy()
            self._rng.shuffle(self._left)
        return self._left.pop()


class Wording:
    """Keeps two authors from posting the very same words: a text dealt again ends differently."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def of(self, text: SampleText, at: datetime) -> str:
        """The words to post at `at`: those of `text`, with an ending added if it was used."""
        words = text.text
        endings = _ENDINGS[text.gap]
        for attempt in range(6):
            if words not in self._used:
                break
            tags = [self._rng.choice(endings)]
            if attempt >= 1:
                tags.append(self._rng.choice(_SIGNATURES))
            if attempt >= 3:
                tags.append(f"{at:%H:%M}")
            words = _joined(text.text, tags)
        self._used.add(words)
        return words


def _joined(words: str, tags: list[str]) -> str:
    """`words` with `tags` after it; dots directly behind, unless a link or a tag ends there."""
    last = words.split()[-1]
    if tags[0] in "…!" and last.isalpha():
        return " ".join([words + tags[0], *tags[1:]])
    return " ".join([words, *tags])
