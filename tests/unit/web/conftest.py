"""Records to show: plain ones, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from models.labels import neutral_labels
from pipeline.domain.silences import Orders
from pipeline.records import Actor, Alert, Event, GapRate, Mention, Score, Stamp
from pipeline.web.api import Api
from pipeline.web.view import LiveView

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _score(**changed: Any) -> Score:
    told = {
        "brand": "larkfoot",
        "window": "1h",
        "as_of": NOON,
        "score": 31.25,
        "margin": 6.0,
        "few": False,
        "mentions": 40,
        "authors": 38,
        "suggestions": 2,
        "stages": {"creation": 40},
        "sentiments": {"neutral": 40},
        "advocacies": {"passive": 40},
        "gap": GapRate(40, 0.25, 0.05),
        "gap_by_touchpoint": {"delivery": GapRate(20, 0.5, 0.0)},
        "gap_by_team": {"Operations": GapRate(20, 0.5, 0.0)},
        "share_of_voice": None,
    }
    return Score(**(told | changed))


def _alert(**changed: Any) -> Alert:
    told = {
        "id": "a1",
        "notification": "n1",
        "brand": "larkfoot",
        "brand_name": "Larkfoot Shoes",
        "touchpoint": "delivery",
        "team": "Operations",
        "status": "firing",
        "onset": NOON,
        "updated": NOON,
        "seen": 41,
        "expected": 2.3,
        "window_minutes": 15,
        "probability": 1e-9,
        "share": 0.3,
        "reach": 1200,
        "peak": 41,
    }
    return Alert(**(told | changed))


def _mention(
    id: str = "e1", *, brand: str = "larkfoot", received: datetime = NOON, **event: Any
) -> Mention:
    told = {"text": "Still waiting for my parcel.", "actor": Actor("u1", "nell")} | event
    return Mention(
        event=Event(id=id, source="test", published=received, **told),
        brand=brand,
        labels=neutral_labels(),
        team="none",
        weight=1.0,
        model="test",
        stamp=Stamp(0, 0),
        received=received,
    )


def api_of(view: LiveView, **options: Any) -> Api:
    """The API of a view; what it writes is forgotten unless `write` is given."""
    return Api(view, **{"orders": Orders(), "write": Written().write} | options)


class Written(list[tuple[str, str, msgspec.Struct]]):
    """What was written to the topics: (topic, key, record); raises `trouble` where there is any."""

    trouble: Exception | None = None

    async def write(self, topic: str, key: str, record: msgspec.Struct) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.append((topic, key, record))


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def make_score() -> Callable[..., Score]:
    return _score


@pytest.fixture
def make_alert() -> Callable[..., Alert]:
    return _alert


@pytest.fixture
def make_mention() -> Callable[..., Mention]:
    return _mention
