"""Explanations: whole words of the original text, strongest first, for the label given."""

from __future__ import annotations

import time

import numpy as np
import pytest

from models.columns import OFFSETS
from models.encoder import EncoderClassifier
from models.explain import LEAST_WEIGHT, MOST_WORDS, explain
from models.labels import HEADS
from models.normalise import normalise
from tests.unit.models.texts import HOSTILE

COMPLAINT = "The parcel never arrived &amp; nobody aaanswers 😡 @acme https://example.org/x"


def test_words_are_those_of_the_text_as_it_was_written(backend: EncoderClassifier) -> None:
    told = explain(backend, COMPLAINT)
    assert told.labels == backend.classify([COMPLAINT])[0]
    assert set(told.influences) == set(HEADS)
    for words in told.influences.values():
        assert len(words) <= MOST_WORDS
        for word in words:
            assert COMPLAINT[word.start : word.end] == word.text
            assert abs(word.weight) >= LEAST_WEIGHT
        weights = [abs(word.weight) for word in words]
        assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("text", "head", "label", "words"),
    [
        ("The food is delicious", "sentiment", "positive", {"delicious"}),
        ("The food is disgusting", "sentiment", "negative", {"disgusting"}),
        ("You should add a dark mode to the app", "suggestion", "1", {"should", "add"}),
        ("Still waiting for my refund", "touchpoint", "warranty", {"refund"}),
    ],
)
def test_the_word_that_matters_leads(
    backend: EncoderClassifier, text: str, head: str, label: str, words: set[str]
) -> None:
    told = explain(backend, text)
    assert getattr(told.labels, head).label == label
    assert told.influences[head][0].text in words
    assert told.influences[head][0].weight > 0


def test_a_word_against_the_label_weighs_below_zero(onnx: EncoderClassifier) -> None:
    told = explain(onnx, "The food is lovely but the service is horrible, horrible, horrible")
    weights = {word.text: word.weight for word in told.influences["sentiment"]}
    assert told.labels.sentiment.label == "negative"
    assert weights["lovely"] < 0 < weights["horrible"]


def test_weights_add_up_to_what_the_words_together_do(onnx: EncoderClassifier) -> None:
    text = "Never again with this airline"
    told = explain(onnx, text, most_words=100)
    full, empty = np.log(onnx.probabilities([normalise(text), ""]))
    for head, values in HEADS.items():
        label = getattr(told.labels, head).label
        at = OFFSETS[head].start + values.index(label)
        total = sum(word.weight for word in told.influences[head])
        # Words too weak to be told are missing, and every weight is rounded.
        assert total == pytest.approx(full[at] - empty[at], abs=5 * LEAST_WEIGHT)


def test_the_same_text_gets_the_same_answer(onnx: EncoderClassifier) -> None:
    assert explain(onnx, COMPLAINT) == explain(onnx, COMPLAINT)


@pytest.mark.parametrize("text", ["", "\u200b", "Wann wird das endlich geliefert?"])
def test_what_was_not_judged_is_not_explained(onnx: EncoderClassifier, text: str) -> None:
    told = explain(onnx, text)
    assert told.labels.abstained
    assert not any(told.influences.values())


@pytest.mark.parametrize(
    "name", ["late, 100 kB", "one huge token", "lone surrogates", "deep combining marks", "emoji"]
)
def test_hostile_text_neither_breaks_nor_stalls(onnx: EncoderClassifier, name: str) -> None:
    began = time.monotonic()
    told = explain(onnx, HOSTILE[name])
    assert time.monotonic() - began < 60
    for words in told.influences.values():
        assert all(HOSTILE[name][word.start : word.end] == word.text for word in words)
