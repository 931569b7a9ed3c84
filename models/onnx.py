"""The classifier as it runs in production: int8 weights, ONNX Runtime, CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnxruntime

from models.bundle import MODEL_FILE, Bundle, packaged_folder, read_bundle
from models.classifier import ModelError
from models.encoder import DEFAULT_CACHE_POSTS, EncoderClassifier, Ids, Logits, Runner

DEFAULT_BATCH_POSTS: Final = 4
"""Posts per run of the model: a fifth faster than one by one, and larger batches are no faster."""


class OnnxClassifier(EncoderClassifier):
    """Labels posts with the ONNX model in a folder.

    A post gets the same labels whatever is around it: posts of equal token length share a run, so
    nothing is padded, and the model scales each token by itself (`models.training.graph`).

    Args:
        folder: Folder with `model.onnx`, `tokenizer.json` and `config.json`; the weights that came
            with the package if not given.
        sessions: ONNX Runtime sessions, each run by a thread of its own; one per core if not given.
        batch_posts: Posts per run of a session, at most.
        cache_posts: Texts whose labels are remembered.

    Raises:
        ModelError: a file is missing, damaged or made for other labels.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        sessions: int | None = None,
        batch_posts: int = DEFAULT_BATCH_POSTS,
        cache_posts: int = DEFAULT_CACHE_POSTS,
    ) -> None:
        folder = folder or packaged_folder()
        bundle = read_bundle(folder, MODEL_FILE)
        count = sessions or len(os.sched_getaffinity(0))
        super().__init__(
            folder,
            bundle,
            [_runner(_open_session(folder, bundle)) for _ in range(count)],
            batch_posts=batch_posts,
            cache_posts=cache_posts,
        )


def _runner(session: onnxruntime.InferenceSession) -> Runner:
    def run(ids: Ids, _lengths: Sequence[int]) -> Logits:
        logits: Logits
        (logits,) = session.run(None, {"ids": ids})
        return logits

    return run


def _open_session(folder: Path, bundle: Bundle) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Shapes differ from run to run, so a remembered memory plan would only grow.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(
            bundle.model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ModelError(
            f"{folder / MODEL_FILE}: ONNX Runtime cannot load it ({error}); "
            "install the onnxruntime version that pyproject.toml asks for"
        ) from error
