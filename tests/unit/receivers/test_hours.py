"""Hours are those of the wall clock where the receiver is."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.receivers.hours import Hours, next_open


def opens(hours: str, moment: str, zone: str = "UTC") -> str:
    """When it is open, from a local time on, as a local time."""
    place = ZoneInfo(zone)
    asked = datetime.fromisoformat(moment).replace(tzinfo=place)
    spans = tuple(Hours.parse(each) for each in hours.split(",") if each)
    found = next_open(spans, place, asked.timestamp())
    return datetime.fromtimestamp(found, place).strftime("%a %d %H:%M")


@pytest.mark.parametrize(
    ("hours", "moment", "expected"),
    [
        ("", "2026-05-04T03:00", "Mon 04 03:00"),
        ("mon-fri 08:00-18:00", "2026-05-04T07:59", "Mon 04 08:00"),
        ("mon-fri 08:00-18:00", "2026-05-04T08:00", "Mon 04 08:00"),
        ("mon-fri 08:00-18:00", "2026-05-04T17:59", "Mon 04 17:59"),
        ("mon-fri 08:00-18:00", "2026-05-04T18:00", "Tue 05 08:00"),
        ("mon-fri 08:00-18:00", "2026-05-08T18:00", "Mon 11 08:00"),
        ("mon-fri 08:00-18:00,sat 10:00-12:00", "2026-05-08T18:00", "Sat 09 10:00"),
        ("22:00-06:00", "2026-05-04T05:59", "Mon 04 05:59"),
        ("22:00-06:00", "2026-05-04T06:00", "Mon 04 22:00"),
        ("fri 22:00-06:00", "2026-05-09T05:00", "Sat 09 05:00"),
        ("fri-mon 00:00-24:00", "2026-05-05T00:00", "Fri 08 00:00"),
        ("Mon 09:00-10:00", "2026-05-04T10:00", "Mon 11 09:00"),
    ],
)
def test_next_open(hours: str, moment: str, expected: str) -> None:
    assert opens(hours, moment) == expected


def test_hours_follow_the_clock_of_their_zone() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    hours = (Hours.parse("mon-sun 08:00-18:00"),)
    for day, utc in ((28, 7), (29, 6)):  # the clocks go forward on the 29th of March 2026
        asked = datetime(2026, 3, day, 3, tzinfo=UTC).timestamp()
        assert datetime.fromtimestamp(next_open(hours, berlin, asked), UTC).hour == utc


@pytest.mark.parametrize(
    "text", ["", "mon", "8:00-18:00", "mon-fri", "08:00-25:00", "08:61-09:00", "mo-fr 08:00-18:00"]
)
def test_what_means_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"'mon-fri 08:00-18:00'|00:00 to 24:00"):
        Hours.parse(text)
