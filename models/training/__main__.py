"""Train the classifier: `python -m models.training --data DIR --encoder DIR --out DIR`."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import msgspec
import torch

from models.training.data import load_corpus, load_tokenizer, sha256
from models.training.holdout import fit_temperatures, measure_held_out
from models.training.loop import predict, train
from models.training.measure import Run, print_measures
from models.training.network import from_encoder
from models.training.settings import load_settings

DATA_FILES = ("posts.tsv", "complaints.tsv", "sentiment/train.tsv", "sentiment/val.tsv")


def main() -> None:
    """Train, fit temperatures, measure the held-out rows; leave all of it in `--out`."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with posts.tsv and others")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of the pretrained BERT")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and run.json")
    parser.add_argument("--config", type=Path, help="another config.toml")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    settings = load_settings(arguments.config)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(settings.seed)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(arguments.encoder / name, out / name)
    tokenizer = load_tokenizer(out / "tokenizer.json", settings.max_tokens)
    corpus = load_corpus(
        arguments.data, settings.data.held_out, settings.data.calibration, settings.seed
    )
    started = time.monotonic()
    network = train(
        from_encoder(arguments.encoder, settings.optimiser.dropout),
        corpus,
        tokenizer,
        settings,
        out / "network.pt",
    )
    seconds = round(time.monotonic() - started)

    temperatures = fit_temperatures(
        corpus, predict(network, tokenizer, [row.text for row in corpus.calibration])
    )
    measures = measure_held_out(
        corpus,
        lambda texts: predict(network, tokenizer, texts),
        temperatures,
    )
    run = Run(
        settings=settings,
        data={name: sha256(arguments.data / name) for name in DATA_FILES},
        encoder=sha256(arguments.encoder / "model.safetensors"),
        seconds=seconds,
        temperatures=temperatures,
        measures=measures,
    )
    (out / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    print_measures(measures)


if __name__ == "__main__":
    main()
