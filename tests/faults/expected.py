"""What must come of a log of events, worked out in one go from the log alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.domain.brands import BrandMatcher
from pipeline.domain.buckets import Totals, number_of
from pipeline.domain.intake import RefusedError, came_in, read_event
from pipeline.domain.scoring import weight
from pipeline.domain.stages import with_stage
from pipeline.records import Mention, Stamp
from pipeline.settings import Settings
from pipeline.streaming import Record
from tests.faults.classifier import labels_of

Place = tuple[int, int]
"""Partition and offset in the events topic."""


@dataclass
class Expected:
    """What must come of each event, by its place in the log.

    Attributes:
        mentions: (brand, place) of every mention.
        rejected: Places of events that cannot be processed.
        hours: Totals of each (brand, hour).
    """

    mentions: dict[tuple[str, Place], Mention] = field(default_factory=dict)
    rejected: set[Place] = field(default_factory=set)
    repeats: int = 0
    unmatched: int = 0
    hours: dict[tuple[str, int], Totals] = field(default_factory=lambda: defaultdict(Totals))


def expect(settings: Settings, partitions: Iterable[tuple[int, Iterable[Record]]]) -> Expected:
    """Work out what must come of the events topic's records.

    Args:
        partitions: Each with its records in offset order; where some were added, those after the
            ones they were split off: an id that came before is a repeat there.
    """
    matcher = BrandMatcher(settings.brands)
    intake, score = settings.intake, settings.score
    expected = Expected()
    known: set[str] = set()
    for partition, records in partitions:
        for record in records:
            place = partition, record.offset
            try:
                event = read_event(
                    record.value,
                    now=came_in(record),
                    max_ahead=intake.max_ahead,
                    max_bytes=intake.max_event_bytes,
                )
            except RefusedError:
                expected.rejected.add(place)
                continue
            if event.id in known:
                expected.repeats += 1
                continue
            known.add(event.id)
            brands = matcher.match(event)
            expected.unmatched += not brands
            for brand in brands:
                labels = with_stage(labels_of(event.text or ""), event.activity)
                mention = Mention(
                    event=event,
                    brand=brand,
                    labels=labels,
                    team="",
                    weight=weight(
                        event, labels.stage.label, score.stage_weights, reach=score.reach
                    ),
                    model="",
                    stamp=Stamp(*place),
                    received=event.published,
                )
                expected.mentions[brand, place] = mention
                hour = number_of("h", event.published.timestamp())
                expected.hours[brand, hour].count(mention)
    return expected
