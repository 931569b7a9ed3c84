"""What the torch backend says of its weights; the contract is in `test_backends`."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.bundle import (
    CONFIG_FILE,
    ENCODER_KEY,
    FLOAT_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    packaged_folder,
)
from models.classifier import ModelError
from models.columns import COLUMNS
from models.labels import neutral_labels
from models.registry import load_classifier

pytestmark = pytest.mark.torch

SHAPE = {
    "vocab_size": 30_522,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 128,
    "layer_norm_eps": 1e-12,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small classifier with random weights, for this backend alone."""
    for name in (CONFIG_FILE, TOKENIZER_FILE):
        shutil.copyfile(packaged_folder() / name, tmp_path / name)
    write(tmp_path, content(SHAPE))
    return tmp_path


def content(shape: dict[str, Any] | None, **changed: Any) -> bytes:
    """A safetensors file of a network of `SHAPE`, its header saying `shape`."""
    import torch
    from safetensors.torch import save
    from transformers import BertConfig, BertModel

    torch.manual_seed(7)
    state = BertModel(BertConfig(**SHAPE), add_pooling_layer=False).state_dict()
    state |= {"heads.weight": torch.randn(COLUMNS, 8), "heads.bias": torch.zeros(COLUMNS)}
    state = {name: value.half() for name, value in (state | changed).items() if value is not None}
    metadata = {"format": "pt"}
    if shape is not None:
        metadata[ENCODER_KEY] = json.dumps(shape)
    written: bytes = save(state, metadata)
    return written


def write(folder: Path, model: bytes) -> None:
    """Put `model` in place, and its digest into the configuration."""
    (folder / FLOAT_FILE).write_bytes(model)
    config = json.loads((folder / CONFIG_FILE).read_bytes())
    config["sha256"][FLOAT_FILE] = hashlib.sha256(model).hexdigest()
    (folder / CONFIG_FILE).write_text(json.dumps(config), "utf-8")


def test_it_needs_no_onnx_file(folder: Path) -> None:
    classifier = load_classifier(str(folder), backend="torch", sessions=1)
    first, empty = classifier.classify(["late again", ""])
    assert empty == neutral_labels("empty")
    assert classifier.classify(["late again"]) == [first]
    classifier.close()
    with pytest.raises(ModelError, match=rf"{MODEL_FILE}: No such file"):
        load_classifier(str(folder), backend="onnx")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / FLOAT_FILE).unlink()
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: No such file or directory; reinstall"):
        load_classifier(str(folder), backend="torch")


def test_a_damaged_file_is_named(folder: Path) -> None:
    model = bytearray((folder / FLOAT_FILE).read_bytes())
    model[len(model) // 2] ^= 1
    (folder / FLOAT_FILE).write_bytes(model)
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: damaged or of another release"):
        load_classifier(str(folder), backend="torch")


def test_weights_without_a_digest_are_refused(folder: Path) -> None:
    shutil.copyfile(packaged_folder() / CONFIG_FILE, folder / CONFIG_FILE)
    config = json.loads((folder / CONFIG_FILE).read_bytes())
    config["sha256"].pop(FLOAT_FILE, None)
    (folder / CONFIG_FILE).write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: damaged .* says nothing"):
        load_classifier(str(folder), backend="torch")


@pytest.mark.parametrize("model", [b"", b"not it", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_foreign_content_is_named(folder: Path, model: bytes) -> None:
    write(folder, model)
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: no BERT with six heads"):
        load_classifier(str(folder), backend="torch")


@pytest.mark.parametrize(
    "shape",
    [None, {}, [], SHAPE | {"hidden_size": 10}, SHAPE | {"num_hidden_layers": 2},
     SHAPE | {"num_attention_heads": 3}],
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_named(folder: Path, shape: Any) -> None:
    write(folder, content(shape))
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: no BERT with six heads"):
        load_classifier(str(folder), backend="torch")


def test_missing_heads_are_named(folder: Path) -> None:
    write(folder, content(SHAPE, **{"heads.bias": None}))
    with pytest.raises(ModelError, match=rf"{FLOAT_FILE}: no BERT .*heads\.bias"):
        load_classifier(str(folder), backend="torch")
