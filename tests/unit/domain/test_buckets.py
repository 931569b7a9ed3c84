"""Buckets: whatever the order and the repeats, each mention counts once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.labels import ADVOCACIES, GAPS, SENTIMENTS, STAGES, TOUCHPOINTS
from pipeline.domain.buckets import (
    HOURS_KEPT,
    MICRO,
    MINUTES_KEPT,
    WINDOWS,
    BrandBuckets,
    Bucket,
    BucketKey,
    Totals,
    number_of,
    total,
)
from pipeline.records import Mention
from tests.builders import NOON, a_mention, at

EPOCH = NOON.timestamp()
DAY = 24 * 60.0


def key(brand: str, span: str, minutes: float = 0.0) -> bytes:
    """The encoded key of the bucket that holds a moment."""
    number = number_of("m" if span == "m" else "h", at(minutes).timestamp())
    return f"{brand}|{span}|{number}".encode()


def moment(mention: Mention) -> float:
    """When a mention was published, in epoch seconds."""
    return mention.event.published.timestamp()


def counted(mentions: Iterable[Mention]) -> dict[bytes, Bucket]:
    """Buckets after these deliveries, in this order, under a clock that follows them."""
    state: dict[bytes, Bucket] = {}
    buckets = BrandBuckets(state)
    now = 0.0
    for mention in mentions:
        now = max(now, moment(mention))
        buckets.apply(mention, now)
    buckets.expire(now)
    return state


@st.composite
def logs(draw: st.DrawFn) -> list[list[Mention]]:
    """Mentions of two brands out of up to three events partitions, each in offset order."""
    partitions = []
    for partition in range(draw(st.integers(1, 3))):
        mentions = []
        for offset in range(draw(st.integers(0, 7))):
            # Minutes, hours and days apart, and too old for minutes or for anything.
            minutes = draw(st.sampled_from([0.0, 0.5, 1.0, 59.0, 60.0, -119.0, -150.0, -30 * DAY]))
            advocacy = draw(st.sampled_from(ADVOCACIES))
            gap = draw(st.sampled_from(GAPS))
            touchpoint = draw(st.sampled_from(TOUCHPOINTS))
            weight = draw(st.sampled_from([1.0, 2.301030, 0.333333, 4.7]))
            author = draw(st.sampled_from("abcdef"))
            # One event may mention both brands: two mentions with one stamp.
            mentions += [
                a_mention(
                    brand,
                    stamp=(partition, 3 * offset),
                    minutes=minutes,
                    weight=weight,
                    author=author,
                    advocacy=advocacy,
                    gap=gap,
                    touchpoint=touchpoint,
                )
                for brand in draw(st.sampled_from([("north",), ("south",), ("north", "south")]))
            ]
        partitions.append(mentions)
    return partitions


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Mention], list[Mention]]:
    """A log, and a delivery of it: partitions interleaved, with crashes that go back and resume."""
    partitions = draw(logs())
    delivered: list[Mention] = []
    at_offset = [0] * len(partitions)
    crashes = draw(st.integers(0, 4))
    while unfinished := [p for p, log in enumerate(partitions) if at_offset[p] < len(log)]:
        if crashes and draw(st.integers(0, 3)) == 0:
            crashes -= 1
            behind = draw(st.sampled_from(range(len(partitions))))
            at_offset[behind] = draw(st.integers(0, at_offset[behind]))
        else:
            partition = draw(st.sampled_from(unfinished))
            delivered.append(partitions[partition][at_offset[partition]])
            at_offset[partition] += 1
    return [mention for log in partitions for mention in log], delivered


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_any_interleaving_with_any_replays_gives_the_buckets_of_one_delivery(
    case: tuple[list[Mention], list[Mention]],
) -> None:
    once, delivered = case
    assert counted(delivered) == counted(once)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_a_window_is_what_a_plain_recount_of_its_mentions_gives(
    case: tuple[list[Mention], list[Mention]],
) -> None:
    once, delivered = case
    state = counted(delivered)
    now = max(map(moment, once), default=0.0)
    for brand in ("north", "south"):
        for window, (span, length) in WINDOWS.items():
            first = number_of(span, now) - length + 1
            within = [m for m in once if m.brand == brand and number_of(span, moment(m)) >= first]
            totals = BrandBuckets(state).window(brand, window, now)
            assert totals.mentions == len(within)
            assert totals.weight == sum(round(m.weight * MICRO) for m in within)
            assert totals.weight_squared == sum(round(m.weight * MICRO) ** 2 for m in within)
            assert totals.promoter == sum(
                round(m.weight * MICRO) for m in within if m.labels.advocacy.label == "promoter"
            )
            assert totals.detractor == sum(
                round(m.weight * MICRO) for m in within if m.labels.advocacy.label == "detractor"
            )
            gaps = Counter((m.labels.touchpoint.label, m.labels.gap.label) for m in within)
            assert totals.gaps == [gaps[t, g] for t in TOUCHPOINTS for g in GAPS]
            assert len(totals.authors) == len({m.event.author for m in within})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries(), st.data())
def test_a_window_asked_for_all_along_is_what_one_asked_for_first_would_be(
    case: tuple[list[Mention], list[Mention]], data: st.DataObject
) -> None:
    _, delivered = case
    state: dict[bytes, Bucket] = {}
    buckets = BrandBuckets(state)
    now = 0.0
    for mention in delivered:
        now = max(now, moment(mention))
        buckets.apply(mention, now)
        if data.draw(st.booleans()):
            buckets.expire(now)
        for window in WINDOWS:
            kept = buckets.window(mention.brand, window, now)
            assert kept == BrandBuckets(state).window(mention.brand, window, now)


def test_a_mention_counts_under_every_label_it_has() -> None:
    totals = Totals()
    totals.count(
        a_mention(
            weight=2.5,
            sentiment="positive",
            stage="collaboration",
            gap="negative",
            touchpoint="warranty",
            advocacy="promoter",
            suggestion="1",
        )
    )
    assert totals.mentions == 1
    assert (totals.weight, totals.promoter, totals.detractor) == (2_500_000, 2_500_000, 0)
    assert totals.weight_squared == 2_500_000**2
    assert totals.suggestions == 1
    assert dict(zip(SENTIMENTS, totals.sentiments, strict=True))["positive"] == 1
    assert dict(zip(STAGES, totals.stages, strict=True))["collaboration"] == 1
    assert dict(zip(ADVOCACIES, totals.advocacies, strict=True))["promoter"] == 1
    assert totals.gaps[TOUCHPOINTS.index("warranty") * len(GAPS)] == 1
    assert sum(totals.gaps) == 1
    assert len(totals.authors) == 1


def test_weights_add_up_exactly_in_any_order() -> None:
    weights = [0.1, 0.2, 0.3, 1e3, 0.000001, 7.123456]
    forth, back = Totals(), Totals()
    for weight in weights:
        forth.count(a_mention(weight=weight))
    for weight in reversed(weights):
        back.count(a_mention(weight=weight))
    assert forth == back
    assert forth.weight == 1_007_723_457


def test_total_of_nothing_is_nothing() -> None:
    assert total([]) == Totals()


def test_total_leaves_its_parts_alone() -> None:
    part = Totals()
    part.count(a_mention())
    before = msgspec.json.encode(part)
    total([part, part])
    assert msgspec.json.encode(part) == before


@pytest.mark.parametrize(
    ("delivered", "counts"),
    [
        ([(0, 5)], 1),
        ([(0, 5), (0, 5)], 1),
        ([(0, 5), (0, 4)], 1),
        ([(0, 5), (0, 6)], 2),
        ([(0, 5), (1, 5)], 2),
        ([(0, 5), (1, 1), (0, 5), (1, 1), (1, 2)], 3),
    ],
)
def test_a_stamp_counts_only_above_its_partitions_last(
    delivered: list[tuple[int, int]], counts: int
) -> None:
    bucket = Bucket()
    applied = [bucket.apply(a_mention(stamp=stamp)) for stamp in delivered]
    assert bucket.totals.mentions == sum(applied) == counts


def test_a_mention_changes_its_minute_and_its_hour_and_nothing_else() -> None:
    buckets = BrandBuckets({})
    buckets.apply(a_mention(stamp=(0, 1), minutes=1), EPOCH + 60)
    buckets.apply(a_mention("south", stamp=(0, 1), minutes=1), EPOCH + 60)

    assert buckets.apply(a_mention(stamp=(0, 2), minutes=2), EPOCH + 120) == (
        True,
        False,
        {key("north", "m", 2), key("north", "h")},
    )


def test_a_replay_is_neither_news_nor_late_and_changes_nothing() -> None:
    buckets = BrandBuckets({})
    buckets.apply(a_mention(), EPOCH)
    assert buckets.apply(a_mention(), EPOCH) == (False, False, set())


def test_a_replay_to_buckets_written_in_part_fills_only_the_missing_one() -> None:
    state: dict[bytes, Bucket] = {}
    BrandBuckets(state).apply(a_mention(), EPOCH)
    del state[key("north", "m")]

    news, late, changed = BrandBuckets(state).apply(a_mention(), EPOCH)
    assert (news, late, changed) == (True, False, {key("north", "m")})
    assert state[key("north", "h")].totals.mentions == 1


@pytest.mark.parametrize(
    ("minutes_old", "counted_in"),
    [
        (0.0, {"m", "h"}),
        (MINUTES_KEPT - 1.0, {"m", "h"}),
        (float(MINUTES_KEPT), {"h"}),
        ((HOURS_KEPT - 1) * 60.0, {"h"}),
        (HOURS_KEPT * 60.0, set()),
        (365 * DAY, set()),
    ],
)
def test_late_mentions_land_where_there_still_is_a_bucket(
    minutes_old: float, counted_in: set[str]
) -> None:
    state: dict[bytes, Bucket] = {}
    news, late, changed = BrandBuckets(state).apply(a_mention(minutes=-minutes_old), EPOCH)
    assert {BucketKey.decode(raw).span for raw in changed} == counted_in
    assert (news, late) == (bool(counted_in), not counted_in)
    assert set(state) == changed


def test_expiry_drops_exactly_what_takes_no_mentions_any_more() -> None:
    state: dict[bytes, Bucket] = {}
    buckets = BrandBuckets(state)
    buckets.apply(a_mention(stamp=(0, 1)), EPOCH)
    buckets.apply(a_mention(stamp=(0, 2), minutes=1), EPOCH)

    assert buckets.expire(EPOCH + (MINUTES_KEPT - 1) * 60) == []
    assert buckets.expire(EPOCH + MINUTES_KEPT * 60) == [key("north", "m")]
    assert buckets.expire(EPOCH + MINUTES_KEPT * 60) == []
    assert set(state) == {key("north", "m", 1), key("north", "h")}


def test_a_brand_whose_last_bucket_expired_is_gone() -> None:
    buckets = BrandBuckets({})
    buckets.apply(a_mention(), EPOCH)
    assert buckets.brands == {"north"}
    buckets.expire(EPOCH + HOURS_KEPT * 3600)
    assert buckets.brands == set()


def test_after_a_restart_the_newest_minute_tells_the_time() -> None:
    state: dict[bytes, Bucket] = {}
    buckets = BrandBuckets(state)
    assert buckets.newest() == 0
    buckets.apply(a_mention(stamp=(0, 1), minutes=3.5), EPOCH + 300)
    buckets.apply(a_mention("south", stamp=(0, 2), minutes=1), EPOCH + 300)
    assert BrandBuckets(state).newest() == buckets.newest() == EPOCH + 180


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [("1h", -59.0, -60.0), ("24h", -23 * 60.0, -24 * 60.0), ("7d", -167 * 60.0, -168 * 60.0)],
)
def test_a_window_reaches_back_its_length_and_holds_the_running_bucket(
    window: str, inside: float, outside: float
) -> None:
    state: dict[bytes, Bucket] = {}
    buckets = BrandBuckets(state)
    for offset, minutes in enumerate([0.5, inside, outside]):
        buckets.apply(a_mention(stamp=(0, offset), minutes=minutes), EPOCH)
    assert buckets.window("north", window, EPOCH + 30).mentions == 2
    assert buckets.window("south", window, EPOCH + 30).mentions == 0


@given(logs())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_bucket_survives_the_changelog(log: list[list[Mention]]) -> None:
    state = counted(mention for part in log for mention in part)
    for bucket in state.values():
        assert msgspec.json.decode(msgspec.json.encode(bucket), type=Bucket) == bucket


@pytest.mark.parametrize(
    "bucket", [BucketKey("north-bikes", "m", 29_000_000), BucketKey("x", "h", 0)]
)
def test_a_bucket_key_survives_the_changelog(bucket: BucketKey) -> None:
    assert BucketKey.decode(bucket.encode()) == bucket
