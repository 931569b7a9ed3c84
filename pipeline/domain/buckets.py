"""Rolling counts: what was said of a brand in a minute or an hour of event time.

A bucket is a pure function of the mentions that fall into it. Its stamps say how far into each
events partition it has counted, so a mention that comes again changes nothing. All sums are
integers: any order of addition gives the same result, to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from models.labels import ADVOCACIES, GAPS, SENTIMENTS, STAGES, TOUCHPOINTS
from pipeline.domain import distinct
from pipeline.records import Mention, Stamp

MICRO: Final = 1_000_000
"""Weights are counted in millionths."""

Span = Literal["m", "h"]

MINUTES_KEPT: Final = 120
HOURS_KEPT: Final = 28 * 24
KEPT: Final[dict[Span, int]] = {"m": MINUTES_KEPT, "h": HOURS_KEPT}
"""Buckets kept of each span, counted back from the newest event time."""

SPAN_SECONDS: Final[dict[Span, int]] = {"m": 60, "h": 3600}

WINDOWS: Final[dict[str, tuple[Span, int]]] = {"1h": ("m", 60), "24h": ("h", 24), "7d": ("h", 168)}
"""Score windows: so many buckets of a span, the running one included."""

_INDEX: Final[dict[str, dict[str, int]]] = {
    "sentiment": {value: i for i, value in enumerate(SENTIMENTS)},
    "stage": {value: i for i, value in enumerate(STAGES)},
    "advocacy": {value: i for i, value in enumerate(ADVOCACIES)},
    "touchpoint": {value: i for i, value in enumerate(TOUCHPOINTS)},
    "gap": {value: i for i, value in enumerate(GAPS)},
}


def advance(stamps: dict[int, int], stamp: Stamp) -> bool:
    """Move `stamps` up to `stamp`; False where the mention was counted before.

    Mentions of one events partition arrive in offset order, repeats included, so one offset a
    partition tells a replay from news.
    """
    applied = stamps.get(stamp.partition)
    if applied is not None and stamp.offset <= applied:
        return False
    stamps[stamp.partition] = stamp.offset
    return True


class Stamped(Protocol):
    """A count of mentions in log order."""

    stamps: dict[int, int]


S = TypeVar("S", bound=Stamped)


def further(ours: S, theirs: S) -> S:
    """Of two counts of the same log, the one that reaches further; `theirs` if both reach alike.

    Whoever counts, counts the same mentions in the same order: the further one holds the other.
    """
    return ours if sum(ours.stamps.values()) > sum(theirs.stamps.values()) else theirs


class Totals(msgspec.Struct, array_like=True):
    """Counts of mentions.

    Attributes:
        weight, weight_squared: Σw and Σw², in millionths and their squares.
        promoter, detractor: Σw over promoters and detractors.
        stages, sentiments, advocacies: Mentions by value, in the order of the codebook.
        gaps: For each touchpoint in order: mentions with a negative gap, without, and positive.
        authors: Sketch of distinct authors (see `distinct`).
    """

    weight: int = 0
    weight_squared: int = 0
    promoter: int = 0
    detractor: int = 0
    suggestions: int = 0
    stages: list[int] = msgspec.field(default_factory=lambda: [0] * len(STAGES))
    sentiments: list[int] = msgspec.field(default_factory=lambda: [0] * len(SENTIMENTS))
    advocacies: list[int] = msgspec.field(default_factory=lambda: [0] * len(ADVOCACIES))
    gaps: list[int] = msgspec.field(default_factory=lambda: [0] * (len(TOUCHPOINTS) * len(GAPS)))
    authors: list[int] = msgspec.field(default_factory=list)

    @property
    def mentions(self) -> int:
        """Mentions counted."""
        return sum(self.sentiments)

    def count(self, mention: Mention) -> None:
        """Add one mention."""
        labels = mention.labels
        weight = round(mention.weight * MICRO)
        self.weight += weight
        self.weight_squared += weight * weight
        advocacy = labels.advocacy.label
        if advocacy == "promoter":
            self.promoter += weight
        elif advocacy == "detractor":
            self.detractor += weight
        if labels.suggestion.label == "1":
            self.suggestions += 1
        self.stages[_INDEX["stage"][labels.stage.label]] += 1
        self.sentiments[_INDEX["sentiment"][labels.sentiment.label]] += 1
        self.advocacies[_INDEX["advocacy"][advocacy]] += 1
        touchpoint = _INDEX["touchpoint"][labels.touchpoint.label]
        self.gaps[touchpoint * len(GAPS) + _INDEX["gap"][labels.gap.label]] += 1
        distinct.add(self.authors, distinct.hash_author(mention.event.author))


class Bucket(msgspec.Struct, array_like=True):
    """Totals of one span of time, and how far into the log they reach."""

    stamps: dict[int, int] = msgspec.field(default_factory=dict)
    totals: Totals = msgspec.field(default_factory=Totals)

    def apply(self, mention: Mention) -> bool:
        """Count `mention` unless it was counted before; says whether it was."""
        if not advance(self.stamps, mention.stamp):
            return False
        self.totals.count(mention)
        return True


def total(parts: Iterable[Totals]) -> Totals:
    """The sum of `parts`."""
    result = Totals()
    sketches = []
    for part in parts:
        result.weight += part.weight
        result.weight_squared += part.weight_squared
        result.promoter += part.promoter
        result.detractor += part.detractor
        result.suggestions += part.suggestions
        _add(result.stages, part.stages)
        _add(result.sentiments, part.sentiments)
        _add(result.advocacies, part.advocacies)
        _add(result.gaps, part.gaps)
        sketches.append(part.authors)
    result.authors = distinct.union(sketches)
    return result


def _add(into: list[int], counts: list[int]) -> None:
    for at, count in enumerate(counts):
        if count:
            into[at] += count


@dataclass(frozen=True, slots=True)
class BucketKey:
    """Which bucket: brand, span, and the span's number since the epoch."""

    brand: str
    span: Span
    number: int

    def encode(self) -> bytes:
        """The key in the changelog: `brand|span|number`."""
        return f"{self.brand}|{self.span}|{self.number}".encode()

    @classmethod
    def decode(cls, raw: bytes) -> BucketKey:
        """Inverse of `encode`."""
        brand, span, number = raw.decode().split("|")
        return cls(brand, "m" if span == "m" else "h", int(number))


def number_of(span: Span, epoch_seconds: float) -> int:
    """Number of the span that holds a moment."""
    return int(epoch_seconds // SPAN_SECONDS[span])


class BrandBuckets:
    """The buckets of a partition's brands, over a mapping of encoded keys to buckets.

    The mapping is the agent's durable state and may change beneath us only through `reload`.
    """

    def __init__(self, state: MutableMapping[bytes, Bucket]) -> None:
        self._state = state
        self._numbers: dict[tuple[str, Span], set[int]] = {}
        self._over: dict[tuple[str, str], tuple[int, Totals]] = {}
        for raw in state:
            key = BucketKey.decode(raw)
            self._numbers.setdefault((key.brand, key.span), set()).add(key.number)

    @property
    def brands(self) -> set[str]:
        """Brands with any bucket."""
        return {brand for (brand, _), numbers in self._numbers.items() if numbers}

    def newest(self) -> float:
        """Start of the newest minute counted, in epoch seconds; 0 without any."""
        minutes = [max(n) for (_, span), n in self._numbers.items() if span == "m" and n]
        return max(minutes, default=0) * 60.0

    def apply(self, mention: Mention, now: float) -> tuple[bool, bool, set[bytes]]:
        """Count a mention in its minute and its hour.

        Args:
            mention: What to count.
            now: Newest event time, in epoch seconds; buckets too old against it take nothing.

        Returns:
            Whether it was news to any bucket, whether it was too late for all, and the encoded
            keys of the buckets changed.
        """
        moment = mention.event.published.timestamp()
        news = False
        late = True
        changed = set()
        for span in KEPT:
            number = number_of(span, moment)
            if number <= number_of(span, now) - KEPT[span]:
                continue
            late = False
            raw = f"{mention.brand}|{span}|{number}".encode()
            bucket = self._state.get(raw)
            if bucket is None:
                bucket = self._state[raw] = Bucket()
                self._numbers.setdefault((mention.brand, span), set()).add(number)
            if bucket.apply(mention):
                news = True
                changed.add(raw)
                self._count_in_windows(mention, span, number)
        return news, late, changed

    def window(self, brand: str, window: str, now: float) -> Totals:
        """Totals of a brand over a window that ends at `now` (epoch seconds).

        What is over of it is added up once and then kept: a brand spoken of every second is asked
        for every second, and a week is 168 buckets.
        """
        span, length = WINDOWS[window]
        last = number_of(span, now)
        known, over = self._over.get((brand, window), (None, None))
        if known != last or over is None:
            over = total(
                self._state[BucketKey(brand, span, number).encode()].totals
                for number in self._within(brand, span, last - length, last - 1)
            )
            self._over[brand, window] = last, over
        running = self._state.get(BucketKey(brand, span, last).encode())
        return total((over, running.totals) if running is not None else (over,))

    def _count_in_windows(self, mention: Mention, span: Span, number: int) -> None:
        """Count a mention of a span that is over in the windows that were added up."""
        for window, (its_span, length) in WINDOWS.items():
            known = self._over.get((mention.brand, window)) if its_span == span else None
            if known is not None and known[0] - length < number < known[0]:
                known[1].count(mention)

    def hours(self, brand: str) -> list[int]:
        """Numbers of the hours there are of a brand, in order."""
        return sorted(self._numbers.get((brand, "h"), ()))

    def hour(self, brand: str, number: int) -> Totals | None:
        """Totals of one hour of a brand; None where there is none, or no more."""
        bucket = self._state.get(BucketKey(brand, "h", number).encode())
        return bucket.totals if bucket is not None else None

    def _within(self, brand: str, span: Span, after: int, through: int) -> Iterator[int]:
        for number in self._numbers.get((brand, span), ()):
            if after < number <= through:
                yield number

    def expire(self, now: float) -> list[bytes]:
        """Drop buckets too old to matter; returns their encoded keys."""
        gone = []
        for (brand, span), numbers in self._numbers.items():
            oldest = number_of(span, now) - KEPT[span]
            for number in [n for n in numbers if n <= oldest]:
                numbers.discard(number)
                raw = BucketKey(brand, span, number).encode()
                del self._state[raw]
                gone.append(raw)
        return gone
