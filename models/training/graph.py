"""The network as an ONNX graph, in float or in int8 with a scale for every token.

ONNX Runtime's own dynamic quantisation takes one scale for the whole batch, so a post's labels move
with its neighbours. Here every token's vector is scaled by its own largest magnitude, the product
is an exact integer one, and nothing a post goes through depends on another post.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.columns import COLUMNS
from models.training.network import Shape

Floats = NDArray[np.float32]
Weights = dict[str, Floats]
"""The network's parameters by their name in `Network.state_dict()`."""

OPSET: Final = 21
IR_VERSION: Final = 10
RUNTIME_DOMAIN: Final = "com.microsoft"

WEIGHT_LIMIT: Final = 63
"""Largest quantised weight. Two products of an unsigned 8-bit and a 7-bit number fit the 16 bits in
which processors without VNNI add them; with 8 bits they would saturate and labels would differ from
machine to machine."""

WORD_LIMIT: Final = 127
"""Largest number in the table of words, which is looked up and not multiplied."""

_MIDDLE: Final = 128
_GELU_LOWEST: Final = -0.17
_MIN_SCALE: Final = 1e-10


@dataclass(frozen=True)
class Grid:
    """A weight (out, in) in whole numbers: `numbers * scales / stretch`.

    Attributes:
        numbers: Whole numbers up to `WEIGHT_LIMIT`, (out, in).
        scales: What one is worth in each row, (out, 1).
        stretch: What the elements of the input are divided by before they are rounded, (in,), if
            they are.
    """

    numbers: NDArray[np.int8]
    scales: Floats
    stretch: Floats | None = None


@dataclass
class Graph:
    """An ONNX graph under construction; values are named by the node that makes them."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        return self.split(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def split(
        self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Append a node and return the names of its outputs."""
        base = f"{op}_{len(self.nodes)}"
        names = [f"{base}.{number}" for number in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=base, domain=domain, **attributes)
        )
        return names

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Hold `value` under `name`, once."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *numbers: int) -> str:
        """A constant vector of int64, such as a shape or axes."""
        return self.constant("int." + "_".join(map(str, numbers)), np.array(numbers, np.int64))


@dataclass(frozen=True)
class Quantised:
    """Token vectors in uint8, the scale of each row (rows,) and the number that means zero."""

    numbers: str
    scales: str
    zero: str


def build(
    weights: Weights, shape: Shape, max_tokens: int, grids: Mapping[str, Grid] | None = None
) -> onnx.ModelProto:
    """The graph of `weights`: input `ids` (posts, tokens) int64, output `logits` (posts, COLUMNS).

    With `grids`, one for each linear layer by its name, it computes in int8; else in float.

    All posts of a batch have the same number of tokens, at most `max_tokens`: there is no mask, for
    there is no padding.
    """
    graph = Graph()
    width = shape.hidden_size
    sizes = graph.add("Shape", "ids")
    hidden = _embed(graph, weights, sizes, max_tokens, int8=grids is not None)
    hidden = graph.add("Reshape", hidden, graph.integers(-1, width))
    hidden = _norm(graph, weights, "embedding_norm", hidden, shape)
    for number in range(shape.num_hidden_layers):
        hidden = _layer(graph, weights, f"layers.{number}", hidden, sizes, shape, grids)
    per_post = graph.add("Concat", sizes, graph.integers(width), axis=0)
    hidden = graph.add("Reshape", hidden, per_post)
    pooled = _pool(graph, hidden, sizes)
    _linear(graph, weights, "heads", pooled, grids)
    graph.nodes[-1].output[0] = "logits"
    return _model(graph)


def _embed(graph: Graph, weights: Weights, sizes: str, max_tokens: int, *, int8: bool) -> str:
    words = weights["words.weight"]
    if int8:
        whole, scales = quantise_rows(words, WORD_LIMIT)
        found = graph.add("Gather", graph.constant("words", whole), "ids", axis=0)
        found = graph.add("Cast", found, to=TensorProto.FLOAT)
        scale = graph.add("Gather", graph.constant("words.scale", scales), "ids", axis=0)
        found = graph.add("Mul", found, scale)
    else:
        found = graph.add("Gather", graph.constant("words", words), "ids", axis=0)
    table = weights["positions.weight"][:max_tokens]
    tokens = graph.add("Gather", sizes, graph.integers(1), axis=0)
    place = graph.add(
        "Slice", graph.constant("positions", table), graph.integers(0), tokens, graph.integers(0)
    )
    return graph.add("Add", found, place)


def _layer(
    graph: Graph,
    weights: Weights,
    name: str,
    hidden: str,
    sizes: str,
    shape: Shape,
    grids: Mapping[str, Grid] | None,
) -> str:
    mixed = _attend(graph, weights, name, hidden, sizes, shape, grids)
    mixed = _linear(graph, weights, f"{name}.attended", mixed, grids)
    hidden = _norm(graph, weights, f"{name}.attended_norm", mixed, shape, residual=hidden)
    fed = _linear(graph, weights, f"{name}.wide", hidden, grids)
    fed = graph.add("Gelu", fed, domain=RUNTIME_DOMAIN)
    fed = _linear(graph, weights, f"{name}.narrow", fed, grids, lowest=_GELU_LOWEST)
    return _norm(graph, weights, f"{name}.narrow_norm", fed, shape, residual=hidden)


def _attend(
    graph: Graph,
    weights: Weights,
    name: str,
    hidden: str,
    sizes: str,
    shape: Shape,
    grids: Mapping[str, Grid] | None,
) -> str:
    heads, width = shape.num_attention_heads, shape.hidden_size
    parts = _linear(graph, weights, f"{name}.query_key_value", hidden, grids)
    per_post = graph.add("Concat", sizes, graph.integers(3 * width), axis=0)
    query, key, value = graph.split(
        "Split", graph.add("Reshape", parts, per_post), outputs=3, axis=2, num_outputs=3
    )
    mixed = graph.add(
        "MultiHeadAttention", query, key, value, domain=RUNTIME_DOMAIN, num_heads=heads
    )
    return graph.add("Reshape", mixed, graph.integers(-1, width))


def _pool(graph: Graph, hidden: str, sizes: str) -> str:
    """Mean of `hidden` (posts, tokens, width) over the tokens.

    A product with ones, because `ReduceMean` sums in another order when the batch is one post.
    """
    posts = graph.add("Gather", sizes, graph.integers(0), axis=0)
    tokens = graph.add("Gather", sizes, graph.integers(1), axis=0)
    one = graph.integers(1)
    ones = graph.add(
        "ConstantOfShape",
        graph.add("Concat", posts, one, tokens, axis=0),
        value=numpy_helper.from_array(np.ones(1, np.float32)),
    )
    total = graph.add("Squeeze", graph.add("MatMul", ones, hidden), one)
    return graph.add("Div", total, graph.add("Cast", tokens, to=TensorProto.FLOAT))


def _norm(
    graph: Graph, weights: Weights, name: str, value: str, shape: Shape, residual: str | None = None
) -> str:
    """Layer norm of `value`, or of `value` and the `residual` it is added to."""
    scale = graph.constant(f"{name}.weight", weights[f"{name}.weight"])
    bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
    if residual is not None:
        # ONNX Runtime's fused SkipLayerNormalization is several times slower than the two.
        value = graph.add("Add", value, residual)
    return graph.add("LayerNormalization", value, scale, bias, epsilon=shape.layer_norm_eps)


def _linear(
    graph: Graph,
    weights: Weights,
    name: str,
    value: str,
    grids: Mapping[str, Grid] | None,
    lowest: float | None = None,
) -> str:
    """`value` (rows, in) times a weight (out, in), plus its bias.

    `lowest` is a bound no element of `value` is under, if there is one: the whole range of uint8 is
    then laid over it.
    """
    bias = weights[f"{name}.bias"]
    if grids is None:
        weight = graph.constant(f"{name}.weight", weights[f"{name}.weight"].T)
        return graph.add(
            "Add", graph.add("MatMul", value, weight), graph.constant(f"{name}.bias", bias)
        )
    grid = grids[name]
    if grid.stretch is not None:
        value = graph.add("Mul", value, graph.constant(f"{name}.stretch", 1 / grid.stretch))
    if lowest is None:
        rows = _quantise_signed(graph, value)
    else:
        rows = _quantise_above(graph, value, lowest)
        bias = bias + np.float32(lowest) * (grid.numbers * grid.scales).sum(axis=1)
    product = graph.add(
        "MatMulIntegerToFloat",
        rows.numbers,
        graph.constant(f"{name}.weight", grid.numbers.T),
        graph.constant("one", np.array(1, np.float32)),
        graph.constant(f"{name}.scale", grid.scales[:, 0]),
        rows.zero,
        domain=RUNTIME_DOMAIN,
    )
    column = graph.add("Unsqueeze", rows.scales, graph.integers(1))
    product = graph.add("Mul", product, column)
    return graph.add("Add", product, graph.constant(f"{name}.bias", bias))


def _quantise_signed(graph: Graph, value: str) -> Quantised:
    """Lay uint8 around zero, each row as far as its largest magnitude."""
    # Two reductions write nothing as large as `value`, so they are quicker than one over Abs.
    highest = graph.add("ReduceMax", value, graph.integers(-1), keepdims=0)
    lowest = graph.add("ReduceMin", value, graph.integers(-1), keepdims=0)
    largest = graph.add("Max", highest, graph.add("Neg", lowest))
    return _quantise(graph, value, largest, _MIDDLE, _MIDDLE - 1)


def _quantise_above(graph: Graph, value: str, lowest: float) -> Quantised:
    """Lay uint8 from `lowest` up, each row as far as its largest element; `lowest` becomes zero."""
    shift = graph.constant(f"shift.{lowest}", np.array(-lowest, np.float32))
    value = graph.add("Add", value, shift)
    largest = graph.add("ReduceMax", value, graph.integers(-1), keepdims=0)
    return _quantise(graph, value, largest, 0, 255)


def _quantise(graph: Graph, value: str, largest: str, zero: int, steps: int) -> Quantised:
    step = graph.constant(f"1/{steps}", np.array(1 / steps, np.float32))
    floor = graph.constant("min_scale", np.array(_MIN_SCALE, np.float32))
    scales = graph.add("Max", graph.add("Mul", largest, step), floor)
    zeros = graph.add(
        "ConstantOfShape",
        graph.add("Shape", scales),
        value=numpy_helper.from_array(np.array([zero], np.uint8)),
    )
    numbers = graph.add("QuantizeLinear", value, scales, zeros, axis=0)
    return Quantised(numbers, scales, graph.constant(f"zero.{zero}", np.array(zero, np.uint8)))


def quantise_rows(matrix: Floats, limit: int) -> tuple[NDArray[np.int8], Floats]:
    """`matrix` as whole numbers up to `limit` and the scale (rows, 1) that restores each row."""
    scales = np.maximum(np.abs(matrix).max(axis=1, keepdims=True) / limit, _MIN_SCALE)
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)


def _model(graph: Graph) -> onnx.ModelProto:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["posts", "tokens"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["posts", COLUMNS])
    body = helper.make_graph(
        graph.nodes, "six_heads", [ids], [logits], list(graph.constants.values())
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(RUNTIME_DOMAIN, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)
