"""The classifier in torch: for a GPU, and the float reference the int8 model is held against."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from models.bundle import ENCODER_KEY, FLOAT_FILE, Bundle, packaged_folder, read_bundle
from models.classifier import ModelError
from models.columns import COLUMNS
from models.encoder import DEFAULT_CACHE_POSTS, EncoderClassifier, Ids, Logits, Runner

GPU_BATCH_POSTS: Final = 256
"""Posts per run on a GPU; fewer are filled up, so that there is one shape for each length."""

GPU_LENGTH_STEP: Final = 16
"""On a GPU lengths are rounded up to this: six shapes to compile for 96 tokens."""


class TorchClassifier(EncoderClassifier):
    """Labels posts with the float16 weights in a folder, by transformers' BERT.

    A post gets the same labels whatever is around it. On a CPU posts run one by one, in float32:
    batches gain a float network little there and change its last bits. On a GPU every run of a
    length has the same shape, in bfloat16.

    Args:
        folder: Folder with `model.safetensors`, `tokenizer.json` and `config.json`; the weights
            that came with the package if not given.
        threads: Threads on a CPU, each with posts of its own; one per core if not given. Torch is
            told, for the whole process, to use no further threads of its own.
        device: `cuda` or `cpu`; a GPU where there is one if not given.
        cache_posts: Texts whose labels are remembered.

    Raises:
        ModelError: a file is missing, damaged or made for other labels.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        threads: int | None = None,
        device: str | None = None,
        cache_posts: int = DEFAULT_CACHE_POSTS,
    ) -> None:
        folder = folder or packaged_folder()
        bundle = read_bundle(folder, FLOAT_FILE)
        network = _open_network(folder, bundle)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = device != "cpu"
        runners: list[Runner]
        if on_gpu:
            network = network.to(device, torch.bfloat16)
            runners = [_gpu_runner(torch.compile(network, dynamic=False), device)]
        else:
            torch.set_num_threads(1)
            runners = [_cpu_runner(network)] * (threads or len(os.sched_getaffinity(0)))
        super().__init__(
            folder,
            bundle,
            runners,
            batch_posts=GPU_BATCH_POSTS if on_gpu else 1,
            cache_posts=cache_posts,
            length_step=GPU_LENGTH_STEP if on_gpu else 1,
        )


class Network(nn.Module):  # type: ignore[misc]  # torch is unseen by the checker
    """BERT, the mean of its tokens, and one linear layer over it for all six heads."""

    def __init__(self, shape: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = BertModel(
            BertConfig(**shape, attn_implementation="sdpa"), add_pooling_layer=False
        )
        self.heads = nn.Linear(shape["hidden_size"], COLUMNS)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (posts, COLUMNS) of `ids` (posts, tokens); `mask` is 0 where they are padding."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weight = mask[:, :, None].float()
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        logits: Tensor = self.heads(pooled.to(self.heads.weight.dtype))
        return logits.float()


def _open_network(folder: Path, bundle: Bundle) -> Network:
    try:
        state = load(bundle.model)
        network = Network(_shape(bundle.model))
        network.eval()
        names = {name: name if name.startswith("heads.") else f"encoder.{name}" for name in state}
        weights = {names[name]: value.float() for name, value in state.items()}
        network.load_state_dict(weights)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        what = " ".join(str(error).split())
        raise ModelError(
            f"{folder / FLOAT_FILE}: no BERT with six heads ({what}); "
            "write it with `python -m models.training.export`"
        ) from error
    return network


def _shape(content: bytes) -> dict[str, Any]:
    """The encoder's sizes, from the header of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    shape = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENCODER_KEY])
    if not isinstance(shape, dict):
        raise ValueError(f"header: {ENCODER_KEY} is no object")
    return shape


def _cpu_runner(network: Network) -> Runner:
    def run(ids: Ids, _lengths: Sequence[int]) -> Logits:
        with torch.inference_mode():
            rows = torch.from_numpy(ids)
            logits: Logits = network(rows, torch.ones_like(rows)).numpy()
        return logits

    return run


def _gpu_runner(network: Any, device: str) -> Runner:
    def run(ids: Ids, lengths: Sequence[int]) -> Logits:
        posts, tokens = ids.shape
        rows = torch.zeros(GPU_BATCH_POSTS, tokens, dtype=torch.long)
        mask = torch.zeros_like(rows)
        mask[:, 0] = 1  # rows to fill up have one token, so that none has nothing to look at
        rows[:posts] = torch.from_numpy(ids)
        mask[:posts] = torch.arange(tokens) < torch.tensor(lengths)[:, None]
        with torch.inference_mode():
            found = network(rows.to(device, non_blocking=True), mask.to(device, non_blocking=True))
        logits: Logits = found[:posts].cpu().numpy()
        return logits

    return run
