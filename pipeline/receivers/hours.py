"""The hours in which a receiver wants to hear of alerts: `mon-fri 08:00-18:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DAY: Final = "|".join(DAYS)
_FORM: Final = re.compile(
    rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?\s+)?"
    r"(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of each of some weekdays, in local time.

    Attributes:
        days: Weekdays it begins on, Monday is 0.
        start, end: An `end` that is not after `start` is the next day's.
    """

    days: frozenset[int]
    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """The hours that a setting means.

        Raises:
            ValueError: It means none.
        """
        form = _FORM.fullmatch(text.strip())
        if form is None:
            raise ValueError("must be days and hours: 'mon-fri 08:00-18:00', or '22:00-06:00'")
        try:
            start = time.fromisoformat(form["start"])
            # 24:00 is a day's end, which `time` has no value for: the next day's beginning.
            end = time.fromisoformat("00:00" if form["end"] == "24:00" else form["end"])
        except ValueError:
            raise ValueError("hours go from 00:00 to 24:00") from None
        if form["first"] is None:
            days = frozenset(range(7))
        else:
            first = DAYS.index(form["first"].lower())
            last = DAYS.index((form["last"] or form["first"]).lower())
            days = frozenset((first + n) % 7 for n in range((last - first) % 7 + 1))
        return cls(days, start, end)

    def spans(self, day: datetime) -> tuple[datetime, datetime] | None:
        """Beginning and end of the span that begins on the (local) day, if one does."""
        if day.weekday() not in self.days:
            return None
        start = datetime.combine(day, self.start, day.tzinfo)
        after = timedelta(days=0 if self.end > self.start else 1)
        return start, datetime.combine(day + after, self.end, day.tzinfo)


def next_open(hours: tuple[Hours, ...], zone: ZoneInfo, moment: float) -> float:
    """The first moment, not before the given one, within any of the hours (epoch seconds).

    Without hours it is always open. Where clocks are put forward or back, a span begins and ends
    when the clock on the wall says so.
    """
    if not hours:
        return moment
    local = datetime.fromtimestamp(moment, zone)
    found = []
    # From yesterday, whose span may reach into today, to the same day of next week.
    for offset in range(-1, 8):
        for span in (each.spans(local + timedelta(days=offset)) for each in hours):
            if span is not None and span[1].timestamp() > moment:
                found.append(max(moment, span[0].timestamp()))
    return min(found)
