"""The training loop: one network, all data sets in one shuffled stream, an averaged result."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from models.columns import COLUMNS, OFFSETS
from models.training.data import Batch, Floats, Row, collate, plan_batches
from models.training.network import Network
from models.training.settings import StageSettings

CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Lesson:
    """What a network is trained on.

    Attributes:
        rows: All rows, source by source.
        targets: Soft targets, (rows, COLUMNS).
        weights: Weights in the loss, (rows, COLUMNS).
        passes: Of each source, how many rows it has and how often they are shown.
    """

    rows: list[Row]
    targets: Floats
    weights: Floats
    passes: list[tuple[int, int]]


@dataclass(frozen=True)
class State:
    """All that training needs to go on where it stopped, with torch's random numbers."""

    network: Network
    average: Network
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler

    def save(self, path: Path, step: int) -> None:
        """Write the state after `step` steps; a crash while writing leaves the last one whole."""
        content = {name: part.state_dict() for name, part in vars(self).items()}
        draws = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
        torch.save({**content, "draws": draws, "step": step}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> int:
        """Take over what `save` wrote and return its step; 0 if there is nothing."""
        if not path.exists():
            return 0
        content = torch.load(path, weights_only=True, map_location="cpu")
        for name, part in vars(self).items():
            part.load_state_dict(content[name])
        torch.set_rng_state(content["draws"][0])
        torch.cuda.set_rng_state_all(content["draws"][1:])
        return int(content["step"])


def train(
    network: Network,
    lesson: Lesson,
    tokenizer: Tokenizer,
    settings: StageSettings,
    seed: int,
    checkpoint: Path,
) -> Network:
    """Train `network` in place on `lesson` and return the average of its weights over the run.

    The state is written to `checkpoint` every `CHECKPOINT_SECONDS`. A later call with the same
    arguments goes on from there, through the same batches; the file is removed at the end.
    """
    draw = random.Random(seed)  # noqa: S311 - reproducible, no secret
    torch.manual_seed(seed)
    tokens = [coded.ids for coded in tokenizer.encode_batch([row.text for row in lesson.rows])]
    order = _plan_order(lesson.passes, draw)
    batches = plan_batches([len(ids) for ids in tokens], order, settings.batch_rows, draw)

    _freeze(network, settings.frozen_layers)
    network.set_dropout(settings.dropout)
    average = copy.deepcopy(network)
    average.eval()
    state = State(network, average, *_optimiser(network, settings, len(batches)))
    first = state.load(checkpoint)
    saved = time.monotonic()
    network.train()
    stream = collate(batches[first:], tokens, lesson.targets, lesson.weights)
    bar = tqdm(stream, initial=first, total=len(batches), mininterval=10, desc=checkpoint.stem)
    for step, batch in enumerate(bar, first):
        loss = _loss(network, batch)
        state.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        state.optimiser.step()
        state.schedule.step()
        # A short memory at first, or the untrained start would linger in the average.
        _update_average(average, network, min(settings.average_decay, (step + 1) / (step + 10)))
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            state.save(checkpoint, step + 1)
            saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)
    return average


def predict(
    network: Network,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    batch_rows: int = 64,
    bfloat16: bool = False,
) -> NDArray[np.float32]:
    """Logits (texts, COLUMNS) of normalised texts, in order; in float32 unless `bfloat16`."""
    network.eval()
    device = network.heads.weight.device
    tokens = [coded.ids for coded in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
    batches = [order[at : at + batch_rows] for at in range(0, len(order), batch_rows)]
    empty = np.zeros((len(tokens), 0), np.float32)
    logits = np.zeros((len(tokens), COLUMNS), np.float32)
    stream = zip(batches, collate(batches, tokens, empty, empty), strict=True)
    narrow = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
    with torch.inference_mode(), narrow:
        for rows, batch in tqdm(stream, total=len(batches), mininterval=10, disable=not bfloat16):
            ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
            logits[rows] = network(ids.to(device), mask.to(device)).cpu().numpy()
    return logits


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
    device = network.heads.weight.device
    ids, mask = torch.from_numpy(batch.ids).to(device), torch.from_numpy(batch.mask).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        logits = network(ids, mask)
    targets = torch.from_numpy(batch.targets).to(device)
    weights = torch.from_numpy(batch.weights).to(device)
    total = torch.zeros((), device=device)
    for where in OFFSETS.values():
        entropy = -(targets[:, where] * functional.log_softmax(logits[:, where], -1)).sum(-1)
        weight = weights[:, where][:, 0]
        # Averaged over all rows: a head few rows of the batch speak to is no full voice.
        total = total + (weight * entropy).sum() / len(weight)
    return total


def _freeze(network: Network, layers: int) -> None:
    """Keep the words, the distances and the lowest `layers` as pretrained."""
    # The data knows few of the words, and a third of the time is saved.
    network.words.weight.requires_grad_(False)
    if network.shape.relative_attention_num_buckets:
        network.distances.weight.requires_grad_(False)
    if layers:
        network.positions.weight.requires_grad_(False)
        for part in (network.embedding_norm, *network.layers[:layers]):
            part.requires_grad_(False)


def _optimiser(
    network: Network, settings: StageSettings, steps: int
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
