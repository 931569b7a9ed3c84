"""Classifiers by name."""

from __future__ import annotations

import subprocess
import sys
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


def test_a_backend_that_is_not_installed_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "models.torch", None)  # as if importing it failed
    with pytest.raises(ModelError, match=r"torch backend needs .*pip install 'gapwatch\[torch\]'"):
        load_classifier(backend="torch")


def test_the_default_backend_imports_no_torch() -> None:
    script = "import sys, models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_empty_folder_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json: No such file or directory; reinstall"):
        load_classifier(str(tmp_path))
