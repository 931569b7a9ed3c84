"""How bad an alert is, from 1 to 10, and how unusual, in words a marketing person understands."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, log10
from typing import Final

WORST: Final = 10

_MINUTES_PER_DAY: Final = 24 * 60
_DAYS: Final = (
    (1.0, "a day"),
    (7.0, "a week"),
    (30.0, "a month"),
    (365.0, "a year"),
    (3650.0, "in ten years"),
    (36_500.0, "in a hundred years"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """What severity is made of.

    Attributes:
        seen, expected: Mentions in the window and as usual.
        share, usual_share: Share of the brand's talk, and as usual; the latter 0 where unknown.
        reach: Followers of the authors who spoke.
        lately, before: Mentions in the last third of the window, and in the third before it.
    """

    seen: int
    expected: float
    share: float
    usual_share: float
    reach: int
    lately: int
    before: int

    @property
    def severity(self) -> int:
        """Severity, 1 (worth a look) to 10 (drop everything): the sum of four parts, rounded.

        size    log2(seen / max(expected, 4))       0-4   sixteen times what is usual: 4
        share   4 · (share − usual share)           0-2   half of the talk more than usual: 2
        reach   log10(reach) − 3                    0-3   1,000 followers: 0; a million: 3
        speed   log2((lately + 1) / (before + 1))   0-1   twice as many as a moment before: 1

        Beneath four expected mentions the ratio says little: eight complaints where none is usual
        are no catastrophe. Reach is the authors' own claim and cannot make an alert alone.
        """
        points = (
            _within(log2(max(self.seen, 1) / max(self.expected, 4.0)), 4.0)
            + _within(4.0 * (self.share - self.usual_share), 2.0)
            + _within(log10(max(self.reach, 1)) - 3.0, 3.0)
            + _within(log2((self.lately + 1) / (self.before + 1)), 1.0)
        )
        return max(1, min(WORST, round(points)))

    @property
    def reason(self) -> str:
        """Why, in one line: `11 where 0.5 are usual; 33% of the talk; 2,300 followers; growing`."""
        parts = [
            f"{self.seen:,} where {usual_count(self.expected)} usual",
            f"{self.share:.0%} of the talk"
            + (f", usually {self.usual_share:.0%}" if self.usual_share else ""),
            f"{self.reach:,} followers reached",
            self.pace,
        ]
        return "; ".join(parts)

    @property
    def pace(self) -> str:
        """Whether it grows, in a word."""
        if self.lately >= 2 * max(self.before, 1):
            return "growing fast"
        if self.lately > 1.2 * self.before:
            return "growing"
        return "steady" if self.lately >= 0.8 * self.before else "easing"


def usual_count(expected: float) -> str:
    """An expectation with its verb: `0.5 are`, `12 are`."""
    return f"{expected:.1f} are" if expected < 10 else f"{expected:,.0f} are"


def unusual(probability: float, window_minutes: int, *, cold: bool) -> str:
    """How often chance alone would show so much, in words.

    Windows of `window_minutes` that do not overlap, one after another, each with `probability`.

    Args:
        probability: Chance of so much in one window, were everything as usual.
        window_minutes: Length of a window.
        cold: What is usual is not well known yet.
    """
    days = window_minutes / _MINUTES_PER_DAY / max(probability, 1e-300)
    if days > _DAYS[-1][0]:
        words = f"less than once {_DAYS[-1][1]} of usual talk"
    elif days < _DAYS[0][0]:
        words = "more than once a day in usual talk"
    else:
        often, unit = max((d, name) for d, name in _DAYS if d <= days)
        times = days / often
        words = f"about once {unit} of usual talk" if times < 2 else _every(days)
    return f"{words}; what is usual is still a guess" if cold else words


def _every(days: float) -> str:
    """`about once in 3 weeks of usual talk`."""
    for length, unit in ((365.0, "years"), (30.0, "months"), (7.0, "weeks"), (1.0, "days")):
        if days >= 2 * length:
            return f"about once in {round(days / length)} {unit} of usual talk"
    return "about once a day of usual talk"


def _within(points: float, most: float) -> float:
    return max(0.0, min(most, points))
