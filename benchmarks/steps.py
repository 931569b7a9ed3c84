"""What the steps of the work on an event cost: `python -m benchmarks.steps`, for `programs`.

The domain code that the agents call, on posts of the sample day, with no Kafka and no model. What a
worker uses beyond that is its Kafka client's and Faust's.
"""

from __future__ import annotations

import gc
import json
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from benchmarks.state import follow
from benchmarks.workload import as_json, sample_posts
from models.labels import TEAM_OF_TOUCHPOINT, neutral_labels
from pipeline.domain.alerts import Watch
from pipeline.domain.brands import BrandMatcher
from pipeline.domain.buckets import WINDOWS, BrandBuckets, Bucket, further
from pipeline.domain.distinct import K
from pipeline.domain.intake import read_event
from pipeline.domain.lifecycle import Rules
from pipeline.domain.repeats import Repeats, hash_id
from pipeline.domain.scoring import score_of, weight
from pipeline.domain.spikes import Detector
from pipeline.records import Event, Mention, Score, Stamp
from pipeline.sample import sample_brands_path
from pipeline.settings import Settings, load_settings
from pipeline.values import Values

EVENTS: Final = 20_000
CHUNK: Final = 512
PER_HOUR: Final = (3.0, 30.0, 300.0)
BRANDS: Final = 200

_encode: Final = msgspec.json.Encoder().encode


def main() -> None:
    """Measure; print microseconds of CPU an event, a mention or a brand, and bytes, as JSON."""
    settings = load_settings(sample_brands_path())
    raw = [as_json(event) for event in sample_posts(EVENTS).events]
    matcher, repeats = BrandMatcher(settings.brands), Repeats(1_000_000)
    # As in a worker, there is little to look through for garbage, and nothing is kept of a chunk
    # when the next one comes.
    gc.collect()
    gc.freeze()
    steps: dict[str, float] = defaultdict(float)
    decode = msgspec.json.Decoder(Mention).decode
    counting = BrandBuckets({})
    alerts = settings.alerts
    rules = Rules(
        min_mentions=alerts.min_mentions,
        min_share=alerts.min_share,
        resolve_after_minutes=alerts.resolve_after_minutes,
        cooldown_minutes=alerts.cooldown_minutes,
        max_messages_per_hour=alerts.max_messages_per_hour,
    )
    watch = Watch({}, rules, Detector())
    mentions = 0
    for at in range(0, EVENTS, CHUNK):
        chunk = raw[at : at + CHUNK]
        began = time.process_time()
        taken = [_take_in(value, matcher, repeats) for value in chunk]
        began = _note(steps, "take_in", began)
        encoded = [
            _encode(_mention(settings, event, brand, at + number))
            for number, (event, brands) in enumerate(taken)
            for brand in brands
        ]
        began = _note(steps, "make", began)
        decoded = [decode(value) for value in encoded]
        began = _note(steps, "decode", began)
        for mention in decoded:
            counting.apply(mention, mention.event.published.timestamp())
        began = _note(steps, "score", began)
        for mention in decoded:
            watch.apply(mention, mention.event.published.timestamp())
        _note(steps, "detect", began)
        mentions += len(decoded)
    each = {"take_in": EVENTS, **dict.fromkeys(("make", "decode", "score", "detect"), mentions)}
    costs: dict[str, Any] = {name: steps[name] / each[name] * 1e6 for name in each}
    print(json.dumps(costs | _of_brands()), flush=True)


def _note(steps: dict[str, float], name: str, began: float) -> float:
    """Add the CPU seconds since `began` to a step; returns the moment."""
    now = time.process_time()
    steps[name] += now - began
    return now


def _take_in(raw: bytes, matcher: BrandMatcher, repeats: Repeats) -> tuple[Event, tuple[str, ...]]:
    event = read_event(raw, now=time.time(), max_ahead=1e9, max_bytes=1 << 20)
    repeats.is_repeat(hash_id(event.id), 0)
    return event, matcher.match(event)


def _mention(settings: Settings, event: Event, brand: str, number: int) -> Mention:
    labels = neutral_labels()
    return Mention(
        event=event,
        brand=brand,
        labels=labels,
        team=TEAM_OF_TOUCHPOINT[labels.touchpoint.label],
        weight=weight(event, labels.stage.label, settings.score.stage_weights, reach=True),
        model="null",
        stamp=Stamp(number % 4, number),
        received=event.published,
    )


def _of_brands() -> dict[str, Any]:
    """What a brand holds, and costs each time its scores are published."""
    followed = {rate: follow(rate, seed=seed) for seed, rate in enumerate(PER_HOUR)}
    state: Values[Bucket] = Values(msgspec.json.Decoder(Bucket).decode, further)
    for number in range(BRANDS):
        for key, raw in followed[PER_HOUR[1]].buckets.items():
            state.take(b"brand%d%s" % (number, key), raw, supersedes=False)
    buckets = BrandBuckets(state)
    now = datetime.now(UTC).timestamp()

    def publish() -> list[bytes]:
        return [
            _encode(score_of(brand, window, buckets.window(brand, window, now), as_of=now, few=30))
            for brand in buckets.brands
            for window in WINDOWS
        ]

    publish()  # what is over of a window is added up once
    began = time.process_time()
    scores = publish()
    published = time.process_time()
    decode = msgspec.json.Decoder(Score).decode
    for score in scores:
        decode(score)
    heard = time.process_time()
    return {
        "publish": (published - began) / BRANDS * 1e6,
        "hear": (heard - published) / BRANDS * 1e6,
        "score_bytes": sum(map(len, scores)) / BRANDS,
        "brand_bytes": {
            f"{rate:g}": sum(
                len(key) + len(value)
                for part in (each.buckets, each.series)
                for key, value in part.items()
            )
            for rate, each in followed.items()
        },
        "author_bytes": _author_bytes(state),
        "authors_most": K - 1,
    }


def _author_bytes(state: Values[Bucket]) -> float:
    """Bytes that an author adds to the hour (and to the minute) he or she speaks in."""
    buckets = [bucket for bucket in state.values() if bucket.totals.authors]
    hashes = sum(len(bucket.totals.authors) for bucket in buckets)
    return sum(len(_encode(bucket.totals.authors)) for bucket in buckets) / hashes


if __name__ == "__main__":
    main()
