"""Classifiers by name."""

from __future__ import annotations

import os
from pathlib import Path

from models.bundle import packaged_folder
from models.classifier import Classifier, ModelError
from models.null import NullClassifier
from models.onnx import OnnxClassifier


def load_classifier(name_or_folder: str = "default", *, sessions: int | None = None) -> Classifier:
    """Load the classifier a setting names.

    Args:
        name_or_folder: `default` for the weights of this release, `null` for a classifier that
            labels every post neutral, the name of other packaged weights, or a folder written by
            `python -m models.training.export` (a path with a separator in it).
        sessions: Inference threads; one per core if not given.

    Raises:
        ModelError: nothing is there, or it is not a classifier of these labels.
    """
    if name_or_folder == "null":
        return NullClassifier()
    if name_or_folder == "default":
        return OnnxClassifier(sessions=sessions)
    if os.sep in name_or_folder or name_or_folder == os.curdir:
        return OnnxClassifier(Path(name_or_folder), sessions=sessions)
    folder = packaged_folder(name_or_folder)
    if not folder.is_dir():
        raise ModelError(
            f"{name_or_folder!r} names no classifier; give `default`, `null` or a folder, "
            f"for example ./{name_or_folder}"
        )
    return OnnxClassifier(folder, sessions=sessions)
