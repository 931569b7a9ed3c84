"""The posts that are measured with, made of the bundled sample day.

Only events with words that mention a brand are taken, so that every event costs what a useful one
costs: one text for the model, one mention as a rule. All ids are distinct. The day is pressed into
an hour: a backlog as a busy source leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from models.normalise import normalise
from pipeline.domain.brands import BrandMatcher
from pipeline.records import Event
from pipeline.sample import sample_brands_path, sample_day
from pipeline.settings import load_settings
from pipeline.sources.files import SourceRecord

HOURS: Final = 1.0

_SPARE: Final = 1.4
"""Events made for each one wanted, at first; a quarter of a day is unfit."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Events in the order they are sent, each with words and a brand.

    Attributes:
        mentions: Mentions that become of them.
    """

    events: Sequence[dict[str, Any]]
    mentions: int

    def __len__(self) -> int:
        return len(self.events)

    @property
    def texts(self) -> list[str]:
        """Their texts, as the model is given them."""
        return [event["text"] for event in self.events]

    def records(self) -> Iterator[SourceRecord]:
        """The events as records of the events topic."""
        for number, event in enumerate(self.events, start=1):
            yield SourceRecord(event["id"].encode(), as_json(event), None, number)


def as_json(event: dict[str, Any]) -> bytes:
    """An event's value in its topic."""
    return json.dumps(event, ensure_ascii=False).encode()


def sample_posts(count: int, *, distinct: bool = False) -> Workload:
    """`count` posts of the sample day.

    Args:
        distinct: Leave out words that came before, so that no cache can help; otherwise about a
            quarter are reposts, word for word, as in the day.
    """
    matcher = BrandMatcher(load_settings(sample_brands_path()).brands)
    end = datetime.now(UTC)
    made = int(count * _SPARE) + 100
    while True:
        chosen: list[dict[str, Any]] = []
        mentions = 0
        seen: set[str] = set()
        for event in sample_day(end=end, events=made, hours=HOURS):
            brands = matcher.match(msgspec.convert(event, Event)) if event.get("text") else ()
            words = normalise(event["text"]) if brands and distinct else ""
            if not brands or words in seen:
                continue
            if distinct:
                seen.add(words)
            chosen.append(event)
            mentions += len(brands)
            if len(chosen) == count:
                return Workload(chosen, mentions)
        made *= 2
