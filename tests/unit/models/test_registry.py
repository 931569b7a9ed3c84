"""Classifiers by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bundle import DEFAULT_NAME, packaged_folder
from models.classifier import ModelError
from models.labels import neutral_labels
from models.registry import load_classifier


def test_null_gives_every_post_the_neutral_labels() -> None:
    classifier = load_classifier("null")
    assert classifier.version == "null"
    assert classifier.classify(["a", ""]) == [neutral_labels(), neutral_labels()]
    classifier.close()


@pytest.mark.parametrize("name", ["default", DEFAULT_NAME, str(packaged_folder())])
def test_packaged_weights_by_name_and_by_folder(name: str) -> None:
    classifier = load_classifier(name, sessions=1)
    assert classifier.version == DEFAULT_NAME
    classifier.close()


def test_unknown_name_says_what_is_accepted() -> None:
    with pytest.raises(ModelError, match="'defualt' names no classifier; give `default`, `null`"):
        load_classifier("defualt")


def test_empty_folder_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: No such file or directory; reinstall"):
        load_classifier(str(tmp_path))
