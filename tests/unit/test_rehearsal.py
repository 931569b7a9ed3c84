"""History through the pipeline: the alerts that would have fired, with our own sample's brands."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest

from models.labels import Labels
from pipeline.rehearsal import rehearse
from pipeline.settings import BrandSettings, Settings, SettingsError
from tests.builders import NOON, some_labels


class ByWord:
    """Complaints are what says `late`."""

    version = "by-word"

    def classify(self, texts: list[str]) -> list[Labels]:
        return [
            some_labels(gap="negative", touchpoint="delivery") if "late" in text else some_labels()
            for text in texts
        ]

    def close(self) -> None:
        raise AssertionError("not ours to close")


def history() -> io.BytesIO:
    """Two days of a post every ten minutes, then twenty complaints in ten minutes, one broken."""
    posts = [(-2880 + 10 * n, "north is a shop") for n in range(288)]
    posts += [(0.5 * n, f"north is late {n}") for n in range(20)]
    lines = [
        json.dumps(
            {
                "id": f"e{n}",
                "source": "test",
                "published": (NOON + timedelta(minutes=minutes)).isoformat(),
                "text": text,
            }
        )
        for n, (minutes, text) in enumerate(posts)
    ]
    return io.BytesIO("\n".join([*lines, lines[-1], "{broken"]).encode())


def settings(**alerts: object) -> Settings:
    brands = (BrandSettings(key="north", name="North"),)
    return Settings(brands=brands, alerts=alerts)  # type: ignore[arg-type]


def test_the_alerts_of_the_past_are_listed() -> None:
    found = rehearse(settings(), history(), "past.jsonl", ByWord())  # type: ignore[arg-type]
    assert (found.events, found.mentions, found.rejected) == (310, 308, 1)
    assert found.weeks == pytest.approx(2890 / 10080, rel=0.01)
    (alert,) = found.alerts
    assert (alert.brand, alert.touchpoint, alert.team) == ("north", "delivery", "Operations")
    assert NOON <= alert.onset <= found.told[alert.id] < NOON + timedelta(minutes=10)


def test_thresholds_can_be_tried() -> None:
    tried = settings(min_mentions=30)
    assert not rehearse(tried, history(), "past.jsonl", ByWord()).alerts  # type: ignore[arg-type]


def test_without_brands_there_is_nothing_to_listen_for() -> None:
    with pytest.raises(SettingsError, match="brands"):
        rehearse(Settings(), history(), "past.jsonl", ByWord())  # type: ignore[arg-type]
