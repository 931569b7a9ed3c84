"""The network: a BERT encoder with mean pooling and one linear layer over it for all six heads.

Written out rather than imported, so that `models.training.graph` can state the same arithmetic in
ONNX line by line and training needs no model library.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from models.classifier import ModelError
from models.columns import COLUMNS


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder, as its `config.json` names them."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    layer_norm_eps: float

    @classmethod
    def read(cls, folder: Path) -> Shape:
        """Read `folder/config.json` of a BERT encoder; `ModelError` if it is another kind."""
        path = folder / "config.json"
        config = json.loads(path.read_text("utf-8"))
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
            raise ModelError(f"{path}: not a BERT encoder with gelu; give --encoder another folder")
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


class Layer(nn.Module):  # type: ignore[misc]  # torch is unseen by the checker
    """One transformer block with layer norm after each residual, as in BERT."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        self.dropout = dropout
        width = shape.hidden_size
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.wide = nn.Linear(width, shape.intermediate_size)
        self.narrow = nn.Linear(shape.intermediate_size, width)
        self.narrow_norm = nn.LayerNorm(width, shape.layer_norm_eps)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Map `hidden` (rows, tokens, width); `bias` (rows, 1, 1, tokens) masks padding."""
        rows, tokens, width = hidden.shape
        drop = self.dropout if self.training else 0.0
        split = self.query_key_value(hidden).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        # No dropout inside attention: it would forbid the fused kernel, three times as fast.
        mixed = functional.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        mixed = self.attended(mixed.transpose(1, 2).reshape(rows, tokens, width))
        hidden = self.attended_norm(hidden + functional.dropout(mixed, drop))
        fed = self.narrow(functional.gelu(self.wide(hidden)))
        fed_norm: Tensor = self.narrow_norm(hidden + functional.dropout(fed, drop))
        return fed_norm


class Network(nn.Module):  # type: ignore[misc]
    """Token ids to the `COLUMNS` logits of the six heads."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        width = shape.hidden_size
        self.words = nn.Embedding(shape.vocab_size, width)
        self.positions = nn.Embedding(shape.max_position_embeddings, width)
        self.embedding_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.num_hidden_layers))
        self.heads = nn.Linear(width, COLUMNS)
        nn.init.normal_(self.heads.weight, std=0.02)
        nn.init.zeros_(self.heads.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits (rows, COLUMNS) of `ids` (rows, tokens); `mask` is 0 where they are padding."""
        drop = self.dropout if self.training else 0.0
        hidden = self.words(ids) + self.positions.weight[: ids.shape[1]]
        hidden = functional.dropout(self.embedding_norm(hidden), drop)
        bias = (1.0 - mask.float())[:, None, None, :] * -1e4
        for layer in self.layers:
            hidden = layer(hidden, bias)
        weight = mask.to(hidden.dtype)[:, :, None]
        pooled = (hidden * weight).sum(1) / weight.sum(1)
        logits: Tensor = self.heads(functional.dropout(pooled, drop))
        return logits.float()


def from_encoder(folder: Path, dropout: float) -> Network:
    """Build a network on the pretrained BERT in `folder`, with fresh heads.

    `folder` holds `config.json` and `model.safetensors` under BERT's names. The embedding of
    sentence A is added into the words, for posts are one sentence.
    """
    network = Network(Shape.read(folder), dropout)
    given = load_file(folder / "model.safetensors")
    state: dict[str, Tensor] = {
        "words.weight": given["embeddings.word_embeddings.weight"]
        + given["embeddings.token_type_embeddings.weight"][0],
        "positions.weight": given["embeddings.position_embeddings.weight"],
        "heads.weight": network.heads.weight.detach(),
        "heads.bias": network.heads.bias.detach(),
    }
    for kind in ("weight", "bias"):
        state[f"embedding_norm.{kind}"] = given[f"embeddings.LayerNorm.{kind}"]
        for number in range(network.shape.num_hidden_layers):
            source, target = f"encoder.layer.{number}", f"layers.{number}"
            state[f"{target}.query_key_value.{kind}"] = torch.cat(
                [given[f"{source}.attention.self.{part}.{kind}"] for part in _QUERY_KEY_VALUE]
            )
            for ours, theirs in _LAYER_NAMES.items():
                state[f"{target}.{ours}.{kind}"] = given[f"{source}.{theirs}.{kind}"]
    network.load_state_dict(state)
    return network


_QUERY_KEY_VALUE = ("query", "key", "value")
_LAYER_NAMES = {
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "narrow_norm": "output.LayerNorm",
}
