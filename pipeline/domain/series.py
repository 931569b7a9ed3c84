"""The watched series of a brand: its talk, and of each kind its touchpoints and the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from models.labels import TOUCHPOINTS
from pipeline.domain.spikes import Detector, Past, Verdict, share_probability
from pipeline.records import AlertKind

ALL: Final = "all"
"""The touchpoint of the series that holds all of a brand's mentions of a kind."""

SHARE_CHANCE: Final = 0.01
"""Were shares as usual, so large a one must be less likely than this: a wave of popularity brings
complaints with it that are no alert."""

USUAL_SHARE: Final = 0.2
USUAL_TOUCHPOINT_SHARE: Final = 0.06
SHARE_WEIGHT: Final = 20.0
"""What share of a brand's talk its complaints are taken to be before more is known, all of them and
those of one touchpoint (brand posts in a natural mix: a sixth to a fifth, seven touchpoints); and
how many mentions that is worth."""

NAMES: Final = (*(name for name in TOUCHPOINTS if name != "none"), ALL)


class Series(msgspec.Struct, array_like=True, tag="series"):
    """Mentions of one brand, kind and touchpoint: how far into the log, and what was seen."""

    past: Past
    stamps: dict[int, int] = msgspec.field(default_factory=dict)


class Talk(msgspec.Struct, array_like=True, tag="talk"):
    """All mentions of a brand, whatever they say.

    Attributes:
        since: Minute of its first mention: as long as that it was known.
        heard: Newest event time, epoch seconds.
    """

    past: Past
    since: int
    stamps: dict[int, int] = msgspec.field(default_factory=dict)
    heard: float = 0.0


@lru_cache(maxsize=200_000)
def series_key(brand: str, kind: AlertKind, touchpoint: str) -> bytes:
    """A series' key in the changelog."""
    return f"{brand}|{kind}|{touchpoint}".encode()


@lru_cache(maxsize=50_000)
def talk_key(brand: str) -> bytes:
    """The key of a brand's talk in the changelog."""
    return f"{brand}|talk".encode()


class Measured:
    """What the series of one brand and kind say at a moment."""

    __slots__ = ("_brand", "_detector", "_kind", "_least_share", "_state")

    def __init__(
        self,
        state: Mapping[bytes, object],
        detector: Detector,
        brand: str,
        kind: AlertKind,
        least_share: float,
    ) -> None:
        self._state = state
        self._detector = detector
        self._brand = brand
        self._kind = kind
        self._least_share = least_share

    def names(self) -> Iterator[str]:
        """Touchpoints of the series there are."""
        return (name for name in NAMES if self._series(name) is not None)

    def keys(self) -> Iterator[bytes]:
        """Keys in the changelog of the series there are."""
        return (series_key(self._brand, self._kind, name) for name in self.names())

    def judge_all(self, minute: int) -> Iterator[tuple[str, Verdict]]:
        """Judge every series there is, the touchpoints first."""
        for name in NAMES:
            series = self._series(name)
            if series is not None:
                yield name, self._detector.judge(series.past, minute)

    def judge(self, name: str, minute: int) -> Verdict:
        """Judge one series, which must exist."""
        series = self._series(name)
        assert series is not None
        return self._detector.judge(series.past, minute)

    def is_spike(self, name: str, verdict: Verdict, minute: int) -> bool:
        """Whether a series spikes, and not only because the brand is talked about more."""
        if not verdict.spike:
            return False
        talk, usual_talk = self._talk(minute, verdict.window_minutes)
        if verdict.seen < self._least_share * talk:
            return False
        if not verdict.cold:
            chance = share_probability(verdict.seen, talk, verdict.expected, usual_talk)
        else:
            # What a first day's counts should be nobody knows; shares are soon known, and hold
            # while the talk rises from night to noon.
            part, whole = self._known(name)
            chance = share_probability(verdict.seen, talk, part, whole, known_from=whole)
        return chance < SHARE_CHANCE

    def measure(self, name: str, minute: int, window: int) -> tuple[int, float]:
        """Mentions seen and expected in the `window` minutes that end with `minute`."""
        series = self._series(name)
        if series is None:
            return 0, 0.0
        return (
            self._detector.seen(series.past, minute, window),
            self._detector.expected(series.past, minute, window),
        )

    def outlook(self, name: str, minute: int, window: int) -> float:
        """Mentions expected in those minutes of a series that may have been silent for long."""
        series = self._series(name)
        if series is None:
            return 0.0
        return self._detector.expected_in_silence(series.past, minute, window)

    def seen(self, name: str, minute: int, window: int) -> int:
        """Mentions seen in the `window` minutes that end with `minute`."""
        series = self._series(name)
        return self._detector.seen(series.past, minute, window) if series is not None else 0

    def share(self, seen: int, expected: float, minute: int, window: int) -> tuple[float, float]:
        """Share of the brand's talk that `seen` mentions are, and `expected` ones as a rule."""
        talk, usual_talk = self._talk(minute, window)
        return (
            min(1.0, seen / talk) if talk else 1.0,
            min(1.0, expected / usual_talk) if usual_talk > 0 else 0.0,
        )

    def answers(self, minute: int, window: int) -> str:
        """The touchpoint that makes at least half of what is beyond expectation, else `all`."""
        seen, expected = self.measure(ALL, minute, window)
        beyond = {
            name: here - usual
            for name in NAMES
            if name != ALL
            for here, usual in [self.measure(name, minute, window)]
        }
        most = max(beyond, key=lambda name: beyond[name])
        return most if beyond[most] >= 0.5 * max(seen - expected, 1.0) else ALL

    def _known(self, name: str) -> tuple[float, float]:
        """Mentions of a series, and of the talk, that its usual share is known from."""
        series, talk = self._series(name), self._state.get(talk_key(self._brand))
        part = self._detector.known(series.past) if series is not None else 0.0
        whole = self._detector.known(talk.past) if isinstance(talk, Talk) else 0.0
        prior = USUAL_SHARE if name == ALL else USUAL_TOUCHPOINT_SHARE
        return part + prior * SHARE_WEIGHT, whole + SHARE_WEIGHT

    def _series(self, name: str) -> Series | None:
        found = self._state.get(series_key(self._brand, self._kind, name))
        return found if isinstance(found, Series) else None

    def _talk(self, minute: int, window: int) -> tuple[int, float]:
        talk = self._state.get(talk_key(self._brand))
        if not isinstance(talk, Talk):
            return 0, 0.0
        return (
            self._detector.seen(talk.past, minute, window),
            self._detector.expected(talk.past, minute, window),
        )
