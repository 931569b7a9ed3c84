"""The whole training command, on made-up data and tiny encoders."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from models.labels import GAPS, NEUTRAL  # noqa: E402
from models.onnx import OnnxClassifier  # noqa: E402
from models.torch import TorchClassifier  # noqa: E402
from models.training import __main__ as command  # noqa: E402
from models.training import export  # noqa: E402
from models.training import settings as settings_module  # noqa: E402
from models.training.measure import Run  # noqa: E402

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 110,
}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    data.mkdir()
    posts = [
        {**NEUTRAL, "gap": GAPS[n % 3], "disputed": "", "text": f"post {n}"} for n in range(90)
    ]
    write(data / "posts.tsv", posts)
    complaints = [
        {"label": "complaint" if n % 2 else "other", "text": f"word {n}"} for n in range(40)
    ]
    write(data / "complaints.tsv", complaints)
    for name in ("train", "val"):
        tweets = [{"label": "neutral", "text": f"{name} {n}"} for n in range(30)]
        write(data / "sentiment" / f"{name}.tsv", tweets)
    (data / "unlabelled.txt").write_text("\n".join(f"other {n}" for n in range(30)), "utf-8")

    words = {word: n for n, word in enumerate(["?", "post", "word", "train", "val", "other"])}
    tokenizer = Tokenizer(models.WordLevel(words, "?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    for kind in ("Bert", "MPNet"):
        config = getattr(transformers, f"{kind}Config")(**SIZES)
        getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / kind)
        tokenizer.save(str(tmp_path / kind / "tokenizer.json"))

    full = Path(settings_module.__file__).with_name("config.toml").read_text("utf-8")
    small = re.sub(r"_passes = \d+", "_passes = 1", full)
    small = re.sub(r"frozen_layers = \d+", "frozen_layers = 1", small)
    (tmp_path / "config.toml").write_text(small, "utf-8")
    given = {
        "data": data,
        "encoder": tmp_path / "Bert",
        "teacher": tmp_path / "MPNet",
        "out": tmp_path / "run",
        "config": tmp_path / "config.toml",
    }
    return [part for name, path in given.items() for part in (f"--{name}", str(path))]


def test_one_command_trains_and_goes_on_and_another_exports(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    command.main()
    run = msgspec.json.decode((tmp_path / "run" / "run.json").read_bytes(), type=Run)
    assert len(run.teachers) == 1
    assert {"posts/gap", "complaints/gap"} < set(run.student.measures)

    # What is there is taken as it is: only the result is made anew, and alike.
    before = (tmp_path / "run" / "student-1.pt").stat().st_mtime_ns
    command.main()
    again = msgspec.json.decode((tmp_path / "run" / "run.json").read_bytes(), type=Run)
    assert again.student == run.student
    assert (tmp_path / "run" / "student-1.pt").stat().st_mtime_ns == before

    data, weights = tmp_path / "data", tmp_path / "weights"
    given = ["--run", str(tmp_path / "run"), "--data", str(data), "--out", str(weights)]
    monkeypatch.setattr(sys, "argv", ["export", *given])
    export.main()
    for backend in (OnnxClassifier, TorchClassifier):
        classifier = backend(weights)
        assert classifier.version == "weights"
        assert classifier.classify(["post word train other"])[0].abstained is None
        classifier.close()

    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with (data / "unlabelled.txt").open("a", encoding="utf-8") as file:
        file.write("\nmore")
    with pytest.raises(SystemExit, match=r"plan\.json"):
        command.main()
