"""The latest counts of a series, kept tick by tick: any window's sum by two bisections."""

from __future__ import annotations

from bisect import bisect_left

import msgspec


class Recent(msgspec.Struct, array_like=True):
    """Ticks that had mentions, with running totals; ticks without any take no room.

    Attributes:
        origin: Tick that the others are counted from.
        ticks: Ticks with mentions, in order, less `origin`.
        totals: Mentions up to and in each of them.
    """

    origin: int
    ticks: list[int] = msgspec.field(default_factory=list)
    totals: list[int | float] = msgspec.field(default_factory=list)

    def add(self, tick: int, mentions: float) -> None:
        """Count mentions at `tick`; out of order too."""
        ticks, totals = self.ticks, self.totals
        tick -= self.origin
        if not ticks or tick > ticks[-1]:
            totals.append((totals[-1] if totals else 0) + mentions)
            ticks.append(tick)
            return
        at = bisect_left(ticks, tick)
        if ticks[at] != tick:
            ticks.insert(at, tick)
            totals.insert(at, totals[at - 1] if at else 0)
        for later in range(at, len(totals)):
            totals[later] += mentions

    def before(self, tick: int) -> float:
        """Mentions before `tick`, of those that are kept."""
        at = bisect_left(self.ticks, tick - self.origin)
        return self.totals[at - 1] if at else 0

    def between(self, start: int, end: int) -> float:
        """Mentions from `start` on, `end` excluded."""
        return self.before(end) - self.before(start)

    def first(self, start: int, end: int) -> int:
        """First tick with mentions from `start` on, `end` excluded; `start` if there is none."""
        at = bisect_left(self.ticks, start - self.origin)
        if at < len(self.ticks) and self.ticks[at] + self.origin < end:
            return self.ticks[at] + self.origin
        return start

    def active(self, start: int, end: int) -> list[int]:
        """Ticks with mentions from `start` on, `end` excluded."""
        ticks, origin = self.ticks, self.origin
        low, high = bisect_left(ticks, start - origin), bisect_left(ticks, end - origin)
        return [tick + origin for tick in ticks[low:high]]

    def counts(self, start: int, end: int) -> list[tuple[int, float]]:
        """Ticks with mentions from `start` on, `end` excluded, with how many."""
        ticks, totals, origin = self.ticks, self.totals, self.origin
        low, high = bisect_left(ticks, start - origin), bisect_left(ticks, end - origin)
        found = []
        past = totals[low - 1] if low else 0
        for at in range(low, high):
            found.append((ticks[at] + origin, totals[at] - past))
            past = totals[at]
        return found

    def forget(self, tick: int) -> None:
        """Drop what was before `tick`."""
        if not self.ticks or self.ticks[0] + self.origin >= tick:
            return
        at = bisect_left(self.ticks, tick - self.origin)
        gone, shift = self.totals[at - 1], tick - self.origin
        self.ticks = [kept - shift for kept in self.ticks[at:]]
        self.totals = [total - gone for total in self.totals[at:]]
        self.origin = tick
