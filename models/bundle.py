"""The files of one classifier, read and checked before anything runs on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from models.classifier import ModelError
from models.labels import HEADS

DEFAULT_NAME: Final = "minilm-l6-six-heads-3"
"""The weights used when none are named."""

MODEL_FILE: Final = "model.onnx"
FLOAT_FILE: Final = "model.safetensors"
TOKENIZER_FILE: Final = "tokenizer.json"
CONFIG_FILE: Final = "config.json"

ENCODER_KEY: Final = "encoder"
"""Where the header of `FLOAT_FILE` holds the encoder's sizes, as JSON."""

_REMEDY: Final = "reinstall gapwatch, or write the folder with `python -m models.training.export`"


class BundleConfig(msgspec.Struct, frozen=True):
    """What `config.json` says of the files beside it.

    Attributes:
        version: Name and revision of the weights.
        max_tokens: Tokens of a post the model reads; the rest is cut.
        heads: Head to its values, in the order of the model's outputs.
        temperatures: Head to what its logits are divided by before the softmax.
        sha256: File name to hex digest.
        languages: The languages judged, as ISO 639 codes.
    """

    version: str
    max_tokens: int
    heads: dict[str, list[str]]
    temperatures: dict[str, float]
    sha256: dict[str, str]
    languages: tuple[str, ...] = ("en",)


@dataclass(frozen=True)
class Bundle:
    """A checked classifier: its configuration and the contents of two of its files."""

    config: BundleConfig
    model: bytes
    tokenizer: bytes


def packaged_folder(name: str = DEFAULT_NAME) -> Path:
    """The folder of the weights `name` that came with the package, whether it exists or not."""
    return Path(str(resources.files("models"))) / "weights" / name


def read_bundle(folder: Path, model: str) -> Bundle:
    """Read and verify the classifier in `folder`, its network from the file `model`.

    Raises:
        ModelError: a file is missing or damaged, or was made for other labels than ours.
    """
    path = folder / CONFIG_FILE
    try:
        config = msgspec.json.decode(_read(path), type=BundleConfig)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: no classifier configuration ({error}); {_REMEDY}") from error
    ours = {head: list(values) for head, values in HEADS.items()}
    if list(config.heads.items()) != list(ours.items()) or set(config.temperatures) != set(ours):
        raise ModelError(f"{path}: made for other labels than this release's; {_REMEDY}")
    return Bundle(
        config,
        model=_read_verified(folder / model, config),
        tokenizer=_read_verified(folder / TOKENIZER_FILE, config),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; {_REMEDY}") from error


def _read_verified(path: Path, config: BundleConfig) -> bytes:
    content = _read(path)
    found, wanted = hashlib.sha256(content).hexdigest(), config.sha256.get(path.name, "nothing")
    if found != wanted:
        raise ModelError(
            f"{path}: damaged or of another release (sha256 {found[:12]}, "
            f"{CONFIG_FILE} says {wanted[:12]}); {_REMEDY}"
        )
    return content
