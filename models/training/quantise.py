"""Fit a trained network to int8, so that rounding to whole numbers costs it little.

1. Whatever a matrix multiplies is moved to have its mean at zero, and biases make up for it. No
   output changes, but a token's largest magnitude, which 8 bits must cover, shrinks.
2. Elements that still reach far are divided by more than others, the matrix' columns multiplied by
   the same (SmoothQuant, Xiao et al. 2023, by the activations alone).
3. Weights are rounded one column after the other, the later ones making up for what that did to
   the outputs of typical posts (GPTQ, Frantar et al. 2023).

The float weights of a release are those on the grid, so all that is left between the two backends
is the rounding of what flows through the layers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.training.graph import WEIGHT_LIMIT, WORD_LIMIT, Grid, Weights, quantise_rows
from models.training.network import Network

STRETCHED: Final = ("query_key_value", "wide")
"""The layers whose input is stretched: a layer norm's output, in which a few elements reach far."""

STRETCH_POWER: Final = 0.5
"""How much of the difference in reach is taken out; at 1, the weights would lose more than the
activations gain."""

DAMPING: Final = 0.01
"""Share of the mean diagonal added to each second moment, so that it can be inverted."""

_LITTLE: Final = 1e-9
_BATCH_ROWS: Final = 16


@dataclass
class Inputs:
    """What a linear layer is given, summed up over tokens: their number, sum, products, reach."""

    count: int
    total: Tensor
    products: Tensor
    highest: Tensor
    lowest: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Inputs:
        """Sum up `vectors` (tokens, width)."""
        # In double: the covariance is what two large sums differ by.
        vectors = vectors.double()
        return cls(
            count=len(vectors),
            total=vectors.sum(0),
            products=vectors.T @ vectors,
            highest=vectors.amax(0),
            lowest=vectors.amin(0),
        )

    def add(self, other: Inputs) -> None:
        """Take in `other`."""
        self.count += other.count
        self.total += other.total
        self.products += other.products
        self.highest = torch.maximum(self.highest, other.highest)
        self.lowest = torch.minimum(self.lowest, other.lowest)

    @property
    def mean(self) -> Tensor:
        """Mean vector (width,)."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Covariance (width, width), with a little that keeps it positive if nothing varies."""
        moment = self.products / self.count
        little = _LITTLE * moment.diagonal().mean() * torch.eye(len(moment), dtype=torch.double)
        return moment - torch.outer(self.mean, self.mean) + little

    @property
    def reach(self) -> Tensor:
        """Largest distance of each element from its mean, (width,)."""
        return torch.maximum(self.highest - self.mean, self.mean - self.lowest)


def quantise(network: Network, tokens: Sequence[list[int]]) -> tuple[Weights, dict[str, Grid]]:
    """The weights of `network` on the grid, and the grid of each linear layer by its name.

    `tokens` are typical posts, a few hundred of them; the layers' inputs are learnt from them.
    """
    given = observe(network, tokens)
    weights = {name: value.double().cpu() for name, value in network.state_dict().items()}
    centre(weights, network.shape.num_hidden_layers, {name: at.mean for name, at in given.items()})
    grids = {}
    for name, inputs in given.items():
        width = len(inputs.mean)
        stretch = torch.ones(width, dtype=torch.double)
        if name.endswith(STRETCHED):
            stretch = inputs.reach.clamp(min=1e-6) ** STRETCH_POWER
            stretch /= stretch.mean()
        whole, scales = round_columns(
            weights[f"{name}.weight"] * stretch,
            inputs.covariance / torch.outer(stretch, stretch),
            WEIGHT_LIMIT,
        )
        rounded = whole * scales / stretch
        if name.endswith(".narrow"):
            # Not centred, so the mean has its part in what rounding does.
            weights[f"{name}.bias"] += (weights[f"{name}.weight"] - rounded) @ inputs.mean
        weights[f"{name}.weight"] = rounded
        grids[name] = Grid(
            numbers=whole.to(torch.int8).numpy(),
            scales=scales.float().numpy(),
            stretch=stretch.float().numpy() if name.endswith(STRETCHED) else None,
        )
    floats = {name: value.float().numpy() for name, value in weights.items()}
    whole_words, word_scales = quantise_rows(floats["words.weight"], WORD_LIMIT)
    floats["words.weight"] = whole_words * word_scales
    return floats, grids


def observe(network: Network, tokens: Sequence[list[int]]) -> dict[str, Inputs]:
    """What each linear layer of `network` is given when it reads `tokens`, by its name."""
    found: dict[str, Inputs] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def see(_module: nn.Module, arguments: tuple[Tensor]) -> None:
            seen = Inputs.of(arguments[0].reshape(-1, arguments[0].shape[-1]).cpu())
            if name in found:
                found[name].add(seen)
            else:
                found[name] = seen

        return module.register_forward_pre_hook(see)

    layers = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    hooks = [watch(name, part) for name, part in layers.items()]
    network.eval()
    device = network.heads.weight.device
    try:
        with torch.inference_mode():
            for ids in _alike(tokens):
                network(ids.to(device), torch.ones_like(ids, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _alike(tokens: Sequence[list[int]]) -> Iterator[Tensor]:
    """Batches of posts of the same length, so that no padding is observed."""
    by_length: defaultdict[int, list[list[int]]] = defaultdict(list)
    for ids in tokens:
        by_length[len(ids)].append(ids)
    for posts in by_length.values():
        for at in range(0, len(posts), _BATCH_ROWS):
            yield torch.tensor(posts[at : at + _BATCH_ROWS])


def centre(weights: dict[str, Tensor], layers: int, means: dict[str, Tensor]) -> None:
    """Move biases so that the linear layers are given vectors less by their `means`.

    No output of the network changes. `narrow` layers are left as they are: their input has a
    lower bound that int8 makes use of.
    """

    def move(norm: str, into: str, around: str | None) -> None:
        """Move what `norm` puts `into` a layer and, past others, into a sum with `around`."""
        mean = means[into]
        weights[f"{norm}.bias"] = weights[f"{norm}.bias"] - mean
        weights[f"{into}.bias"] = weights[f"{into}.bias"] + weights[f"{into}.weight"] @ mean
        if around is not None:
            weights[f"{around}.bias"] = weights[f"{around}.bias"] + mean

    norm = "embedding_norm"
    for number in range(layers):
        name = f"layers.{number}"
        move(norm, f"{name}.query_key_value", f"{name}.attended")
        # Attention sums values with shares of one: what they lose, the mix of them loses.
        mixed = means[f"{name}.attended"]
        weights[f"{name}.query_key_value.bias"][-len(mixed) :] -= mixed
        weights[f"{name}.attended.bias"] += weights[f"{name}.attended.weight"] @ mixed
        move(f"{name}.attended_norm", f"{name}.wide", f"{name}.narrow")
        norm = f"{name}.narrow_norm"
    move(norm, "heads", None)


def round_columns(matrix: Tensor, covariance: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """`matrix` (out, in) as whole numbers up to `limit` and the scale (out, 1) of each row.

    The columns are rounded in the order of the `covariance` (in, in) of what they multiply, the
    largest first; what is lost is spread over those to come (GPTQ's equations 2 and 3).
    """
    scales = (matrix.abs().amax(1, keepdim=True) / limit).clamp(min=1e-10)
    width = matrix.shape[1]
    damping = DAMPING * covariance.diagonal().mean()
    damped = covariance + damping * torch.eye(width, dtype=torch.double)
    order = damped.diagonal().argsort(descending=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped[order][:, order]))
    factor = torch.linalg.cholesky(inverse, upper=True)
    left = (matrix / scales)[:, order]
    whole = torch.zeros_like(left)
    for column in range(width):
        whole[:, column] = left[:, column].round().clamp(-limit, limit)
        lost = (left[:, column] - whole[:, column]) / factor[column, column]
        left[:, column + 1 :] -= torch.outer(lost, factor[column, column + 1 :])
    return whole[:, order.argsort()], scales
