"""The stages of a run: teachers on labelled rows, then the student on labels and teachers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from tokenizers import Tokenizer

from models.columns import COLUMNS
from models.training.data import (
    Corpus,
    Floats,
    Row,
    blend_teacher,
    choose_alike,
    class_weights,
    encode_targets,
    load_tokenizer,
    read_unlabelled,
)
from models.training.holdout import measure_held_out
from models.training.loop import Lesson, predict, train
from models.training.measure import Verdict, print_measures
from models.training.network import Network, from_encoder
from models.training.settings import Settings, StageSettings

UNLABELLED_FILE = "unlabelled.txt"


@dataclass(frozen=True)
class Taught:
    """What the teachers left for the student.

    Attributes:
        unlabelled: Rows without labels that they labelled.
        by_text: Text to probabilities (COLUMNS,), for those and for labelled rows.
    """

    unlabelled: list[Row]
    by_text: dict[str, Floats]


@dataclass(frozen=True)
class Job:
    """What all stages of a run share.

    Attributes:
        settings: The configuration.
        corpus: The labelled rows.
        data: Folder of the data sets.
        out: Folder of the results; a stage whose result lies there is not run again.
        device: Where the networks live.
    """

    settings: Settings
    corpus: Corpus
    data: Path
    out: Path
    device: torch.device

    def tokenizer(self, encoder: Path) -> Tokenizer:
        """The tokenizer of a pretrained encoder."""
        return load_tokenizer(encoder / "tokenizer.json", self.settings.max_tokens)


def teach(job: Job, teacher: Path, encoder: Path) -> tuple[Taught, list[Verdict]]:
    """Train the teachers on the encoder in `teacher` and have them label the student's rows."""
    corpus, count = job.corpus, len(job.settings.teacher)
    sentiment = _sentiment_rows(corpus, job.settings.data.taught_sentiment_rows, job.settings.seed)
    unlabelled = _alike_rows(job, encoder)
    rows = [*corpus.posts, *corpus.complaints, *sentiment, *unlabelled]
    probabilities = np.zeros((len(rows), COLUMNS), np.float32)
    verdicts = []
    for number, stage in enumerate(job.settings.teacher):
        logits, verdict = _teacher(job, teacher, number, stage, [row.text for row in rows])
        verdicts.append(verdict)
        probabilities += verdict.calibration.probabilities(logits) / count
    by_text = {row.text: found for row, found in zip(rows, probabilities, strict=True)}
    return Taught(unlabelled, by_text), verdicts


def learn(job: Job, encoder: Path, taught: Taught) -> Network:
    """Train the student, round after round; the last one's result is `network.pt`."""
    network: Network | None = None
    for number, stage in enumerate(job.settings.student):
        lesson = _lesson(job, stage, taught.unlabelled, job.settings.seed)
        lesson = _blend(lesson, taught, stage.teacher_share)
        seed = job.settings.seed + number
        network = _trained(job, encoder, lesson, stage, seed, f"student-{number}", network)
    if network is None:
        raise SystemExit("the settings have no [[student]] round")
    torch.save(network.state_dict(), job.out / "network.pt")
    return network


def judge(
    job: Job, network: Network, tokenizer: Tokenizer, *, folds: int, bfloat16: bool = False
) -> Verdict:
    """Calibrate and measure `network` with so many `folds` of the held-out posts."""

    def logits(texts: Sequence[str]) -> Floats:
        return predict(network, tokenizer, texts, bfloat16=bfloat16)

    settings = job.settings.calibration
    return Verdict(*measure_held_out(job.corpus, logits, settings, folds=folds))


def _teacher(
    job: Job, encoder: Path, number: int, stage: StageSettings, texts: list[str]
) -> tuple[Floats, Verdict]:
    """Logits of `texts` by a teacher, and the verdict on it; both kept in the run's folder."""
    seed = job.settings.seed + number
    name = f"teacher-{number}"
    lesson = _lesson(job, stage, [], seed)
    network = _trained(job, encoder, lesson, stage, seed, name)
    tokenizer = job.tokenizer(encoder)
    judged, labelled = job.out / f"{name}.json", job.out / f"{name}.npy"
    if not judged.exists():
        # What the student learns from must know nothing of the held-out rows, so: one fold.
        verdict = judge(job, network, tokenizer, folds=1, bfloat16=True)
        judged.write_bytes(msgspec.json.encode(verdict))
        print(name)
        print_measures(verdict.measures)
    if not labelled.exists():
        np.save(labelled, predict(network, tokenizer, texts, bfloat16=True))
    return np.load(labelled), msgspec.json.decode(judged.read_bytes(), type=Verdict)


def _trained(
    job: Job,
    encoder: Path,
    lesson: Lesson,
    stage: StageSettings,
    seed: int,
    name: str,
    start: Network | None = None,
) -> Network:
    """The network `name` of the run: read if it is there, else trained and written.

    It goes on from `start`, or from the pretrained `encoder`.
    """
    path = job.out / f"{name}.pt"
    torch.manual_seed(seed)
    network: Network = (start or from_encoder(encoder)).to(job.device)
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True, map_location=job.device))
        return network
    checkpoint = job.out / f"{name}.checkpoint"
    average = train(network, lesson, job.tokenizer(encoder), stage, seed, checkpoint)
    torch.save(average.state_dict(), path)
    checkpoint.unlink(missing_ok=True)
    return average


def _alike_rows(job: Job, encoder: Path) -> list[Row]:
    """The rows of unlabelled.txt that are most like the posts."""
    rows = read_unlabelled(job.data / UNLABELLED_FILE, job.corpus)
    tokenizer = job.tokenizer(encoder)

    def tokens(of: list[Row]) -> list[list[int]]:
        return [coded.ids for coded in tokenizer.encode_batch([row.text for row in of])]

    chosen = choose_alike(tokens(job.corpus.posts), tokens(rows), job.settings.data.unlabelled_rows)
    return [rows[number] for number in chosen]


def _sentiment_rows(corpus: Corpus, count: int, seed: int) -> list[Row]:
    """A sample of the tweets; a larger one begins with the smaller."""
    draw = random.Random(seed)  # noqa: S311 - reproducible, no secret
    return draw.sample(corpus.sentiment, len(corpus.sentiment))[:count]


def _lesson(job: Job, stage: StageSettings, unlabelled: list[Row], seed: int) -> Lesson:
    """The rows a stage shows, with what their labels alone say of them."""
    corpus, loss = job.corpus, job.settings.loss
    sources = [
        (corpus.posts, stage.posts_passes),
        (corpus.complaints, stage.complaints_passes),
        (_sentiment_rows(corpus, stage.sentiment_rows, seed), stage.sentiment_passes),
        (unlabelled, stage.unlabelled_passes),
    ]
    rows = [row for source, _ in sources for row in source]
    targets, weights = encode_targets(
        rows,
        class_weights(corpus.posts, stage.class_weight_power, loss.class_weight_limit),
        disputed_loser=job.settings.data.disputed_loser,
        smoothing=loss.smoothing,
    )
    return Lesson(rows, targets, weights, [(len(source), passes) for source, passes in sources])


def _blend(lesson: Lesson, taught: Taught, share: float) -> Lesson:
    """`lesson` with the teachers' word on the rows they labelled."""
    known = [at for at, row in enumerate(lesson.rows) if row.text in taught.by_text]
    if not known:
        return lesson
    targets, weights = lesson.targets.copy(), lesson.weights.copy()
    found = np.stack([taught.by_text[lesson.rows[at].text] for at in known])
    targets[known], weights[known] = blend_teacher(targets[known], weights[known], found, share)
    return Lesson(lesson.rows, targets, weights, lesson.passes)
