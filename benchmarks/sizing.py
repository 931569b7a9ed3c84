"""What a cluster needs for so many events a second, computed from measured costs.

Computed, not measured: nothing here has run on a cluster of such size. Costs are those of one
machine; yours differ. `benchmarks.scale` measures them and prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

UTILISATION: Final = 0.6
"""Share of a core planned with: the rest is for bursts, and for catching up after a restart."""

MODEL_CORES: Final = 4
"""Cores of a worker whose model runs on them; one whose model is elsewhere needs one."""

REPLICATION: Final = 3
RETENTION_DAYS: Final = 7
IDS_KEPT: Final = 1_000_000
"""Event ids a worker remembers (`intake.repeats_kept`)."""

LEAST_PARTITIONS: Final = 8
PARTITIONS_A_WORKER: Final = 2
"""So that twice as many workers can be added before topics must grow."""

_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured.

    Attributes:
        event: CPU of a worker, in microseconds, for an event that names no brand.
        mention: The same for a mention, beyond that of its event, the model apart.
        model: The same for a post that the model judges on the worker's own cores.
        publish: The same for the scores of a brand, each second in which it is spoken of.
        hear: The same for a brand's scores at every other worker.
        broker: CPU of an unreplicated broker for an event and its mention.
        event_bytes, mention_bytes, state_bytes, score_bytes: Keys and values: of an event, of a
            mention, of the state written for it, and of a brand's scores.
        brand_bytes: State of a brand that is much spoken of.
    """

    event: float
    mention: float
    model: float
    publish: float
    hear: float
    broker: float
    event_bytes: float
    mention_bytes: float
    state_bytes: float
    score_bytes: float
    brand_bytes: float


@dataclass(frozen=True, slots=True)
class Mix:
    """What comes in.

    Attributes:
        named: Share of the events that name a brand.
        known: Share of those whose words were judged before (reposts).
        brands: Brands watched.
    """

    named: float
    known: float
    brands: int


@dataclass(frozen=True, slots=True)
class Sizing:
    """What is needed.

    Attributes:
        cores: Of all workers.
        written, read: Megabytes a second of all brokers, replication included.
        disk: Gigabytes of all brokers.
        broker_cores: Of all brokers.
        state: Megabytes of state of all workers, as it stands in topics.
        repeats_hours: For so long a repeated event is known as one.
    """

    workers: int
    cores: int
    partitions: int
    written: float
    read: float
    disk: float
    broker_cores: float
    state: float
    repeats_hours: float


def sizing(rate: float, costs: Costs, mix: Mix, *, remote: bool) -> Sizing:
    """What `rate` events a second take.

    Args:
        remote: The model runs elsewhere; its own size is not part of this.

    Raises:
        ValueError: No number of workers would do: hearing each other's scores alone fills them.
    """
    mentions = rate * mix.named
    spoken_of = min(float(mix.brands), mentions)
    # One event loop a worker: it takes in, counts, publishes, and hears all brands' scores.
    loops = (rate * costs.event + mentions * costs.mention + spoken_of * costs.publish) / 1e6
    model = 0.0 if remote else mentions * (1 - mix.known) * costs.model / 1e6
    hearing = spoken_of * costs.hear / 1e6
    if hearing >= UTILISATION:
        raise ValueError(f"{mix.brands} brands are more than one group of workers can follow")
    each = 1 if remote else MODEL_CORES
    workers = max(
        ceil(loops / (UTILISATION - hearing)),
        ceil((loops + model) / (UTILISATION * each - hearing)),
    )
    scores = spoken_of * costs.score_bytes
    events, made = rate * costs.event_bytes, mentions * costs.mention_bytes
    fresh = events + made + mentions * costs.state_bytes + scores
    return Sizing(
        workers=workers,
        cores=workers * each,
        partitions=_partitions(workers),
        written=fresh * REPLICATION / 1e6,
        read=(events + made + scores * workers + fresh * (REPLICATION - 1)) / 1e6,
        disk=(events + made) * RETENTION_DAYS * _DAY * REPLICATION / 1e9,
        broker_cores=mentions * costs.broker * REPLICATION / 1e6 / UTILISATION,
        state=mix.brands * costs.brand_bytes / 1e6,
        repeats_hours=min(24.0, workers * IDS_KEPT / rate / 3600),
    )


def _partitions(workers: int) -> int:
    """Twice the workers, as a power of two: it divides evenly among more of them."""
    return max(LEAST_PARTITIONS, 1 << (PARTITIONS_A_WORKER * workers - 1).bit_length())
