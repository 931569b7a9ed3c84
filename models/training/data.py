"""Rows of the data sets, split, weighted and batched for training."""

from __future__ import annotations

import csv
import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.columns import COLUMNS, OFFSETS
from models.labels import HEADS
from models.normalise import normalise

Floats = NDArray[np.float32]

NATURAL_ROWS: Final = 3_960
"""The first rows of posts.tsv, near a natural mix; the rest was sampled for rare labels."""

NOT_NEGATIVE: Final = {"none": 0.95, "positive": 0.05}
"""Gap target of a text that is known to be no complaint: most posts tell of no delight."""

SHINGLE_WORDS: Final = 8
"""Two texts that share so many words in a row are taken for copies of each other."""

_WORD: Final = re.compile(r"[^\W_]+")
_PLACEHOLDERS: Final = frozenset({"user", "support", "http", "rt"})

STRATA: Final = ("gap", "advocacy", "suggestion")
"""Heads whose values, with the part of posts.tsv, are cut alike into training and held-out rows."""


@dataclass(frozen=True)
class Row:
    """One text and what is known of its labels.

    Attributes:
        text: Normalised text.
        labels: Head to value, for the heads that were labelled.
        lost: Head to the value that lost a dispute between annotators.
        no_complaint: Whether the gap is known not to be negative, and no more than that.
        natural: Whether the row belongs to the natural mix of posts.tsv.
    """

    text: str
    labels: dict[str, str]
    lost: dict[str, str]
    no_complaint: bool = False
    natural: bool = False


@dataclass(frozen=True)
class Corpus:
    """Training and measuring rows; no text that is measured has a copy among the trained ones."""

    posts: list[Row]
    complaints: list[Row]
    sentiment: list[Row]
    calibration: list[Row]
    held_out: list[Row]
    held_out_complaints: list[Row]
    held_out_sentiment: list[Row]


@dataclass(frozen=True)
class Batch:
    """Arrays of one step: ids and mask (rows, tokens), targets and weights (rows, COLUMNS)."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    targets: Floats
    weights: Floats


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Rows of a tab-separated file with a header and CSV quoting."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def sha256(path: Path) -> str:
    """Hex digest of a file, by which a run names its data and a release its weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_posts(path: Path) -> list[Row]:
    """Rows of posts.tsv with all six heads and the disputes between annotators."""
    rows = []
    for number, fields in enumerate(read_tsv(path)):
        disputed = filter(None, fields["disputed"].split(";"))
        lost = dict(pair.split("=", 1) for pair in disputed)
        labels = {name: fields[name] for name in HEADS}
        rows.append(Row(normalise(fields["text"]), labels, lost, natural=number < NATURAL_ROWS))
    return rows


def read_complaints(path: Path) -> list[Row]:
    """Rows of complaints.tsv: a complaint has a negative gap, any other text has not."""
    rows = []
    for fields in read_tsv(path):
        complaint = fields["label"] == "complaint"
        labels = {"gap": "negative"} if complaint else {}
        rows.append(Row(normalise(fields["text"]), labels, {}, no_complaint=not complaint))
    return rows


def read_sentiment(path: Path) -> list[Row]:
    """Rows of a sentiment file, labelled in the sentiment head alone."""
    return [
        Row(normalise(fields["text"]), {"sentiment": fields["label"]}, {})
        for fields in read_tsv(path)
    ]


def shingles(text: str) -> set[str]:
    """What copies of `text` have in common: its runs of `SHINGLE_WORDS` words, or all if fewer.

    Handles, links, case and marks do not count, so that a repost is a copy too.
    """
    words = [word for word in _WORD.findall(text.lower()) if word not in _PLACEHOLDERS]
    last = max(1, len(words) - SHINGLE_WORDS + 1)
    return {" ".join(words[at : at + SHINGLE_WORDS]) for at in range(last)}


def load_corpus(folder: Path, held_out: float, calibration: float, seed: int) -> Corpus:
    """Read and split the data in `folder`.

    `held_out` and `calibration` are shares of posts.tsv, cut alike from all strata. The sets share
    texts, so whatever is measured in one of them is taken out of the training rows of all.
    """
    draw = random.Random(seed)  # noqa: S311 - reproducible, no secret
    posts, measured, fitted = _split(
        read_posts(folder / "posts.tsv"),
        lambda row: (str(row.natural), *(row.labels[head] for head in STRATA)),
        (held_out, calibration),
        draw,
    )
    complaints, measured_complaints, _ = _split(
        read_complaints(folder / "complaints.tsv"),
        lambda row: (str(row.no_complaint),),
        (held_out, 0.0),
        draw,
    )
    measured_sentiment = read_sentiment(folder / "sentiment" / "val.tsv")
    kept_apart = _apart((measured, fitted, measured_complaints, measured_sentiment))

    def training(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row.text and kept_apart.isdisjoint(shingles(row.text))]

    return Corpus(
        posts=training(posts),
        complaints=training(complaints),
        sentiment=training(read_sentiment(folder / "sentiment" / "train.tsv")),
        calibration=fitted,
        held_out=measured,
        held_out_complaints=measured_complaints,
        held_out_sentiment=measured_sentiment,
    )


def read_unlabelled(path: Path, corpus: Corpus) -> list[Row]:
    """Rows without labels, one a line of `path`, each text once; none is in `corpus` already.

    Copies of what `corpus` measures are left out.
    """
    apart = _apart(
        (
            corpus.held_out,
            corpus.calibration,
            corpus.held_out_complaints,
            corpus.held_out_sentiment,
        )
    )
    seen = {
        row.text.lower()
        for rows in (corpus.posts, corpus.complaints, corpus.sentiment)
        for row in rows
    }
    rows = []
    for line in path.read_text("utf-8").split("\n"):
        text = normalise(line)
        if text and text.lower() not in seen and apart.isdisjoint(shingles(text)):
            seen.add(text.lower())
            rows.append(Row(text, {}, {}))
    return rows


def choose_alike(
    wanted: Sequence[list[int]], offered: Sequence[list[int]], count: int
) -> list[int]:
    """Which `count` of the `offered` texts are most like the `wanted` ones, in their order.

    Texts are tokens. The measure is the mean over a text's tokens of how much likelier each is
    among the wanted texts than among the offered (Moore and Lewis 2010, with single words).
    """
    size = 1 + max(max(ids) for texts in (wanted, offered) for ids in texts)

    def log_shares(texts: Sequence[list[int]]) -> NDArray[np.float64]:
        counts = np.bincount(np.concatenate([np.array(ids) for ids in texts]), minlength=size)
        shares: NDArray[np.float64] = np.log((counts + 1) / (counts.sum() + size))
        return shares

    gain = log_shares(wanted) - log_shares(offered)
    scores = np.array([gain[ids].mean() for ids in offered])
    return sorted(np.argsort(-scores, kind="stable")[:count].tolist())


def class_weights(rows: Sequence[Row], power: float, limit: float) -> dict[str, dict[str, float]]:
    """Weight of each value of each head, (mean count / count) ** power and at most `limit`."""
    weights: dict[str, dict[str, float]] = {}
    for head, values in HEADS.items():
        counts = {value: sum(row.labels.get(head) == value for row in rows) for value in values}
        mean = sum(counts.values()) / len(values)
        weights[head] = {
            value: min(limit, (mean / max(1, count)) ** power) for value, count in counts.items()
        }
    return weights


def encode_targets(
    rows: Sequence[Row],
    weights: dict[str, dict[str, float]],
    *,
    disputed_loser: float,
    smoothing: float,
) -> tuple[Floats, Floats]:
    """Soft targets and loss weights of `rows`, both (rows, COLUMNS).

    A head without a label has weight zero. The value that lost a dispute gets `disputed_loser` of
    the target, and `smoothing` of every label is spread evenly. A row known only to have no
    negative gap gets `NOT_NEGATIVE` there.
    """
    targets = np.zeros((len(rows), COLUMNS), np.float32)
    loss_weights = np.zeros((len(rows), COLUMNS), np.float32)
    for number, row in enumerate(rows):
        for head, values in HEADS.items():
            label = row.labels.get(head)
            if label is not None:
                lost = row.lost.get(head)
                share = {label: 1.0}
                if lost is not None:
                    share = {label: 1.0 - disputed_loser, lost: disputed_loser}
                weight = weights[head][label]
            elif head == "gap" and row.no_complaint:
                share, weight = NOT_NEGATIVE, weights["gap"]["none"]
            else:
                continue
            where = OFFSETS[head]
            soft = np.array([share.get(value, 0.0) for value in values], np.float32)
            targets[number, where] = soft * (1 - smoothing) + smoothing / len(values)
            loss_weights[number, where] = weight
    return targets, loss_weights


def blend_teacher(
    targets: Floats, weights: Floats, taught: Floats, share: float
) -> tuple[Floats, Floats]:
    """Targets and weights with the teacher's probabilities `taught`, all (rows, COLUMNS).

    Where a label is known, the teacher has `share` of the target; elsewhere all of it.
    """
    known = weights > 0
    blended = np.where(known, (1 - share) * targets + share * taught, taught)
    return blended.astype(np.float32), np.where(known, weights, 1).astype(np.float32)


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """The tokenizer in `path`, cutting at `max_tokens` tokens and padding nothing."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def plan_batches(
    lengths: Sequence[int], order: Sequence[int], batch_rows: int, draw: random.Random
) -> list[list[int]]:
    """Cut `order` into batches of rows of like length, in random order.

    Rows are sorted only within stretches of 50 batches, so that the mix stays random over time.
    """
    stretch = 50 * batch_rows
    batches: list[list[int]] = []
    for start in range(0, len(order), stretch):
        part = sorted(order[start : start + stretch], key=lambda row: lengths[row])
        cut = [part[at : at + batch_rows] for at in range(0, len(part), batch_rows)]
        draw.shuffle(cut)
        batches += cut
    return batches


def collate(
    batches: Sequence[Sequence[int]], tokens: Sequence[list[int]], targets: Floats, weights: Floats
) -> Iterator[Batch]:
    """Batches of padded ids with their targets."""
    for rows in batches:
        longest = max(len(tokens[row]) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(tokens[row])] = tokens[row]
            mask[at, : len(tokens[row])] = 1
        yield Batch(ids, mask, targets[list(rows)], weights[list(rows)])


def _apart(measured: Sequence[list[Row]]) -> set[str]:
    """The shingles of all texts that are measured, by which their copies are known."""
    return set().union(*(shingles(row.text) for rows in measured for row in rows))


def _split(
    rows: list[Row],
    key: Callable[[Row], tuple[str, ...]],
    shares: tuple[float, float],
    draw: random.Random,
) -> tuple[list[Row], list[Row], list[Row]]:
    """Training rows and two parts of about `shares`, drawn from each stratum `key` makes."""
    strata: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        strata[key(row)].append(row)
    rest: list[Row] = []
    first: list[Row] = []
    second: list[Row] = []
    for name in sorted(strata):
        members = strata[name]
        draw.shuffle(members)
        end = round(len(members) * shares[0])
        stop = end + round(len(members) * shares[1])
        first += members[:end]
        second += members[end:stop]
        rest += members[stop:]
    return rest, first, second
