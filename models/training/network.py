"""The network: a BERT or MPNet encoder, mean pooling, one linear layer over it for all six heads.

Written out rather than imported, so that `models.training.graph` can state the same arithmetic in
ONNX line by line and training needs no model library. MPNet, the larger teacher, is BERT with a
bias of the attention by distance (Song et al. 2020, after Raffel et al. 2020).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.classifier import ModelError
from models.columns import COLUMNS

FARTHEST: Final = 128
"""Distance in tokens from which on all distances share one bias."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder, as its `config.json` names them.

    `relative_attention_num_buckets` is zero where attention knows nothing of distance, as in BERT.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float
    relative_attention_num_buckets: int = 0

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """Read `folder/config.json` of an encoder; `ModelError` if it is neither BERT nor MPNet."""
        path = folder / "config.json"
        config = json.loads(path.read_text("utf-8"))
        if config.get("model_type") not in _NAMES or config.get("hidden_act") != "gelu":
            raise ModelError(f"{path}: no BERT or MPNet encoder with gelu; give another folder")
        shape = cls(**{name: config[name] for name in cls.__dataclass_fields__ if name in config})
        if shape.relative_attention_num_buckets:
            # MPNet counts positions from two.
            positions = shape.max_position_embeddings - _MPNET_FIRST
            shape = replace(shape, max_position_embeddings=positions)
        return shape


class Layer(nn.Module):  # type: ignore[misc]  # torch is unseen by the checker
    """One transformer block with layer norm after each residual, as in BERT."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        self.dropout = 0.0
        width = shape.hidden_size
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.wide = nn.Linear(width, shape.intermediate_size)
        self.narrow = nn.Linear(shape.intermediate_size, width)
        self.narrow_norm = nn.LayerNorm(width, shape.layer_norm_eps)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Map `hidden` (rows, tokens, width); `bias`, added to the scores, masks padding."""
        rows, tokens, width = hidden.shape
        split = self.query_key_value(hidden).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self._attend(query, key, value, bias)
        mixed = self.attended(mixed.transpose(1, 2).reshape(rows, tokens, width))
        hidden = self.attended_norm(hidden + _drop(mixed, self.dropout, self.training))
        fed = self.narrow(functional.gelu(self.wide(hidden)))
        fed_norm: Tensor = self.narrow_norm(hidden + _drop(fed, self.dropout, self.training))
        return fed_norm

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Mix the values (rows, heads, tokens, part); no dropout, for the fused kernels' sake."""
        bias = bias.to(query.dtype)
        if query.is_cuda or not self.training:
            return functional.scaled_dot_product_attention(query, key, value, bias)
        # The fused kernel's way back takes ten times as long on a CPU as these two products'.
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2) + bias
        return torch.softmax(scores, -1) @ value


def _drop(hidden: Tensor, share: float, training: bool) -> Tensor:
    """Dropout of the same features at every token of a row (Gal and Ghahramani 2016).

    It costs a draw per row instead of one per token, an eighth of the time of a step on a CPU.
    """
    if not training or not share:
        return hidden
    shape = (hidden.shape[0], *(1 for _ in hidden.shape[1:-1]), hidden.shape[-1])
    kept = torch.rand(shape, device=hidden.device) >= share
    return hidden * (kept / (1 - share)).to(hidden.dtype)


class Network(nn.Module):  # type: ignore[misc]
    """Token ids to the `COLUMNS` logits of the six heads."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = 0.0
        width = shape.hidden_size
        self.words = nn.Embedding(shape.vocab_size, width)
        self.positions = nn.Embedding(shape.max_position_embeddings, width)
        self.embedding_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        if buckets := shape.relative_attention_num_buckets:
            self.distances = nn.Embedding(buckets, shape.num_attention_heads)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.heads = nn.Linear(width, COLUMNS)
        nn.init.normal_(self.heads.weight, std=0.02)
        nn.init.zeros_(self.heads.bias)

    def set_dropout(self, share: float) -> None:
        """Drop `share` of the features in training; none are dropped else."""
        for part in (self, *self.layers):
            part.dropout = share

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (rows, COLUMNS) of `ids` (rows, tokens); `mask` is 0 where they are padding."""
        hidden = self.words(ids) + self.positions.weight[: ids.shape[1]]
        hidden = _drop(self.embedding_norm(hidden), self.dropout, self.training)
        bias = (1.0 - mask.float())[:, None, None, :] * -1e4
        if buckets := self.shape.relative_attention_num_buckets:
            near = distance_buckets(ids.shape[1], buckets).to(ids.device)
            bias = bias + self.distances(near).permute(2, 0, 1)
        for layer in self.layers:
            hidden = layer(hidden, bias)
        weight = mask.to(hidden.dtype)[:, :, None]
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        logits: Tensor = self.heads(_drop(pooled, self.dropout, self.training))
        return logits.float()


def distance_buckets(tokens: int, buckets: int) -> Tensor:
    """Bucket of the distance between each two of `tokens` places, (tokens, tokens).

    Half of the buckets are for words to the left and half for words to the right; in each half,
    short distances have a bucket of their own, longer ones share one by their logarithm.
    """
    places = torch.arange(tokens)
    distance = places[:, None] - places[None, :]
    side = buckets // 2
    exact = side // 2
    away = distance.abs()
    log_share = torch.log(away.clamp(min=1) / exact) / math.log(FARTHEST / exact)
    far = (exact + (log_share * (side - exact)).long()).clamp(max=side - 1)
    return torch.where(away < exact, away, far) + side * (distance < 0)


def from_encoder(folder: Path) -> Network:
    """Build a network on the pretrained encoder in `folder`, with fresh heads.

    `folder` holds `config.json` and `model.safetensors` under the names of BERT or MPNet. BERT's
    embedding of sentence A is added into the words, for posts are one sentence.
    """
    network = Network(Shape.read(folder))
    given = load_file(folder / "model.safetensors")
    names = _NAMES[json.loads((folder / "config.json").read_text("utf-8"))["model_type"]]
    words = given["embeddings.word_embeddings.weight"]
    positions = given["embeddings.position_embeddings.weight"]
    state: dict[str, Tensor] = {
        "heads.weight": network.heads.weight.detach(),
        "heads.bias": network.heads.bias.detach(),
    }
    if network.shape.relative_attention_num_buckets:
        state["distances.weight"] = given["encoder.relative_attention_bias.weight"]
        positions = positions[_MPNET_FIRST:]
    else:
        words = words + given["embeddings.token_type_embeddings.weight"][0]
    state["words.weight"] = words
    state["positions.weight"] = positions
    for kind in ("weight", "bias"):
        state[f"embedding_norm.{kind}"] = given[f"embeddings.LayerNorm.{kind}"]
        for number in range(network.shape.num_hidden_layers):
            source, target = f"encoder.layer.{number}", f"layers.{number}"
            for ours, theirs in names.items():
                state[f"{target}.{ours}.{kind}"] = torch.cat(
                    [given[f"{source}.{name}.{kind}"] for name in theirs.split()]
                )
    network.load_state_dict(state)
    return network


def as_bert(network: Network) -> dict[str, Tensor]:
    """The weights of a BERT `network` under BERT's names, those of the six heads as `heads`.

    The inverse of `from_encoder`, but that sentence A, added into the words, is zero here.
    """
    given = network.state_dict()
    state: dict[str, Tensor] = {
        "embeddings.word_embeddings.weight": given["words.weight"],
        "embeddings.position_embeddings.weight": given["positions.weight"],
        "embeddings.token_type_embeddings.weight": torch.zeros(2, network.shape.hidden_size),
    }
    for kind in ("weight", "bias"):
        state[f"heads.{kind}"] = given[f"heads.{kind}"]
        state[f"embeddings.LayerNorm.{kind}"] = given[f"embedding_norm.{kind}"]
        for number in range(network.shape.num_hidden_layers):
            for ours, theirs in _NAMES["bert"].items():
                names = theirs.split()
                parts = given[f"layers.{number}.{ours}.{kind}"].chunk(len(names))
                for name, part in zip(names, parts, strict=True):
                    state[f"encoder.layer.{number}.{name}.{kind}"] = part
    return state


_MPNET_FIRST: Final = 2

_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "bert": {
        "query_key_value": "attention.self.query attention.self.key attention.self.value",
        "attended": "attention.output.dense",
        "attended_norm": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "narrow_norm": "output.LayerNorm",
    },
    "mpnet": {
        "query_key_value": "attention.attn.q attention.attn.k attention.attn.v",
        "attended": "attention.attn.o",
        "attended_norm": "attention.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "narrow_norm": "output.LayerNorm",
    },
}
"""Our names of a layer's parts to each encoder's; parts named side by side are put together."""
