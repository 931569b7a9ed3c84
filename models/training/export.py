"""Export a run to int8: `python -m models.training.export --run DIR --data DIR --out DIR`."""

from __future__ import annotations

import argparse
import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from models.bundle import (
    CONFIG_FILE,
    ENCODER_KEY,
    FLOAT_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    BundleConfig,
)
from models.columns import OFFSETS
from models.labels import HEADS
from models.onnx import OnnxClassifier
from models.training.data import Corpus, load_tokenizer, sha256
from models.training.graph import build
from models.training.loop import predict
from models.training.measure import (
    Agreement,
    Metrics,
    Run,
    corpus_of,
    measure_weights,
    print_measures,
)
from models.training.network import Network, Shape, as_bert
from models.training.quantise import quantise

Logits = NDArray[np.float32]

TYPICAL_POSTS = 1_000
"""Brand posts of the training rows by which the network is fitted to int8."""


def export(run_folder: Path, run: Run, corpus: Corpus, out: Path) -> tuple[Network, Network]:
    """Write the int8 and float16 models of `run_folder`, tokenizer and configuration to `out`.

    The name of `out` becomes the version. Returns the network as it was trained, and the one on
    the int8 grid that float16 holds, both with the shifts of the calibration.
    """
    shape = Shape.read(run_folder)
    network = Network(shape)
    network.load_state_dict(torch.load(run_folder / "network.pt", weights_only=True))
    calibration = run.student.calibration
    with torch.no_grad():
        network.heads.bias.copy_(torch.from_numpy(calibration.shift(network.heads.bias.numpy())))
    max_tokens = run.plan.settings.max_tokens
    tokenizer = load_tokenizer(run_folder / TOKENIZER_FILE, max_tokens)
    typical = [row.text for row in corpus.posts[:: max(1, len(corpus.posts) // TYPICAL_POSTS)]]
    weights, grids = quantise(network, [coded.ids for coded in tokenizer.encode_batch(typical)])
    model = build(weights, shape, max_tokens, grids)
    onnx.checker.check_model(model)
    rounded = copy.deepcopy(network)
    rounded.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    out.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, out / MODEL_FILE)
    export_float16(rounded, out)
    shutil.copyfile(run_folder / TOKENIZER_FILE, out / TOKENIZER_FILE)
    files = (MODEL_FILE, FLOAT_FILE, TOKENIZER_FILE)
    config = BundleConfig(
        version=out.name,
        max_tokens=max_tokens,
        heads={head: list(values) for head, values in HEADS.items()},
        temperatures=calibration.temperatures,
        sha256={name: sha256(out / name) for name in files},
    )
    _write_json(out / CONFIG_FILE, config)
    return network, rounded


def export_float16(network: Network, out: Path) -> None:
    """Write `network` to `out` for the torch backend: float16, BERT's names, shape in the header.

    The caller records the file's digest in the configuration.
    """
    state = {name: value.half().contiguous() for name, value in as_bert(network).items()}
    shape = asdict(network.shape)
    del shape["relative_attention_num_buckets"]  # not BERT's
    save_file(state, out / FLOAT_FILE, {"format": "pt", ENCODER_KEY: json.dumps(shape)})


def compare(expected: Logits, exported: Logits) -> Agreement:
    """How near the logits (rows, values of all heads) of the two models are."""
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(exported, axis=1)
    cosine = (expected * exported).sum(axis=1) / lengths
    flips = {
        head: float(np.mean(expected[:, at].argmax(axis=1) != exported[:, at].argmax(axis=1)))
        for head, at in OFFSETS.items()
    }
    return Agreement(
        rows=len(expected),
        cosine=round(float(cosine.mean()), 5),
        flips={head: round(share, 4) for head, share in flips.items()},
    )


def main() -> None:
    """Export, measure the result on the held-out rows, and record both in `metrics.json`."""
    parser = argparse.ArgumentParser(prog="python -m models.training.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder a training run wrote")
    parser.add_argument("--data", type=Path, required=True, help="folder the run was trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new weights")
    arguments = parser.parse_args()
    run_folder, out = arguments.run, arguments.out

    run = msgspec.json.decode((run_folder / "run.json").read_bytes(), type=Run)
    corpus = corpus_of(run, arguments.data)
    network, rounded = export(run_folder, run, corpus, out)
    texts = [row.text for row in corpus.held_out]
    tokenizer = load_tokenizer(run_folder / TOKENIZER_FILE, run.plan.settings.max_tokens)
    classifier = OnnxClassifier(out)
    exported = classifier.logits(texts)
    classifier.close()
    metrics = Metrics(
        held_out=measure_weights(out, corpus, run),
        agreement=compare(predict(rounded, tokenizer, texts), exported),
        rounding=compare(predict(network, tokenizer, texts), exported),
        run=run,
    )
    _write_json(out / "metrics.json", metrics)
    print_measures(metrics.held_out)
    print("to the float weights:", metrics.agreement)
    print("to the trained network:", metrics.rounding)


def _write_json(path: Path, content: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


if __name__ == "__main__":
    main()
