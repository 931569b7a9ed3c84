"""`python -m benchmarks.model_invariance`: do labels depend on the posts around a post?

Distinct posts of the sample day, labelled in order in batches of a worker's size, then shuffled in
batches of any size, and in two threads at once. Labels and probabilities must be equal to the last
digit: a replayed event has to be counted as it was before. Nothing is remembered between passes.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import click

from benchmarks.workload import sample_posts
from models.encoder import EncoderClassifier
from models.labels import HEADS, Labels
from models.onnx import OnnxClassifier

WORKER_BATCH: Final = 512
SIZES: Final = (1, 2, 3, 4, 7, 8, 16, 31, 64, 256, 512)


def shuffled(posts: int, draw: random.Random) -> list[list[int]]:
    """The numbers up to `posts` in some order, in parts of any size."""
    order = draw.sample(range(posts), posts)
    parts = []
    while order:
        size = draw.choice(SIZES)
        parts.append(order[:size])
        order = order[size:]
    return parts


def label_parts(
    classifier: EncoderClassifier, texts: Sequence[str], parts: Sequence[Sequence[int]]
) -> list[Labels]:
    """Labels of `texts`, asked for part by part, two parts at a time."""
    labels: dict[int, Labels] = {}
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda part: classifier.classify([texts[row] for row in part]), parts)
        for part, answer in zip(parts, answers, strict=True):
            labels.update(zip(part, answer, strict=True))
    return [labels[row] for row in range(len(texts))]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--posts", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--passes", type=click.IntRange(min=1), default=3, show_default=True,
              help="Times the posts are shuffled.")  # fmt: skip
def main(posts: int, passes: int) -> None:
    """Count the posts whose labels move with their neighbours; none must."""
    texts = sample_posts(posts, distinct=True).texts
    classifier = OnnxClassifier(cache_posts=0)
    began = time.monotonic()
    expected: list[Labels] = []
    for at in range(0, posts, WORKER_BATCH):
        expected += classifier.classify(texts[at : at + WORKER_BATCH])
    flipped = moved = 0
    for number in range(passes):
        parts = shuffled(posts, random.Random(number))
        found = label_parts(classifier, texts, parts)
        pairs = list(zip(expected, found, strict=True))
        flipped += sum(
            any(getattr(one, head).label != getattr(other, head).label for head in HEADS)
            for one, other in pairs
        )
        moved += sum(one != other for one, other in pairs)
        click.echo(
            f"{time.monotonic() - began:5.0f} s  pass {number + 1} of {passes}, {len(parts):,} "
            f"batches: {flipped:,} posts with other labels, {moved:,} with other probabilities"
        )
    classifier.close()
    judged = sum(labels.abstained is None for labels in expected)
    click.echo(f"{posts:,} posts, {judged:,} of them judged, {passes} passes: {moved:,} moved")
    sys.exit(1 if moved else 0)


if __name__ == "__main__":
    main()
