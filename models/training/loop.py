"""The training loop: one network, all data sets in one shuffled stream, an averaged result."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models.columns import COLUMNS, OFFSETS
from models.training.data import (
    Batch,
    Corpus,
    Row,
    class_weights,
    collate,
    encode_targets,
    plan_batches,
)
from models.training.network import Network
from models.training.settings import DataSettings, OptimiserSettings, Settings

CHECKPOINT_SECONDS = 180.0


def train(
    network: Network,
    corpus: Corpus,
    tokenizer: Tokenizer,
    settings: Settings,
    checkpoint: Path,
) -> Network:
    """Train `network` in place on `corpus` and return the average of its weights over the run.

    The average so far is written to `checkpoint` every `CHECKPOINT_SECONDS` and at the end.
    """
    draw = random.Random(settings.seed)  # noqa: S311 - reproducible, no secret
    sources = _draw_sources(corpus, settings.data, draw)
    rows = [row for source, _ in sources for row in source]
    weights = class_weights(
        corpus.posts, settings.loss.class_weight_power, settings.loss.class_weight_limit
    )
    targets, loss_weights = encode_targets(
        rows,
        weights,
        disputed_loser=settings.data.disputed_loser,
        smoothing=settings.loss.smoothing,
    )
    tokens = [coded.ids for coded in tokenizer.encode_batch([row.text for row in rows])]
    order = _plan_order([(len(source), passes) for source, passes in sources], draw)
    lengths = [len(ids) for ids in tokens]
    batches = plan_batches(lengths, order, settings.optimiser.batch_rows, draw)

    # Words stay as pretrained: the data knows few of them, and a third of the time is saved.
    network.words.weight.requires_grad_(False)
    optimiser, schedule = _optimiser(network, settings.optimiser, len(batches))
    average = copy.deepcopy(network)
    average.eval()
    saved = time.monotonic()
    network.train()
    bar = tqdm(collate(batches, tokens, targets, loss_weights), total=len(batches), mininterval=10)
    for step, batch in enumerate(bar):
        loss = _loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.optimiser.gradient_norm)
        optimiser.step()
        schedule.step()
        # A short memory at first, or the untrained start would linger in the average.
        decay = min(settings.optimiser.average_decay, (step + 1) / (step + 10))
        _update_average(average, network, decay)
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            torch.save(average.state_dict(), checkpoint)
            saved = time.monotonic()
    torch.save(average.state_dict(), checkpoint)
    return average


def predict(
    network: Network, tokenizer: Tokenizer, texts: Sequence[str], batch_rows: int = 64
) -> NDArray[np.float32]:
    """Logits (texts, COLUMNS) of normalised texts, in order, in float32."""
    network.eval()
    tokens = [coded.ids for coded in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    batches = [order[at : at + batch_rows] for at in range(0, len(order), batch_rows)]
    empty = np.zeros((len(tokens), 0), np.float32)
    logits = np.zeros((len(tokens), COLUMNS), np.float32)
    with torch.inference_mode():
        for rows, batch in zip(batches, collate(batches, tokens, empty, empty), strict=True):
            ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
            logits[rows] = network(ids, mask).numpy()
    return logits


def _draw_sources(
    corpus: Corpus, data: DataSettings, draw: random.Random
) -> list[tuple[list[Row], int]]:
    """The rows of each data set that the run shows, and how often."""
    sentiment = draw.sample(corpus.sentiment, min(data.sentiment_rows, len(corpus.sentiment)))
    return [
        (corpus.posts, data.posts_passes),
        (corpus.complaints, data.complaints_passes),
        (sentiment, 1),
    ]


def _plan_order(sources: Sequence[tuple[int, int]], draw: random.Random) -> list[int]:
    """Row numbers in the order of training; each source (rows, passes) is spread over the run."""
    keyed: list[tuple[float, int]] = []
    start = 0
    for count, passes in sources:
        for number in range(passes):
            keyed += [((number + draw.random()) / passes, start + row) for row in range(count)]
        start += count
    return [row for _, row in sorted(keyed)]


def _loss(network: Network, batch: Batch) -> Tensor:
    """Weighted soft cross-entropy, summed over the heads, averaged over the rows of each."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.from_numpy(batch.ids), torch.from_numpy(batch.mask))
    targets, weights = torch.from_numpy(batch.targets), torch.from_numpy(batch.weights)
    total = torch.zeros(())
    for where in OFFSETS.values():
        entropy = -(targets[:, where] * functional.log_softmax(logits[:, where], -1)).sum(-1)
        weight = weights[:, where][:, 0]
        labelled = (weight > 0).sum().clamp(min=1)
        # A head few rows of the batch speak to counts by their share, not as a full voice.
        share = labelled / len(weight)
        total = total + share * (weight * entropy).sum() / labelled
    return total


def _optimiser(
    network: Network, settings: OptimiserSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW without decay on biases and norms; linear warm-up, then linear decay to zero."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("heads."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    optimiser = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.head_rate if is_head else settings.encoder_rate,
                "weight_decay": settings.weight_decay if is_matrix else 0.0,
            }
            for (is_head, is_matrix), parameters in groups.items()
        ],
        fused=True,
    )
    warm = max(1, round(settings.warm_up * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    return optimiser, schedule


def _update_average(average: Network, network: Network, decay: float) -> None:
    pairs = zip(average.parameters(), network.parameters(), strict=True)
    with torch.no_grad():
        for mine, theirs in pairs:
            if theirs.requires_grad:
                mine.lerp_(theirs, 1 - decay)
