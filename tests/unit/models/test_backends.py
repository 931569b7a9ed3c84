"""What every backend keeps: the same labels in any company, an answer to any text."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.workload import sample_posts
from models.bundle import DEFAULT_NAME
from models.columns import OFFSETS
from models.encoder import EncoderClassifier
from models.labels import HEADS, Labels, neutral_labels
from models.normalise import normalise
from tests.unit.models.texts import HOSTILE, posts, shuffled_parts

PATIENCE = 20.0
"""Seconds the most hostile text may take; a tenth of a second is usual."""

AGREEMENT = 0.995
"""Labels that int8 and float have in common; the rounding of activations costs the rest."""


def test_the_version_is_that_of_the_weights(backend: EncoderClassifier) -> None:
    assert backend.version == DEFAULT_NAME


def test_alone_and_in_any_company_a_post_gets_the_same_labels(backend: EncoderClassifier) -> None:
    texts = posts()
    together = dict(zip(texts, backend.classify(texts), strict=True))
    draw = random.Random(1)
    for part in shuffled_parts(texts, draw):
        assert backend.classify(part) == [together[text] for text in part]
    for text in draw.sample(texts, 20):
        assert backend.classify([text]) == [together[text]]


def test_calls_at_once_answer_as_calls_one_by_one(backend: EncoderClassifier) -> None:
    parts = [posts()[at : at + 40] for at in range(0, 200, 40)]
    alone = [backend.classify(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(backend.classify, parts)) == alone


def test_probabilities_are_rounded_and_sum_to_one(backend: EncoderClassifier) -> None:
    for labels in backend.classify(posts()[:50]):
        for head, values in HEADS.items():
            label = getattr(labels, head)
            assert tuple(label.probabilities) == values
            assert label.label == max(values, key=label.probabilities.__getitem__)
            assert sum(label.probabilities.values()) == pytest.approx(1, abs=5e-4)
            assert all(chance == round(chance, 4) for chance in label.probabilities.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "My order is two weeks late and nobody answers my calls. Worst service ever.",
            {"sentiment": "negative", "gap": "negative", "advocacy": "detractor"},
        ),
        (
            "The camera stopped working after one day, so disappointed, avoid this brand!",
            {"sentiment": "negative", "gap": "negative", "touchpoint": "product"},
        ),
        (
            "Absolutely love my new headphones, they sound amazing. Everyone should get them!",
            {"sentiment": "positive", "advocacy": "promoter", "touchpoint": "product"},
        ),
        (
            "It would be great if you added a dark mode to the app.",
            {"stage": "collaboration", "suggestion": "1", "gap": "none"},
        ),
        (
            "Still waiting for my refund. I returned the shoes a month ago!",
            {"touchpoint": "warranty", "gap": "negative"},
        ),
        (
            "Wow, the team replaced it the same day, far better than I ever expected. Thank you!",
            {"sentiment": "positive", "gap": "positive"},
        ),
        (
            "The meeting is on Tuesday.",
            {"sentiment": "neutral", "gap": "none", "advocacy": "passive", "suggestion": "0"},
        ),
    ],
)
def test_clear_sentences(backend: EncoderClassifier, text: str, expected: dict[str, str]) -> None:
    (labels,) = backend.classify([text])
    assert {head: getattr(labels, head).label for head in expected} == expected
    assert labels.lang == "en"


@pytest.mark.parametrize("text", ["", "   \n", "\u200b\ufeff", "\x00\x01", "\ud800", "\U000f0000"])
def test_nothing_readable_is_abstained_on(backend: EncoderClassifier, text: str) -> None:
    assert backend.classify([text]) == [neutral_labels("empty")]


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("El pedido llegó roto y nadie responde", "es"),
        ("Wann wird das endlich geliefert?", "de"),
        ("配送が遅すぎる", "ja"),
        ("الخدمة سيئة جدا ولا أحد يرد", "ar"),
    ],
)
def test_other_languages_are_abstained_on(backend: EncoderClassifier, text: str, lang: str) -> None:
    assert backend.classify([text, "late again"])[0] == neutral_labels("language", lang)


@pytest.mark.parametrize("text", ["😡😡😡", "🏴‍☠️", "!!!", "http://example.org", "Acme", "omg no"])
def test_too_little_to_tell_the_language_is_labelled(backend: EncoderClassifier, text: str) -> None:
    (labels,) = backend.classify([text])
    assert labels.abstained is None
    assert labels.lang is None


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_neither_breaks_nor_stalls(backend: EncoderClassifier, name: str) -> None:
    began = time.monotonic()
    (labels,) = backend.classify([HOSTILE[name]])
    assert time.monotonic() - began < PATIENCE
    assert isinstance(labels, Labels)


def test_hostile_texts_change_nothing_for_their_neighbours(backend: EncoderClassifier) -> None:
    post = "My order is two weeks late and nobody answers."
    (alone,) = backend.classify([post])
    among = backend.classify([*HOSTILE.values(), post, *HOSTILE.values()])
    assert among[len(HOSTILE)] == alone


@given(st.lists(st.text(st.characters(codec=None), max_size=300), max_size=8))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_texts_are_labelled(backend: EncoderClassifier, texts: list[str]) -> None:
    labels = backend.classify(texts)
    assert len(labels) == len(texts)
    assert labels == [backend.classify([text])[0] for text in texts]


def test_no_texts_no_labels(backend: EncoderClassifier) -> None:
    assert backend.classify([]) == []


@pytest.mark.torch
def test_the_backends_agree(onnx: EncoderClassifier, torch: EncoderClassifier) -> None:
    day = [normalise(text) for text in sample_posts(600, distinct=True).texts]
    expected, found = torch.logits(day), onnx.logits(day)
    alike = [
        expected[:, at].argmax(axis=1) == found[:, at].argmax(axis=1) for at in OFFSETS.values()
    ]
    assert np.mean(alike) >= AGREEMENT
