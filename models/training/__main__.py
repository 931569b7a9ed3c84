"""Train the classifier: `python -m models.training --data DIR --encoder DIR --out DIR`."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import msgspec
import torch

from models.training.data import load_corpus, sha256
from models.training.measure import Plan, Run, Verdict, print_measures
from models.training.settings import load_settings
from models.training.stages import UNLABELLED_FILE, Job, Taught, judge, learn, teach

DATA_FILES = ("posts.tsv", "complaints.tsv", "sentiment/train.tsv", "sentiment/val.tsv")


def main() -> None:
    """Train, calibrate, measure the held-out rows; leave all of it in `--out`.

    Run again with the same arguments, it goes on where it was stopped.
    """
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with posts.tsv and others")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of the pretrained BERT")
    parser.add_argument(
        "--teacher", type=Path, help="folder of a larger BERT or MPNet to learn from"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and run.json")
    parser.add_argument("--config", type=Path, help="another config.toml")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    settings = load_settings(arguments.config)
    torch.set_num_threads(arguments.threads)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(arguments.encoder / name, out / name)
    files = DATA_FILES if arguments.teacher is None else (*DATA_FILES, UNLABELLED_FILE)
    plan = Plan(
        settings=settings,
        data={name: sha256(arguments.data / name) for name in files},
        encoder=sha256(arguments.encoder / "model.safetensors"),
        teacher=arguments.teacher and sha256(arguments.teacher / "model.safetensors"),
    )
    _claim(out / "plan.json", plan)
    data = settings.data
    job = Job(
        settings,
        load_corpus(arguments.data, data.held_out, data.calibration, settings.seed),
        arguments.data,
        out,
        torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    started = time.monotonic()
    taught = Taught([], {})
    teachers: list[Verdict] = []
    if arguments.teacher:
        taught, teachers = teach(job, arguments.teacher, arguments.encoder)
    network = learn(job, arguments.encoder, taught)
    seconds = round(time.monotonic() - started)
    tokenizer = job.tokenizer(arguments.encoder)
    verdict = judge(job, network, tokenizer, folds=settings.calibration.folds)
    run = Run(plan=plan, seconds=seconds, student=verdict, teachers=teachers)
    (out / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    print_measures(verdict.measures)


def _claim(path: Path, plan: Plan) -> None:
    """Leave `plan` in the run's folder; stop if another run's is there."""
    content = msgspec.json.format(msgspec.json.encode(plan), indent=1)
    if path.exists() and path.read_bytes() != content:
        raise SystemExit(
            f"{path}: left by a run of other data, encoders or settings; give another --out"
        )
    path.write_bytes(content)


if __name__ == "__main__":
    main()
