"""The production classifier: its sessions, its memory, and what it says of its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.bundle import CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE, packaged_folder
from models.classifier import ModelError
from models.onnx import OnnxClassifier
from tests.unit.models.texts import posts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(packaged_folder(), tmp_path / "weights"))


def test_sessions_and_batch_size_change_nothing() -> None:
    texts = posts()
    one = OnnxClassifier(sessions=1, batch_posts=1, cache_posts=0)
    many = OnnxClassifier(sessions=3, batch_posts=32, cache_posts=0)
    assert one.classify(texts) == many.classify(texts)
    one.close()
    many.close()


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
