"""The last four weeks of every brand, hour by hour, as its workers published them.

Memory is bounded: of a brand as many hours are kept as there are buckets, each as the bytes it came
as (about a quarter of a megabyte a brand in all).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from models.labels import STAGES, TOUCHPOINTS
from pipeline.domain.buckets import HOURS_KEPT, WINDOWS, Totals
from pipeline.domain.scoring import net_score
from pipeline.domain.series import ALL
from pipeline.records import Expectation, Hour, Instant, Term

_encode: Final = msgspec.json.Encoder().encode
_hour: Final = msgspec.json.Decoder(Hour).decode
_expectation: Final = msgspec.json.Decoder(Expectation).decode


class GapStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was said of a touchpoint in one step of a brand's course.

    Attributes:
        mentions, below, above: Mentions, and those below and above expectation.
        expected: Mentions below expectation that the detector expected; absent where it did not
            say.
    """

    mentions: int = 0
    below: int = 0
    above: int = 0
    expected: float | None = None


class Step(msgspec.Struct, frozen=True):
    """One step of a brand's course.

    Attributes:
        start: Its first moment.
        mentions: Mentions in it.
        score, margin: The advocacy score of the window that ends with the step, and half the width
            of its 95 % interval; absent without mentions.
        stages: Mentions in it by engagement stage.
        gaps: By touchpoint, and `all`.
    """

    start: Instant
    mentions: int
    score: float | None
    margin: float | None
    stages: dict[str, int]
    gaps: dict[str, GapStep]


class _Brand:
    """One brand's hours by number since the epoch."""

    __slots__ = ("expected", "hours", "newest", "revision")

    def __init__(self) -> None:
        self.hours: dict[int, bytes] = {}
        self.expected: dict[int, bytes] = {}
        self.newest = 0
        self.revision = 0


class History:
    """What is known of each brand's hours; the last word on an hour wins."""

    def __init__(self) -> None:
        self._brands: dict[str, _Brand] = {}

    def take(self, record: Hour | Expectation) -> bool:
        """Take an hour, or what was expected of it; true where it tells something new."""
        brand = self._brands.setdefault(record.brand, _Brand())
        held = brand.hours if isinstance(record, Hour) else brand.expected
        number, told = int(record.start.timestamp()) // 3600, _encode(record)
        if held.get(number) == told:
            return False
        held[number] = told
        brand.revision += 1
        if isinstance(record, Hour):
            brand.newest = max(brand.newest, number)
        # Now and then is enough: an hour adds one.
        if len(held) > HOURS_KEPT + 24:
            for old in sorted(held)[:-HOURS_KEPT]:
                del held[old]
        return True

    def newest(self, brand: str) -> datetime | None:
        """First moment of the newest hour known of a brand."""
        held = self._brands.get(brand)
        if held is None or not held.hours:
            return None
        return datetime.fromtimestamp(held.newest * 3600, UTC)

    def revision(self, brand: str) -> int:
        """Grows with every change of a brand's history."""
        return self._brands[brand].revision if brand in self._brands else 0

    def hour(self, brand: str, start: datetime) -> Hour | None:
        """A brand's hour, as last published; None where nothing was."""
        held = self._brands.get(brand)
        told = held.hours.get(int(start.timestamp()) // 3600) if held is not None else None
        return _hour(told) if told is not None else None

    def terms(self, brand: str) -> tuple[Term, ...]:
        """What lately set a brand's talk below expectation apart."""
        held = self._brands.get(brand)
        if held is None or not held.expected:
            return ()
        return _expectation(held.expected[max(held.expected)]).terms

    def course(self, brand: str, *, window: str = "24h", hours: int, step: int) -> list[Step]:
        """A brand's last `hours` hours in steps of `step` hours, oldest first.

        Steps lie on whole multiples of their length, and the last is the one that runs; those
        without a record are there all the same, once anything is known before them.

        Args:
            window: Of the score: `1h` (the step itself), `24h` or `7d`.
        """
        held = self._brands.get(brand)
        if held is None or not held.hours:
            return []
        length = max(step, 1 if window == "1h" else WINDOWS[window][1])
        end = (held.newest // step + 1) * step
        begin = max(end - -(-hours // step) * step, min(held.hours) // step * step)
        known = {n: _hour(held.hours[n]) for n in range(begin - length, end) if n in held.hours}
        expected = {
            n: _expectation(held.expected[n]).below for n in range(begin, end) if n in held.expected
        }
        return [
            _step(
                first,
                [known[n] for n in range(first + step - length, first + step) if n in known],
                [known[n] for n in range(first, first + step) if n in known],
                [expected.get(n) for n in range(first, first + step)],
            )
            for first in range(begin, end, step)
        ]


def _step(
    first: int,
    window: Sequence[Hour],
    own: Sequence[Hour],
    expected: Sequence[dict[str, float] | None],
) -> Step:
    judged = net_score(
        Totals(
            weight=sum(hour.weight for hour in window),
            weight_squared=sum(hour.weight_squared for hour in window),
            promoter=sum(hour.promoter for hour in window),
            detractor=sum(hour.detractor for hour in window),
        )
    )
    return Step(
        start=datetime.fromtimestamp(first * 3600, UTC),
        mentions=sum(hour.mentions for hour in own),
        score=round(judged[0], 2) if judged else None,
        margin=round(judged[1], 2) if judged else None,
        stages={name: sum(hour.stages.get(name, 0) for hour in own) for name in STAGES},
        gaps=_gaps(own, expected),
    )


def _gaps(own: Sequence[Hour], expected: Sequence[dict[str, float] | None]) -> dict[str, GapStep]:
    said = [each for each in expected if each is not None]
    gaps = {}
    for name in (*TOUCHPOINTS, ALL):
        counts = [
            gap
            for hour in own
            for touchpoint, gap in hour.gaps.items()
            if name in (touchpoint, ALL)
        ]
        gaps[name] = GapStep(
            mentions=sum(count.mentions for count in counts),
            below=sum(count.below for count in counts),
            above=sum(count.above for count in counts),
            # Of a touchpoint that nobody complained of nothing is expected; what is not known for
            # the whole step is not said of a part.
            expected=round(sum(each.get(name, 0.0) for each in said), 3)
            if said and len(said) == len(expected) and name != "none"
            else None,
        )
    return gaps
