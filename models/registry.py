"""Classifiers by name."""

from __future__ import annotations

import os
from pathlib import Path

from models.bundle import packaged_folder
from models.classifier import Backend, Classifier, ModelError
from models.encoder import EncoderClassifier
from models.null import NullClassifier
from models.onnx import OnnxClassifier


def load_classifier(
    name_or_folder: str = "default", *, backend: Backend = "onnx", sessions: int | None = None
) -> Classifier:
    """Load the classifier a setting names.

    Args:
        name_or_folder: `null` for a classifier that labels every post neutral, or what
            `load_encoder` takes.
        backend: What runs the network.
        sessions: Inference threads; one per core if not given.

    Raises:
        ModelError: nothing is there, it is not a classifier of these labels, or the backend is not
            installed.
    """
    if name_or_folder == "null":
        return NullClassifier()
    return load_encoder(name_or_folder, backend=backend, sessions=sessions)


def load_encoder(
    name_or_folder: str = "default", *, backend: Backend = "onnx", sessions: int | None = None
) -> EncoderClassifier:
    """Load a classifier with a network.

    Args:
        name_or_folder: `default` for the weights of this release, the name of other packaged
            weights, or a folder written by `python -m models.training.export` (a path with a
            separator in it).
        backend: What runs the network.
        sessions: Inference threads; one per core if not given.

    Raises:
        ModelError: as of `load_classifier`.
    """
    folder = _folder(name_or_folder)
    if backend == "onnx":
        return OnnxClassifier(folder, sessions=sessions)
    try:
        from models.torch import TorchClassifier
    except ImportError as error:
        raise ModelError(
            f"the torch backend needs a package that is not installed ({error}); "
            "pip install 'gapwatch[torch]', or use the backend `onnx`"
        ) from error
    return TorchClassifier(folder, threads=sessions)


def _folder(name_or_folder: str) -> Path:
    if name_or_folder == "default":
        return packaged_folder()
    if os.sep in name_or_folder or name_or_folder == os.curdir:
        return Path(name_or_folder)
    folder = packaged_folder(name_or_folder)
    if not folder.is_dir():
        raise ModelError(
            f"{name_or_folder!r} names no classifier; give `default`, `null` or a folder, "
            f"for example ./{name_or_folder}"
        )
    return folder
