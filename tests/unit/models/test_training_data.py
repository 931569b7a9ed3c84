"""Splitting, soft targets and batches, on made-up rows."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from models.columns import COLUMNS, OFFSETS
from models.labels import GAPS, HEADS, NEUTRAL
from models.training.data import (
    Row,
    blend_teacher,
    choose_alike,
    class_weights,
    collate,
    encode_targets,
    load_corpus,
    plan_batches,
    read_unlabelled,
    shingles,
)
from models.training.settings import load_settings


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    posts = [
        {**NEUTRAL, "gap": GAPS[number % 3], "disputed": "", "text": f"post {number}"}
        for number in range(300)
    ]
    write(tmp_path / "posts.tsv", posts)
    complaints = [
        {"label": "complaint" if n % 2 else "other", "text": f"word {n}"} for n in range(90)
    ]
    # The sets overlap, as the real ones do.
    complaints += [{"label": "other", "text": f"Post {n}"} for n in range(300)]
    write(tmp_path / "complaints.tsv", complaints)
    write(
        tmp_path / "sentiment" / "train.tsv",
        [{"label": "neutral", "text": f"POST {n}"} for n in range(300)],
    )
    write(tmp_path / "sentiment" / "val.tsv", [{"label": "neutral", "text": "post 7"}])
    return tmp_path


def test_no_measured_text_is_trained_on(folder: Path) -> None:
    corpus = load_corpus(folder, held_out=0.2, calibration=0.1, seed=1)
    assert len(corpus.held_out) == 60
    assert len(corpus.calibration) == 30
    measured = [corpus.held_out, corpus.calibration]
    measured += [corpus.held_out_complaints, corpus.held_out_sentiment]
    trained = [corpus.posts, corpus.complaints, corpus.sentiment]
    apart = set().union(*(shingles(row.text) for rows in measured for row in rows))
    assert all(apart.isdisjoint(shingles(row.text)) for rows in trained for row in rows)
    assert all(row.text for rows in trained for row in rows)


LONG = "the battery of my new phone died after only two days of use"


@pytest.mark.parametrize(
    "copy",
    [
        LONG.upper() + "!!!",
        f"RT @user: {LONG} http",
        f"can you believe it, {LONG}, and nobody answers",
    ],
)
def test_a_repost_is_a_copy(copy: str) -> None:
    assert not shingles(LONG).isdisjoint(shingles(copy))


def test_a_shared_phrase_is_no_copy() -> None:
    assert shingles(LONG).isdisjoint(shingles("the battery of my new phone is great"))
    assert shingles("so good").isdisjoint(shingles("so good to see you"))


def test_unlabelled_rows_are_new_and_copy_nothing_measured(folder: Path) -> None:
    corpus = load_corpus(folder, held_out=0.2, calibration=0.1, seed=1)
    lines = [f"RT @someone: {row.text}" for row in corpus.held_out]
    lines += [corpus.posts[0].text.upper(), "", "a new text", "A new text"]
    path = folder / "unlabelled.txt"
    path.write_text("\n".join(lines), "utf-8")
    assert read_unlabelled(path, corpus) == [Row("a new text", {}, {})]


def test_the_texts_most_like_the_wanted_are_chosen() -> None:
    wanted = [[1, 2, 3], [2, 3, 3]]
    offered = [[7, 8, 9], [3, 2, 8], [2, 3], [9, 9]]
    assert choose_alike(wanted, offered, 2) == [1, 2]
    assert choose_alike(wanted, offered, 9) == [0, 1, 2, 3]


def test_the_teacher_fills_in_what_no_label_says() -> None:
    targets = np.array([[1.0, 0.0, 0.0]], np.float32)
    weights = np.array([[2.0, 2.0, 0.0]], np.float32)
    taught = np.array([[0.6, 0.4, 0.3]], np.float32)
    blended, weighed = blend_teacher(targets, weights, taught, 0.5)
    assert blended[0] == pytest.approx([0.8, 0.2, 0.3])
    assert weighed.tolist() == [[2, 2, 1]]


def test_held_out_rows_have_the_mix_of_the_whole(folder: Path) -> None:
    corpus = load_corpus(folder, held_out=0.2, calibration=0.1, seed=1)
    counts = [sum(row.labels["gap"] == gap for row in corpus.held_out) for gap in GAPS]
    assert counts == [20, 20, 20]


def test_the_seed_decides_the_split(folder: Path) -> None:
    one, two, three = (load_corpus(folder, 0.2, 0.1, seed) for seed in (1, 1, 2))
    assert one == two
    assert one.held_out != three.held_out


def targets_of(row: Row) -> tuple[np.ndarray, np.ndarray]:
    weights = {head: dict.fromkeys(values, 1.0) for head, values in HEADS.items()}
    targets, loss_weights = encode_targets(
        [row],
        weights,
        disputed_loser=0.3,
        smoothing=0.06,
    )
    return targets[0], loss_weights[0]


def test_a_lost_dispute_is_a_soft_target() -> None:
    targets, weights = targets_of(Row("t", {"sentiment": "negative"}, {"sentiment": "neutral"}))
    sentiment = OFFSETS["sentiment"]
    expected = [0.7 * 0.94 + 0.02, 0.3 * 0.94 + 0.02, 0.02]
    assert targets[sentiment] == pytest.approx(expected)
    assert weights[sentiment].tolist() == [1, 1, 1]
    assert not weights[sentiment.stop :].any()


def test_no_complaint_is_no_negative_gap() -> None:
    targets, weights = targets_of(Row("t", {}, {}, no_complaint=True))
    gap = OFFSETS["gap"]
    assert targets[gap].sum() == pytest.approx(1)
    assert targets[gap].argmin() == GAPS.index("negative")
    assert weights.nonzero()[0].tolist() == list(range(gap.start, gap.stop))


def test_rare_values_weigh_more_up_to_a_limit() -> None:
    rows = [Row("t", {"suggestion": "0"}, {})] * 99 + [Row("t", {"suggestion": "1"}, {})]
    weights = class_weights(rows, power=0.5, limit=4.0)["suggestion"]
    assert weights["0"] == pytest.approx((50 / 99) ** 0.5)
    assert weights["1"] == 4.0


def test_batches_hold_every_row_once_and_pad_little() -> None:
    draw = random.Random(1)
    lengths = [draw.randint(2, 96) for _ in range(1_000)]
    batches = plan_batches(lengths, range(1_000), 32, draw)
    assert sorted(row for rows in batches for row in rows) == list(range(1_000))
    spans = [max(lengths[r] for r in rows) - min(lengths[r] for r in rows) for rows in batches]
    assert max(spans) < 10


def test_collate_masks_padding() -> None:
    wide = np.zeros((2, COLUMNS), np.float32)
    (batch,) = collate([[1, 0]], [[5, 6, 7], [8]], wide, wide)
    assert batch.ids.tolist() == [[8, 0, 0], [5, 6, 7]]
    assert batch.mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_the_configuration_is_read() -> None:
    settings = load_settings()
    assert 0 < settings.data.held_out < 0.5
    assert settings.max_tokens <= 512
