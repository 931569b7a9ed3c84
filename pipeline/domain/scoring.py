"""The advocacy score and its companions, from totals."""

from __future__ import annotations

from datetime import UTC, datetime
from math import log10, sqrt

import msgspec

from models.labels import ADVOCACIES, GAPS, SENTIMENTS, STAGES, TEAM_OF_TOUCHPOINT, TOUCHPOINTS
from pipeline.domain import distinct
from pipeline.domain.buckets import Totals
from pipeline.records import Event, GapCount, GapRate, Hour, Score


def weight(event: Event, stage: str, stage_weights: dict[str, float], *, reach: bool) -> float:
    """What a mention counts: its stage's weight, times 1 + log10(1 + followers) with `reach`.

    Rounded to six decimals, so that sums of it can be exact.
    """
    factor = 1.0 + log10(1.0 + event.actor.followers) if reach else 1.0
    return round(stage_weights[stage] * factor, 6)


def net_score(totals: Totals) -> tuple[float, float] | None:
    """The score and its margin, or None where nothing weighs.

    score = 100 · (P − D) / W over promoter, detractor and all weight: the Net Promoter form
    (Reichheld 2003). margin = 196 · sqrt((p + d − (p − d)²) / n_eff) is half of its 95 % interval,
    with p = P/W, d = D/W and Kish's effective sample size n_eff = (Σw)² / Σw².
    """
    if totals.weight == 0:
        return None
    promoters = totals.promoter / totals.weight
    detractors = totals.detractor / totals.weight
    effective = totals.weight * totals.weight / totals.weight_squared
    variance = max(0.0, promoters + detractors - (promoters - detractors) ** 2)
    score = 100.0 * (totals.promoter - totals.detractor) / totals.weight
    return score, 196.0 * sqrt(variance / effective)


def gap_rate(counts: list[int]) -> GapRate:
    """The rate from counts of negative, no and positive gap."""
    mentions = sum(counts)
    if mentions == 0:
        return GapRate(0, 0.0, 0.0)
    return GapRate(mentions, counts[0] / mentions, counts[2] / mentions)


def score_of(
    brand: str,
    window: str,
    totals: Totals,
    *,
    as_of: float,
    few: int,
) -> Score:
    """The record of a brand's window, its share of voice left open (`with_voice`).

    Args:
        as_of: End of the window, epoch seconds of event time.
        few: Below so many mentions the score is marked as resting on few.
    """
    mentions = totals.mentions
    judged = net_score(totals)
    by_touchpoint = {
        touchpoint: totals.gaps[at * len(GAPS) : (at + 1) * len(GAPS)]
        for at, touchpoint in enumerate(TOUCHPOINTS)
    }
    by_team: dict[str, list[int]] = {}
    for touchpoint, counts in by_touchpoint.items():
        summed = by_team.setdefault(TEAM_OF_TOUCHPOINT[touchpoint], [0] * len(GAPS))
        for at, count in enumerate(counts):
            summed[at] += count
    return Score(
        brand=brand,
        window=window,
        as_of=datetime.fromtimestamp(as_of, UTC),
        score=judged[0] if judged else None,
        margin=judged[1] if judged else None,
        few=mentions < few,
        mentions=mentions,
        authors=distinct.estimate(totals.authors),
        suggestions=totals.suggestions,
        stages=dict(zip(STAGES, totals.stages, strict=True)),
        sentiments=dict(zip(SENTIMENTS, totals.sentiments, strict=True)),
        advocacies=dict(zip(ADVOCACIES, totals.advocacies, strict=True)),
        gap=gap_rate([sum(totals.gaps[at :: len(GAPS)]) for at in range(len(GAPS))]),
        gap_by_touchpoint={name: gap_rate(counts) for name, counts in by_touchpoint.items()},
        gap_by_team={name: gap_rate(counts) for name, counts in by_team.items()},
        share_of_voice=None,
    )


def hour_of(brand: str, number: int, totals: Totals) -> Hour:
    """The record of one hour (number since the epoch) of a brand."""
    by_touchpoint = {
        touchpoint: totals.gaps[at * len(GAPS) : (at + 1) * len(GAPS)]
        for at, touchpoint in enumerate(TOUCHPOINTS)
    }
    return Hour(
        brand=brand,
        start=datetime.fromtimestamp(number * 3600, UTC),
        mentions=totals.mentions,
        weight=totals.weight,
        weight_squared=totals.weight_squared,
        promoter=totals.promoter,
        detractor=totals.detractor,
        authors=distinct.estimate(totals.authors),
        suggestions=totals.suggestions,
        stages={name: n for name, n in zip(STAGES, totals.stages, strict=True) if n},
        gaps={
            name: GapCount(sum(counts), below=counts[0], above=counts[2])
            for name, counts in by_touchpoint.items()
            if any(counts)
        },
    )


def with_voice(score: Score, rivals_mentions: int) -> Score:
    """`score` with its share of voice, given all rivals' mentions in the same window."""
    voices = score.mentions + rivals_mentions
    return msgspec.structs.replace(
        score, share_of_voice=score.mentions / voices if voices else None
    )
