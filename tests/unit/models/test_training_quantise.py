"""Fitting a network to int8: no output moves but by rounding."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from models.training.graph import WEIGHT_LIMIT, build  # noqa: E402
from models.training.network import Network, Shape  # noqa: E402
from models.training.quantise import centre, observe, quantise, round_columns  # noqa: E402

SHAPE = Shape(
    vocab_size=60,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=16,
    layer_norm_eps=1e-12,
)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(3)
    made = Network(SHAPE).eval()
    for name, parameter in made.named_parameters():
        # Away from zero and one, as trained ones are, with elements that reach far.
        torch.nn.init.normal_(parameter, 1.0 if "norm.weight" in name else 0.0, std=0.3)
    with torch.no_grad():
        made.layers[0].attended_norm.bias[5] = 9.0
    return made


@pytest.fixture
def tokens() -> list[list[int]]:
    draw = np.random.default_rng(4)
    return [draw.integers(0, 60, size=length).tolist() for length in range(3, 15) for _ in range(9)]


def outputs(network: Network, tokens: list[list[int]]) -> np.ndarray:
    found = []
    with torch.inference_mode():
        for ids in tokens:
            given = torch.tensor([ids])
            found.append(network(given, torch.ones_like(given)).numpy()[0])
    return np.array(found)


def with_weights(weights: dict[str, np.ndarray]) -> Network:
    made = Network(SHAPE).eval()
    made.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return made


def test_centring_moves_the_inputs_and_no_output(network: Network, tokens: list[list[int]]) -> None:
    expected = outputs(network, tokens)
    weights = {name: value.double() for name, value in network.state_dict().items()}
    means = {name: inputs.mean for name, inputs in observe(network, tokens).items()}
    centre(weights, SHAPE.num_hidden_layers, means)
    centred = with_weights({name: value.float().numpy() for name, value in weights.items()})
    np.testing.assert_allclose(outputs(centred, tokens), expected, atol=1e-4)
    for name, inputs in observe(centred, tokens).items():
        if not name.endswith("narrow"):
            assert inputs.mean.abs().max() < 1e-4


def test_rounding_minds_what_a_matrix_multiplies() -> None:
    draw = torch.Generator().manual_seed(5)
    matrix = torch.randn(20, 40, generator=draw, dtype=torch.double)
    mixing = torch.randn(6, 40, generator=draw, dtype=torch.double)
    vectors = torch.randn(500, 6, generator=draw, dtype=torch.double) @ mixing
    whole, scales = round_columns(matrix, vectors.T @ vectors / 500, WEIGHT_LIMIT)
    assert whole.abs().max() <= WEIGHT_LIMIT
    assert torch.equal(whole, whole.round())

    def lost(rounded: torch.Tensor) -> float:
        return float(((rounded - matrix) @ vectors.T).square().mean())

    assert lost(whole * scales) < 0.5 * lost((matrix / scales).round() * scales)


def test_int8_computes_what_the_float_weights_do(network: Network, tokens: list[list[int]]) -> None:
    weights, grids = quantise(network, tokens)
    for name, grid in grids.items():
        stretch = 1.0 if grid.stretch is None else grid.stretch
        restored = grid.numbers * grid.scales / stretch
        np.testing.assert_allclose(restored, weights[f"{name}.weight"], rtol=1e-4, atol=1e-6)
    model = build(weights, SHAPE, 16, grids).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = np.array([session.run(None, {"ids": np.array([ids])})[0][0] for ids in tokens])
    expected = outputs(with_weights(weights), tokens)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1)
    assert (cosine / np.linalg.norm(expected, axis=1)).min() > 0.999
