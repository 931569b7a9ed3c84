"""The production classifier: invariant, unbreakable by content, clear about its files."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.bundle import CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE, packaged_folder
from models.classifier import ModelError
from models.labels import HEADS, Labels, neutral_labels
from models.onnx import OnnxClassifier

THINGS = ["phone", "parcel", "app", "coffee", "flight", "router", "jacket", "help desk", "price"]
VERDICTS = [
    "is awesome",
    "never arrived and nobody answers",
    "broke again after two days!!!",
    "is fine",
    "should really come with a longer cable, please add one 🙏",
    "is out tomorrow http://example.org/x",
    "was so much better than I expected, thank you @acme 😍",
    "?",
]
OPENINGS = ["", "So my new ", "Honestly, the ", "RT @user: the ", "Just waiting for the ", "Ugh. "]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [
        f"{opening}{thing} {verdict}"
        for opening in OPENINGS
        for thing in THINGS
        for verdict in VERDICTS
    ]


@pytest.fixture(scope="module")
def classifier() -> Iterator[OnnxClassifier]:
    # Nothing is remembered, so that every answer comes from the model.
    classifier = OnnxClassifier(sessions=2, cache_posts=0)
    yield classifier
    classifier.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(packaged_folder(), tmp_path / "weights"))


def test_alone_and_in_any_company_a_post_gets_the_same_labels(
    classifier: OnnxClassifier, texts: list[str]
) -> None:
    together = dict(zip(texts, classifier.classify(texts), strict=True))
    assert [classifier.classify([text])[0] for text in texts] == list(together.values())
    draw = random.Random(1)
    for size in (2, 5, 64):
        shuffled = draw.sample(texts, len(texts))
        for start in range(0, len(texts), size):
            part = shuffled[start : start + size]
            assert classifier.classify(part) == [together[text] for text in part]


def test_sessions_and_batch_size_change_nothing(texts: list[str]) -> None:
    one = OnnxClassifier(sessions=1, batch_posts=1, cache_posts=0)
    many = OnnxClassifier(sessions=3, batch_posts=32, cache_posts=0)
    assert one.classify(texts) == many.classify(texts)
    one.close()
    many.close()


def test_probabilities_are_rounded_and_sum_to_one(
    classifier: OnnxClassifier, texts: list[str]
) -> None:
    for labels in classifier.classify(texts[:50]):
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
def test_clear_sentences(classifier: OnnxClassifier, text: str, expected: dict[str, str]) -> None:
    (labels,) = classifier.classify([text])
    assert {head: getattr(labels, head).label for head in expected} == expected


@pytest.mark.parametrize("text", ["", "   \n", "\u200b\ufeff", "\x00\x01", "\ud800", "\U000f0000"])
def test_nothing_readable_is_abstained_on(classifier: OnnxClassifier, text: str) -> None:
    assert classifier.classify([text]) == [neutral_labels("empty")]


@pytest.mark.parametrize(
    "text",
    [
        "late again " * 10_000,
        "x" * 100_000,
        "😡😡😡",
        "🏴‍☠️",
        "el pedido llegó roto y nadie responde",
        "配送が遅すぎる",
        "الخدمة سيئة",
        "\x07late\x1b[31m \u202eagain",
        "lone \udc00 surrogate",
        "!!!",
        "http://example.org",
    ],
)
def test_odd_texts_are_labelled(classifier: OnnxClassifier, text: str) -> None:
    (labels,) = classifier.classify([text])
    assert isinstance(labels, Labels)
    assert labels.abstained is None


def test_no_texts_no_labels(classifier: OnnxClassifier) -> None:
    assert classifier.classify([]) == []


def test_closed_is_closed() -> None:
    classifier = OnnxClassifier(sessions=1)
    classifier.close()
    with pytest.raises(RuntimeError, match="closed"):
        classifier.classify(["late again"])


def test_calls_at_once_judge_a_text_once_and_alike() -> None:
    texts = [f"The parcel came {days} days late" for days in range(30)]
    classifier = OnnxClassifier(sessions=2)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(classifier.classify, [texts, texts[::-1], texts, texts[10:]]))
    assert classifier.cache_lookups - classifier.cache_hits == len(texts)
    assert answers[0] == answers[2] == answers[1][::-1]
    assert answers[3] == answers[0][10:]


def test_reposts_are_answered_from_memory() -> None:
    classifier = OnnxClassifier(sessions=1, cache_posts=2)
    first = classifier.classify(["late  again", "late again", ""])
    assert first[0] is first[1]
    assert (classifier.cache_lookups, classifier.cache_hits) == (2, 1)
    classifier.classify(["two"])
    classifier.classify(["late again"])
    assert (classifier.cache_lookups, classifier.cache_hits) == (4, 2)
    classifier.classify(["three"])  # room for two: the longest unseen, `two`, goes
    classifier.classify(["late again", "three"])
    assert (classifier.cache_lookups, classifier.cache_hits) == (7, 4)
    classifier.classify(["two"])
    assert (classifier.cache_lookups, classifier.cache_hits) == (8, 4)
    classifier.close()


@pytest.mark.parametrize("name", [CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name}: No such file or directory; reinstall"):
        OnnxClassifier(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE])
def test_damaged_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: damaged or of another release \(sha256"):
        OnnxClassifier(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff\xfe"])
def test_foreign_configuration_is_named(folder: Path, content: bytes) -> None:
    (folder / CONFIG_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{CONFIG_FILE}: no classifier configuration"):
        OnnxClassifier(folder)


def test_other_labels_are_refused(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    config["heads"]["sentiment"] = ["bad", "good"]
    (folder / CONFIG_FILE).write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="made for other labels"):
        OnnxClassifier(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE])
def test_unreadable_content_is_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"not it")
    config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    config["sha256"][name] = hashlib.sha256(b"not it").hexdigest()
    (folder / CONFIG_FILE).write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match=name):
        OnnxClassifier(folder)
