"""Spikes of negative-gap talk: what a series' own past led to expect, against what is seen.

Pure and streaming: counts in, judgement out, no look ahead. A series is one brand's negative-gap
mentions at one touchpoint, or at all of them together.

Windows of 1, 2, 4 … 256 ticks that end now are held against what was expected of them. The
evidence of the strongest is a likelihood ratio, less what looking at many windows is worth. How
much evidence chance brings, and how often, is learnt from each series' own stirs, so that the
budget of false alarms holds where talk is burstier than any model of it. See docs/detector.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt
from typing import Final

import msgspec

from pipeline.domain import baseline
from pipeline.domain.baseline import HOUR, KEPT, SCALES, WINDOWS, Grid, Usual
from pipeline.domain.chance import negative_binomial_tail, surprise
from pipeline.domain.recent import Recent

MINUTE: Final = 60.0
WEEK: Final = 604_800.0

SERIES_OF_A_BRAND: Final = 8
"""Seven touchpoints and the whole share a brand's budget."""

PRIOR_RATE: Final = 4.0
"""Mentions an hour that a new series is taken to have: enough that a first handful of complaints
is no alert, little enough that some hours of real history outweigh it."""

CHANCE_STIRS: Final = 0.5
"""In a series that is as the model says, evidence rises above e about `CHANCE_STIRS` · exp(−e)
times in as long as the longest window: so that busy and trending series have about as many stirs
as are meant (column "stirs a week" of `python -m benchmarks.incidents`). Where it is otherwise,
that is learnt."""

LEAST_STIR: Final = 2.5
"""Evidence below this is no stir, however many false alarms are allowed."""

STIRS_PER_ALARM: Final = 8.0
"""The tail of the evidence is learnt from stirs that chance brings so many times as often as the
false alarms allowed: often enough to learn from, rare enough to be alike."""

WEEKS_BEFORE: Final = 0.5
PEAKS_BEFORE: Final = 4.0
"""A series is taken to have been watched so long before it begins (or for one stir, if that is
longer) with stirs as often as the model has them; and to have seen so many peaks, as high. How
often they come is soon known, and calm series come to use their budget; how high, late."""

STRONGEST: Final = 3.0
"""Stirs beyond so many times the usual excess count as that: a real incident must not raise the
threshold for the next."""

STIRS_HALF_LIFE: Final = 8 * 168.0
"""Hours after which a stir weighs half."""

REST_HOURS: Final = 4.0
"""So long talk must be as usual before another incident can begin."""

CALM_HOURS: Final = 0.25
MOST_CALM_HOURS: Final = 1.0
"""So long it must be as usual to be called calm; as long as the window that an incident showed in,
but no longer than an hour."""

ADOPTION_HOURS: Final = 24.0
LEAST_ADOPTION_HOURS: Final = 2.0
"""What has lasted so long is the new usual; sooner where the past before it was shorter."""

ONSETS: Final = 24
"""Ticks at most that are tried as onset."""

ESCALATION: Final = 3.0
"""Evidence so many times as strong as when last told is news."""


class Past(msgspec.Struct, array_like=True):
    """What a series has seen, and what it has learnt to expect. Opaque to all but `Detector`.

    A stir is a time in which the evidence is beyond what chance brings now and then; it becomes
    an incident when the evidence crosses the threshold, and ends when talk is as usual again.

    Attributes:
        now: The running tick.
        usual: What is expected.
        recent: The latest counts.
        floor: Windows reach back to this tick at most: to the end of the last stir.
        peak: Strongest evidence of the stir; 0 when there is none.
        width: Ticks of the window that had it.
        began: First tick of the stir.
        record: Evidence when last told.
        stirs: Stirs of the past, fading.
        excess: Sum of log(peak / level of stirs) over them, fading.
        weeks: Weeks they were seen in, fading.
        heard: Mentions came since it was judged last.
    """

    now: int
    usual: Usual
    recent: Recent
    floor: int
    peak: float = 0.0
    width: int = 0
    began: int = 0
    record: float = 0.0
    stirs: float = 0.0
    excess: float = 0.0
    weeks: float = 0.0
    heard: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How unusual a series is at a moment.

    Attributes:
        spike: The evidence is beyond what the budget of false alarms allows by chance.
        score: Evidence on a scale of 0 to 1; 0.5 is where `spike` begins.
        probability: Chance of so much in that window, were everything as usual; 1 where nothing
            stands out.
        seen: Mentions in the window with the strongest evidence.
        expected: Mentions the past led to expect in it.
        window_minutes: Length of that window, in ticks.
        onset: The tick with a mention in it since which talk is most unusual.
        calm: Talk is back to what is usual.
        cold: The past is too short to have learnt from: the expectation rests on a prior.
        news: The score again, but against what was told before where that was more: 0.5 and above
            is news, at first and whenever the evidence has grown `ESCALATION` times.
    """

    spike: bool
    score: float
    probability: float
    seen: int
    expected: float
    window_minutes: int
    onset: int
    calm: bool
    cold: bool
    news: float = 0.0


class Detector:
    """Judges series of counts, one at a time, as mentions arrive.

    Time is counted in ticks since the epoch; where mentions are counted live, a tick is a minute.

    Args:
        budget: False alarms a week allowed to one brand.
        min_mentions: Fewer in a window are never a spike.
        series: Series that share the budget.
        tick: Seconds a tick lasts.
        rate: Mentions an hour a new series is taken to have; None where counts may be of any
            size: nothing is a spike then before a day is over.
    """

    def __init__(
        self,
        *,
        budget: float = 1.0,
        min_mentions: int = 8,
        series: int = SERIES_OF_A_BRAND,
        tick: float = MINUTE,
        rate: float | None = PRIOR_RATE,
    ) -> None:
        self._budget = budget / series
        self._least = min_mentions
        self._rate = rate
        self._grid = Grid(tick)
        self._rest = min(WINDOWS[-1], self._grid.ticks(REST_HOURS))
        self._quiet = min(self._rest, self._grid.ticks(CALM_HOURS))
        self._most_quiet = min(self._rest, self._grid.ticks(MOST_CALM_HOURS))
        self._fade = self._grid.fade(STIRS_HALF_LIFE)
        # Short windows are many, and chance has as many goes: a window of half the length must be
        # twice as unlikely.
        self._looks = tuple(log(2.0) * (SCALES - 1 - scale) for scale in range(SCALES))
        allowed = STIRS_PER_ALARM * self._budget
        longest = WINDOWS[-1] * tick / WEEK
        self._stir = max(LEAST_STIR, log(CHANCE_STIRS / (longest * allowed)))
        self._allowed = allowed
        self._weeks_before = max(WEEKS_BEFORE, 1.0 / allowed)
        # The mean of log(e / stir) where e exceeds `stir` exponentially is just below this.
        self._usual_excess = log(1.0 + 1.0 / self._stir)

    def past(self, minute: int) -> Past:
        """A series known since `minute`, so far without a mention."""
        usual = baseline.unlearnt(self._grid, minute // self._grid.slot, self._rate)
        return Past(minute, usual, Recent(minute), minute)

    def count(self, past: Past, minute: int, mentions: float = 1) -> None:
        """Add mentions at `minute`; late ones too, while their minute is kept."""
        if minute > past.now:
            self._advance(past, minute)
        if mentions and minute > past.now - KEPT:
            past.recent.add(minute, mentions)
            past.heard = True

    def judge(self, past: Past, minute: int) -> Verdict:
        """Judge what was seen up to and in `minute`; learns from the time that is over."""
        if minute > past.now:
            self._advance(past, minute)
        end = minute + 1
        evidence, window, seen, expected = self._strongest(past, minute)
        cold = self._cold(past)
        if cold and self._rate is None:
            evidence = 0.0
        probability, onset = 1.0, end - window
        if evidence >= self._stir:
            onset = self._onset(past, end - window, end)
            if past.recent.between(onset, end) < self._least:
                evidence = 0.0  # usual talk does not make a handful of mentions more
        if evidence >= self._stir:
            probability = negative_binomial_tail(
                seen, expected, self._dispersion(past.usual, window)
            )
        elif not evidence:
            window = self._quiet
            seen = past.recent.between(end - window, end)
            expected = self.expected(past, minute, window)
            onset = past.recent.first(end - window, end)
        threshold = self._threshold(past)
        news = self._note(past, minute, evidence, window, threshold)
        calm = not past.peak or self._as_usual(past, end, self._quiet, self._most_quiet)
        return Verdict(
            spike=evidence >= threshold and not calm,
            score=evidence / (evidence + threshold),
            probability=probability,
            seen=seen,  # type: ignore[arg-type] # whole where whole mentions were counted
            expected=expected,
            window_minutes=window,
            onset=onset,
            calm=calm,
            cold=cold,
            news=news,
        )

    def seen(self, past: Past, minute: int, window: int) -> int:
        """Mentions in the `window` minutes (up to 5 h) that end with `minute`."""
        return past.recent.between(minute + 1 - window, minute + 1)  # type: ignore[return-value]

    def expected(self, past: Past, minute: int, window: int) -> float:
        """Mentions expected in the `window` minutes (up to 5 h) that end with `minute`."""
        usual, grid = past.usual, self._grid
        return baseline.expected_before(usual, grid, minute + 1) - baseline.expected_before(
            usual, grid, minute + 1 - window
        )

    def expected_in_silence(self, past: Past, minute: int, window: int) -> float:
        """As `expected`, taking the time since the series was last counted in for silence.

        Nothing is learnt by asking. The level is what it would be were the slots that are over
        learnt from, each as busy as any other: close enough for a picture, and never judged by.
        """
        usual, slot = past.usual, self._grid.slot
        fade = self._grid.fade(baseline.LEVEL_HALF_LIFE)
        over = minute // slot - usual.slot
        expected = self.expected(past, minute, window)
        if over <= 0 or not usual.level:
            return expected
        seen = past.recent.between(usual.slot * slot, (usual.slot + 1) * slot)
        mentions = (usual.mentions * fade + seen) * fade ** (over - 1)
        slots = usual.slots * fade**over + (1.0 - fade**over) / (1.0 - fade)
        return expected * mentions / slots / usual.level

    def known(self, past: Past) -> float:
        """Mentions of the hours that are over, at face value and soon fading."""
        return past.usual.fast_mentions

    def band(self, past: Past, minute: int) -> tuple[float, float]:
        """Between what counts nobody would remark on in `minute`: two standard deviations."""
        mean = self.expected(past, minute, 1)
        away = 2.0 * sqrt(mean + self._dispersion(past.usual, 1) * mean * mean)
        return max(0.0, mean - away), mean + away

    def _cold(self, past: Past) -> bool:
        return past.usual.learnt * self._grid.slot_hours < baseline.WARM_HOURS

    def _dispersion(self, usual: Usual, window: int) -> float:
        return usual.dispersion[min(SCALES, window.bit_length()) - 1] + usual.doubt

    def _strongest(self, past: Past, minute: int) -> tuple[float, int, float, float]:
        """Evidence, length, mentions and expectation of the strongest window that ends now."""
        recent, usual, grid = past.recent, past.usual, self._grid
        end = minute + 1
        total = recent.before(end)
        due = baseline.expected_before(usual, grid, end)
        doubt = usual.doubt
        best, best_window, best_seen, best_expected = 0.0, 0, 0.0, 0.0
        for scale, window in enumerate(WINDOWS):
            start = end - window
            if start < past.floor:
                start = past.floor
            seen = total - recent.before(start)
            if seen >= self._least:
                expected = due - baseline.expected_before(usual, grid, start)
                if seen > expected > 0.0:
                    evidence = (
                        surprise(seen, expected, usual.dispersion[scale] + doubt)
                        - self._looks[scale]
                    )
                    if evidence > best:
                        best, best_window = evidence, end - start
                        best_seen, best_expected = seen, expected
            if start == past.floor:
                break
        return best, best_window, best_seen, best_expected

    def _onset(self, past: Past, start: int, end: int) -> int:
        """The likeliest first tick of what shows from `start` to `end`."""
        recent, usual, grid = past.recent, past.usual, self._grid
        ticks = recent.active(start, end)
        total, due = recent.before(end), baseline.expected_before(usual, grid, end)
        onset, most = start, -1.0
        for tick in ticks[:: len(ticks) // ONSETS + 1]:
            evidence = surprise(
                total - recent.before(tick),
                due - baseline.expected_before(usual, grid, tick),
                self._dispersion(usual, end - tick),
            )
            if evidence > most:
                onset, most = tick, evidence
        return onset

    def _threshold(self, past: Past) -> float:
        """Evidence that chance brings no more often than the budget allows.

        Peaks of stirs are taken to be Pareto distributed beyond the level that makes them one.
        What matters is the next one's chance given the few that were seen (Lomax distributed in
        the logarithm), not that of the likeliest Pareto: a tail known from few is no light one.
        """
        ratio = self._often(past) / self._budget
        if ratio <= 1.0:
            return self._stir
        peaks = PEAKS_BEFORE + past.stirs
        return self._stir * exp(peaks * self._tail(past) * (ratio ** (1.0 / peaks) - 1.0))

    def _often(self, past: Past) -> float:
        """Stirs a week."""
        before = self._weeks_before
        return (before * self._allowed + past.stirs) / (before + past.weeks)

    def _tail(self, past: Past) -> float:
        """Mean excess of the logarithm: Hill's estimator, with a prior.

        What brings stirs more often than the model has them (cascades, a wandering rate) makes
        them larger too: the prior has their excess grow as their number.
        """
        before = PEAKS_BEFORE * self._usual_excess * max(1.0, self._often(past) / self._allowed)
        return (before + past.excess) / (PEAKS_BEFORE + past.stirs)

    def _note(
        self, past: Past, minute: int, evidence: float, window: int, threshold: float
    ) -> float:
        """Remember the evidence; returns how much of it is news."""
        bar = max(threshold, ESCALATION * past.record)
        heard, past.heard = past.heard, False
        if evidence >= self._stir and heard:
            if not past.peak:
                past.began = minute + 1 - window
            if evidence > past.peak:
                past.peak, past.width = evidence, window
            if past.record < threshold <= evidence:
                past.record = evidence
                return evidence / (evidence + threshold)
            if evidence >= ESCALATION * past.record:
                past.record = evidence
                return evidence / (evidence + bar)
        # Nobody needs to hear again what was heard.
        return evidence / (evidence + ESCALATION * bar)

    def _as_usual(self, past: Past, end: int, least: int, most: int) -> bool:
        """Whether mentions before `end` were no more than usual, for as long as matters."""
        length = max(least, min(past.width, most))
        start = end - length
        if past.peak and start < past.began:
            return False
        seen = past.recent.between(start, end)
        if not seen:
            return True
        mean = baseline.expected_before(past.usual, self._grid, end)
        mean -= baseline.expected_before(past.usual, self._grid, start)
        return seen <= mean + sqrt(mean + self._dispersion(past.usual, length) * mean * mean)

    def _advance(self, past: Past, minute: int) -> None:
        """Let ticks pass: end the stir when it is over, learn from each slot that is."""
        grid, usual = self._grid, past.usual
        while past.now < minute:
            slot_end = (usual.slot + 1) * grid.slot
            if past.peak:
                past.now += 1
                if self._as_usual(past, past.now, self._rest, self._rest):
                    self._end_stir(past)
            else:
                past.now = min(minute, slot_end)
            if past.now >= slot_end:
                self._end_slot(past)
                if not past.peak and not past.recent.ticks:
                    self._skip(past, minute)

    def _end_slot(self, past: Past) -> None:
        usual, grid = past.usual, self._grid
        baseline.learn(usual, grid, past.recent, stirred=past.peak > 0.0, floor=past.floor)
        if not self._cold(past):
            past.weeks = past.weeks * self._fade + grid.slot_hours * HOUR / WEEK
            past.stirs *= self._fade
            past.excess *= self._fade
        past.recent.forget(past.now - KEPT)
        if past.peak:
            lasted = past.now - past.began
            known = past.began - (usual.slot - usual.learnt) * grid.slot
            needed = min(grid.ticks(ADOPTION_HOURS), max(known, grid.ticks(LEAST_ADOPTION_HOURS)))
            if lasted >= needed:
                baseline.adopt(usual, grid)
                self._end_stir(past)

    def _end_stir(self, past: Past) -> None:
        if not self._cold(past):  # before, the expectation was at fault
            tail = self._tail(past)
            excess = min(log(past.peak / self._stir), STRONGEST * tail)
            past.stirs += 1.0
            past.excess += excess / (1.0 - exp(-STRONGEST))  # cutting takes that off an exponential
        past.peak, past.width, past.record = 0.0, 0, 0.0
        past.floor = past.now

    def _skip(self, past: Past, minute: int) -> None:
        """Of a very long silence only the end is learnt."""
        grid, usual = self._grid, past.usual
        absent = (minute // grid.slot - usual.slot) - int(
            baseline.LONGEST_ABSENCE / grid.slot_hours
        )
        if absent > 0:
            baseline.skip(usual, absent)
            past.now = usual.slot * grid.slot


ODDS_VARIANCE: Final = 0.1
"""Variance of the log-odds of a series' share of the talk from one window to the next, beyond
chance: topics come and go, so the usual share is right to about a third."""


def share_probability(
    seen: int,
    talk: int,
    expected: float,
    expected_talk: float,
    known_from: float = inf,
) -> float:
    """Chance of so large a share of the talk, were the shares as usual.

    When a brand is talked of five times as much, five times the complaints are no news. Given the
    talk, the series' part of it is beta-binomial around its usual share: P(X ≥ seen), with
    X ~ BetaBinomial(talk, m·c, (1 − m)·c), m = expected / expected_talk, and the concentration c
    such that the log-odds of the share vary by `ODDS_VARIANCE`, and the share itself as one does
    that is known from few mentions.

    Args:
        seen: Mentions of the series in a window.
        talk: All mentions of the brand in it, those of the series included.
        expected: Mentions of the series expected in it.
        expected_talk: Mentions of the brand expected in it.
        known_from: Mentions of the brand from which its usual share is known.
    """
    talk = max(seen, talk)
    if seen <= 0:
        return 1.0
    usual = min(0.99, max(0.001, expected / expected_talk)) if expected_talk > 0 else 0.99
    # Each as a part of the greatest variance a share can have, usual · (1 − usual).
    variance = ODDS_VARIANCE * usual * (1.0 - usual) + 1.0 / (known_from + 1.0)
    concentration = 1.0 / variance - 1.0
    a, b = usual * concentration, (1.0 - usual) * concentration
    rest = talk - seen
    term = exp(
        lgamma(talk + 1)
        - lgamma(seen + 1)
        - lgamma(rest + 1)
        + lgamma(seen + a)
        + lgamma(rest + b)
        - lgamma(talk + a + b)
        + lgamma(a + b)
        - lgamma(a)
        - lgamma(b)
    )
    total = term
    for x in range(seen, talk):
        ratio = (talk - x) / (x + 1) * (x + a) / (talk - x - 1 + b)
        term *= ratio
        total += term
        # Once they fall, terms fall ever faster: what is left is less than a geometric series.
        if ratio < 1.0 and term <= (1.0 - ratio) * total * 1e-9:
            break
    return min(1.0, total)
