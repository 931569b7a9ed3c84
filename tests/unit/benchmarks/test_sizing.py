"""The calculator adds up what was measured, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.sizing import IDS_KEPT, MODEL_CORES, UTILISATION, Costs, Mix, sizing

COSTS = Costs(
    event=20,
    mention=40,
    model=1000,
    publish=200,
    hear=20,
    broker=50,
    event_bytes=400,
    mention_bytes=1000,
    state_bytes=600,
    score_bytes=3000,
    brand_bytes=4e6,
)
MIX = Mix(named=0.5, known=0.25, brands=100)


def test_a_remote_model_leaves_the_event_loops() -> None:
    loops = 10_000 * 20e-6 + 5_000 * 40e-6 + 100 * 200e-6
    found = sizing(10_000, COSTS, MIX, remote=True)
    assert found.workers == found.cores == 1
    assert loops < UTILISATION
    assert sizing(100_000, COSTS, MIX, remote=True).workers == 7  # 4.02 loops of 0.598 each


def test_a_model_on_the_workers_cores_needs_them() -> None:
    found = sizing(10_000, COSTS, MIX, remote=False)
    judged = 5_000 * 0.75 * 1000e-6
    assert found.cores == found.workers * MODEL_CORES
    assert found.cores >= judged / UTILISATION
    assert found.workers == 2


def test_bytes_are_of_events_mentions_state_and_scores() -> None:
    found = sizing(1000, COSTS, MIX, remote=True)
    fresh = 1000 * 400 + 500 * 1000 + 500 * 600 + 100 * 3000
    assert found.written == pytest.approx(3 * fresh / 1e6)
    assert found.read == pytest.approx((1000 * 400 + 500 * 1000 + 100 * 3000 + 2 * fresh) / 1e6)
    assert found.disk == pytest.approx((1000 * 400 + 500 * 1000) * 3 * 7 * 86_400 / 1e9)
    assert found.state == 400


def test_partitions_allow_for_twice_the_workers() -> None:
    for rate in (100, 10_000, 1_000_000):
        found = sizing(rate, COSTS, MIX, remote=False)
        assert found.partitions >= 2 * found.workers
        assert found.partitions & (found.partitions - 1) == 0


def test_many_events_shorten_how_long_repeats_are_known() -> None:
    assert sizing(1, COSTS, MIX, remote=True).repeats_hours == 24
    found = sizing(10_000, COSTS, MIX, remote=True)
    assert found.repeats_hours == pytest.approx(found.workers * IDS_KEPT / 10_000 / 3600)


def test_more_brands_than_can_be_followed_are_said() -> None:
    with pytest.raises(ValueError, match="50000 brands"):
        sizing(1e6, COSTS, replace(MIX, brands=50_000), remote=True)
