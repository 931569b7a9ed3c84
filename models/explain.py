"""Which words of a post moved its labels: the share each has in the label's probability.

The shares are Shapley values (Shapley 1953; for models, Štrumbelj and Kononenko 2010): how much a
word adds to ln p(label), averaged over orders in which the post's words may come in. Leaving out
one word at a time would miss what a post says twice, as complaints do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.columns import COLUMNS, OFFSETS
from models.encoder import EncoderClassifier
from models.labels import HEADS, Labels
from models.normalise import MAX_CHARACTERS, normalise

MOST_WORDS: Final = 6
"""Words told for a label, the strongest first."""

LEAST_WEIGHT: Final = 0.1
"""Weaker words are not told: they make the label less than about 10 % more or less probable."""

_ORDERS: Final = 4
"""Orders drawn; each is also taken backwards, which halves the spread for nothing."""

_WORD: Final = re.compile(
    r"(?:https?://|www\.)\S+"  # a link
    r"|[@#]?\w+(?:['’-]\w+)*"  # a word, handle or hashtag
    r"|[^\w\s]+"  # punctuation, emoji
)
_LEAST_CHANCE: Final = 1e-6


class Influence(msgspec.Struct, frozen=True):
    """How far a word of a post speaks for a label.

    Attributes:
        text: The word as it was written. It is the author's: escape it before showing.
        start: Where it stands in the post, in characters.
        end: Where it ends.
        weight: Its share of ln p(label): above zero it speaks for the label, below zero against
            it. The weights of all words add up to what the words together do.
    """

    text: str
    start: int
    end: int
    weight: float


class Explanation(msgspec.Struct, frozen=True):
    """The labels of a post and the words that moved them.

    Attributes:
        labels: What the post was given.
        influences: Head to the words that moved its label most, strongest first; all empty where
            the post was not judged.
    """

    labels: Labels
    influences: dict[str, tuple[Influence, ...]]


def explain(
    classifier: EncoderClassifier, text: str, *, most_words: int = MOST_WORDS
) -> Explanation:
    """Label `text` and tell which of its words moved each label.

    The same text gets the same answer. It costs about eight posts a word, for as many words as the
    model's window has tokens: a tenth of a second for a tweet, a few seconds for the longest.
    Never raises for what the text contains.
    """
    text = text[:MAX_CHARACTERS]
    (labels,) = classifier.classify([text])
    words = _words(text, classifier.max_tokens)
    if len(words) == classifier.max_tokens:
        text = text[: words[-1].end()]  # what follows would move up where words are left out
    if labels.abstained is not None or not words:
        return Explanation(labels, dict.fromkeys(HEADS, ()))
    shares = _shares(classifier, text, words)
    influences = {}
    for head, values in HEADS.items():
        weights = shares[:, OFFSETS[head].start + values.index(getattr(labels, head).label)]
        strongest = np.argsort(-np.abs(weights), kind="stable")[:most_words]
        influences[head] = tuple(
            Influence(
                words[at][0], words[at].start(), words[at].end(), round(float(weights[at]), 3)
            )
            for at in strongest.tolist()
            if abs(weights[at]) >= LEAST_WEIGHT
        )
    return Explanation(labels, influences)


def _words(text: str, limit: int) -> list[re.Match[str]]:
    """The first `limit` words of `text` that the model can see; each has a token at the least."""
    words = []
    for word in _WORD.finditer(text):
        if normalise(word[0]):
            words.append(word)
        if len(words) == limit:
            break
    return words


def _shares(
    classifier: EncoderClassifier, text: str, words: Sequence[re.Match[str]]
) -> NDArray[np.float64]:
    """What each word adds to the logarithm of each output's probability (words, outputs)."""
    draw = random.Random(len(words))  # noqa: S311 - the same every time, no secret
    orders = []
    for _ in range(_ORDERS):
        order = draw.sample(range(len(words)), len(words))
        orders += [order, order[::-1]]
    # The text after each word that comes in, from none to all of them; many come up again.
    texts = [
        [_with(text, words, set(order[:count])) for count in range(len(words) + 1)]
        for order in orders
    ]
    rows = {one: row for row, one in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
    chances = classifier.probabilities(list(rows)).astype(np.float64)
    logs = np.log(np.maximum(chances, _LEAST_CHANCE))
    shares = np.zeros((len(words), COLUMNS))
    for order, grown in zip(orders, texts, strict=True):
        shares[order] += np.diff(logs[[rows[one] for one in grown]], axis=0) / len(orders)
    return shares


def _with(text: str, words: Sequence[re.Match[str]], kept: Collection[int]) -> str:
    """`text`, normalised, with only the words numbered in `kept` and what is no word."""
    parts = []
    end = 0
    for number, word in enumerate(words):
        parts += [text[end : word.start()], word[0] if number in kept else " "]
        end = word.end()
    return normalise("".join(parts) + text[end:])
