"""The detector: what it learns, what it calls a spike, and that its state is all it knows."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma
from random import Random
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain.baseline import KEPT
from pipeline.domain.spikes import ODDS_VARIANCE, Detector, Past, Verdict, share_probability

HOUR: Final = 60
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
START: Final = 17_003 * DAY
"""A midnight."""

Rate = Callable[[int], float]
"""Mentions a minute, by minute since `START`."""


def poisson(random: Random, mean: float) -> int:
    """A Poisson count, as so many exponential waits as fit."""
    count, waited = 0, random.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += random.expovariate(1.0)
    return count


def steady(per_hour: float) -> Rate:
    """Always as many."""
    return lambda minute: per_hour / HOUR


def office_hours(minute: int) -> float:
    """Sixty an hour from eight to eighteen, six at night."""
    return 1.0 if 8 * HOUR <= minute % DAY < 18 * HOUR else 0.1


class Live:
    """A series lived through minute by minute."""

    def __init__(self, detector: Detector | None = None, seed: int = 1) -> None:
        self.detector = detector or Detector()
        self.past = self.detector.past(START)
        self.now = 0
        self.spikes: list[int] = []
        self._random = Random(seed)

    def live(self, minutes: int, rate: Rate) -> Live:
        """Let minutes pass with mentions at a rate."""
        for minute in range(self.now, self.now + minutes):
            self.say(minute, poisson(self._random, rate(minute)))
        self.now += minutes
        return self

    def say(self, minute: int, mentions: int) -> Verdict | None:
        """Count and judge as the worker does: at mentions."""
        if not mentions:
            return None
        self.detector.count(self.past, START + minute, mentions)
        verdict = self.judge(minute)
        if verdict.spike:
            self.spikes.append(minute)
        return verdict

    def judge(self, minute: int | None = None) -> Verdict:
        """Judge now, or at a minute."""
        return self.detector.judge(self.past, START + (self.now if minute is None else minute))

    def expected(self, per: int = HOUR) -> float:
        """What is expected of the time up to now."""
        return self.detector.expected(self.past, START + self.now, per)


def test_a_new_series_is_cold_and_a_handful_is_no_spike() -> None:
    series = Live()
    assert series.judge().cold
    for minute in range(7):
        series.say(minute, 1)
    assert not series.spikes


def test_a_new_series_may_spike_and_the_verdict_says_it_is_cold() -> None:
    series = Live()
    for second in range(60):
        verdict = series.say(second // 4, 1)
        assert verdict is not None and verdict.cold
    assert series.spikes


def test_a_day_makes_it_warm() -> None:
    series = Live().live(DAY + HOUR, steady(12))
    assert not series.judge().cold
    assert series.expected() == pytest.approx(12, rel=0.35)


def test_a_burst_is_caught_while_its_minute_runs() -> None:
    series = Live().live(2 * WEEK, steady(6))
    series.spikes.clear()
    said = 0
    while not series.spikes:
        said += 1
        series.say(series.now, 1)
        assert said < 20
    verdict = series.judge()
    assert said >= 8
    assert verdict.onset == START + series.now
    assert verdict.probability < 1e-6
    assert (verdict.score >= 0.5, verdict.calm, verdict.cold) == (True, False, False)


def test_a_slow_swell_is_caught_though_no_minute_stands_out() -> None:
    series = Live().live(2 * WEEK, steady(10))
    series.spikes.clear()
    start = series.now
    series.live(6 * HOUR, lambda minute: (10 + 30 * min(1, (minute - start) / (3 * HOUR))) / HOUR)
    assert series.spikes and series.spikes[0] - start < 4 * HOUR


def test_the_rhythm_of_the_day_is_no_spike() -> None:
    series = Live().live(2 * WEEK, office_hours)
    series.spikes.clear()
    series.live(2 * WEEK, office_hours)
    assert not series.spikes
    # The day has begun, or the night.
    day = series.detector.expected(series.past, START + series.now - 12 * HOUR, 60)
    series.live(12 * HOUR, office_hours)
    assert series.expected() == pytest.approx(60, rel=0.25)
    assert day < 12 or day == 0.0


def test_office_hours_talk_at_night_is_a_spike() -> None:
    series = Live().live(2 * WEEK, office_hours)
    series.spikes.clear()
    series.live(HOUR, steady(60))  # from midnight on
    assert series.spikes


def test_a_past_spike_does_not_raise_what_is_expected() -> None:
    plain = Live().live(2 * WEEK, steady(10)).live(3 * HOUR, steady(10))
    spiked = Live().live(2 * WEEK, steady(10)).live(3 * HOUR, steady(400))
    assert spiked.spikes
    for series in (plain, spiked):
        series.live(DAY, steady(10))
    assert spiked.expected() == pytest.approx(plain.expected(), rel=0.25)


def test_a_second_burst_is_a_second_spike() -> None:
    series = Live().live(2 * WEEK, steady(6))
    for _ in range(2):
        series.spikes.clear()
        series.live(10, steady(300))
        assert series.spikes
        series.live(12 * HOUR, steady(6))
        assert series.judge().calm


def test_an_incident_is_calm_when_talk_is_as_usual_again() -> None:
    series = Live().live(2 * WEEK, steady(6)).live(20, steady(300))
    assert not series.judge().calm
    series.live(2 * HOUR, steady(6))
    verdict = series.judge()
    assert (verdict.calm, verdict.spike) == (True, False)


def test_a_lasting_shift_is_told_and_then_is_what_is_usual() -> None:
    series = Live().live(2 * WEEK, steady(20))
    series.spikes.clear()
    series.live(2 * DAY, steady(60))
    assert series.spikes
    assert series.expected() == pytest.approx(60, rel=0.3)
    series.spikes.clear()
    series.live(3 * DAY, steady(60))
    assert not series.spikes


def test_late_mentions_count_and_are_judged_in_their_own_time() -> None:
    series = Live().live(2 * WEEK, steady(6)).live(2 * HOUR, steady(0))
    late = series.now - HOUR
    for _ in range(15):
        series.detector.count(series.past, START + late)
    assert series.detector.seen(series.past, START + late, 1) == 15
    assert series.detector.seen(series.past, START + series.now, 2 * HOUR) >= 15
    assert series.judge(late).spike
    # What is older than anything that is kept is left aside.
    series.detector.count(series.past, START + series.now - KEPT - 1, 50)
    assert series.detector.seen(series.past, START + series.now, KEPT) < 50


def test_order_within_what_is_kept_does_not_matter() -> None:
    one, other = Live(), Live()
    for series, minutes in ((one, (5, 9, 9, 30)), (other, (5, 30, 9, 9))):
        for minute in minutes:
            series.detector.count(series.past, START + minute)
    assert msgspec.json.encode(one.past.recent) == msgspec.json.encode(other.past.recent)


def test_fewer_than_min_mentions_are_never_a_spike() -> None:
    series = Live(Detector(min_mentions=25)).live(2 * WEEK, steady(0.5))
    for _ in range(24):
        verdict = series.say(series.now, 1)
        assert verdict is not None and not verdict.spike
    verdict = series.say(series.now, 1)
    assert verdict is not None and verdict.spike


def test_usual_talk_does_not_help_a_handful_to_be_enough() -> None:
    series = Live(Detector(min_mentions=8)).live(2 * WEEK, steady(1))
    series.live(4 * HOUR, steady(1))
    series.spikes.clear()
    for _ in range(7):
        series.say(series.now, 1)
    assert not series.spikes


def test_a_larger_budget_fires_no_later() -> None:
    needed = []
    for budget in (0.1, 1.0, 10.0, 100.0):
        series = Live(Detector(budget=budget)).live(2 * WEEK, steady(30))
        said = 0
        while not (verdict := series.say(series.now, 1)) or not verdict.spike:
            said += 1
        needed.append(said)
    assert needed == sorted(needed, reverse=True)
    assert needed[0] > needed[-1]


def test_the_same_evidence_is_news_once() -> None:
    series = Live().live(2 * WEEK, steady(6))
    news = []
    for minute in range(series.now, series.now + 60):
        verdict = series.say(minute, 4)
        assert verdict is not None
        news.append(verdict.news >= 0.5)
    assert 1 <= sum(news) <= 4
    assert verdict.spike


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=60), st.integers(0, 60)
)
def test_a_restart_changes_nothing(steps: list[tuple[int, int]], restart: int) -> None:
    detector = Detector()
    kept = restarted = detector.past(START)
    restarted = msgspec.json.decode(msgspec.json.encode(kept), type=Past)
    minute = START
    for number, (wait, mentions) in enumerate(steps):
        minute += wait
        for past in (kept, restarted):
            detector.count(past, minute, mentions)
        if number == restart:
            restarted = msgspec.json.decode(msgspec.json.encode(restarted), type=Past)
        assert detector.judge(kept, minute) == detector.judge(restarted, minute)
    assert msgspec.json.encode(kept) == msgspec.json.encode(restarted)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 40)), max_size=40), st.data())
def test_it_does_not_matter_when_quiet_minutes_are_judged(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    detector = Detector()
    rarely, often = detector.past(START), detector.past(START)
    minute = START
    for wait, mentions in steps:
        detector.judge(often, minute + data.draw(st.integers(0, wait - 1)))
        minute += wait
        for past in (rarely, often):
            detector.count(past, minute, mentions)
        assert detector.judge(rarely, minute) == detector.judge(often, minute)


def test_the_state_is_small_however_busy_and_however_long() -> None:
    random = Random(3)
    detector = Detector()
    past = detector.past(START)
    for minute in range(START, START + 3 * WEEK):
        detector.count(past, minute, random.randint(1, 400))
        detector.judge(past, minute)
    assert len(msgspec.json.encode(past)) <= 8192
    assert len(msgspec.json.encode(detector.past(START))) < 600


def test_a_long_silence_is_passed_over() -> None:
    series = Live().live(WEEK, steady(30))
    later = series.now + 5 * 365 * DAY
    verdict = series.say(later, 1)
    assert verdict is not None and not verdict.spike
    assert series.detector.expected(series.past, START + later, 60) < 1


def test_counts_of_any_size_at_any_interval_are_learnt_without_a_prior() -> None:
    for tick in (10.0, 300.0, 3600.0, 86_400.0):
        detector = Detector(series=1, tick=tick, rate=None)
        past = detector.past(0)
        random = Random(5)
        for at in range(400):
            detector.count(past, at, random.randint(900, 1100))
            verdict = detector.judge(past, at)
            assert not verdict.spike
        if tick >= 300:
            assert detector.expected(past, 400, 1) == pytest.approx(1000, rel=0.1)
            detector.count(past, 400, 20_000)
            assert detector.judge(past, 400).spike


def plain_share(seen: int, talk: int, usual: float) -> float:
    """P(X ≥ seen), as a plain sum of beta-binomial terms."""
    c = 1 / (ODDS_VARIANCE * usual * (1 - usual)) - 1
    a, b = usual * c, (1 - usual) * c

    def log_choose(n: int, k: int) -> float:
        return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)

    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    return sum(
        exp(log_choose(talk, k) + log_beta(k + a, talk - k + b) - log_beta(a, b))
        for k in range(seen, talk + 1)
    )


@pytest.mark.parametrize(("seen", "talk"), [(1, 1), (3, 10), (10, 50), (29, 30), (500, 2000)])
@pytest.mark.parametrize("usual", [0.02, 0.1, 0.5])
def test_share_probability_is_the_plain_sum(seen: int, talk: int, usual: float) -> None:
    found = share_probability(seen, talk, usual * 40, 40)
    assert found == pytest.approx(plain_share(seen, talk, usual), rel=1e-6, abs=1e-12)


def test_a_wave_of_popularity_is_no_large_share_and_a_wave_of_complaints_is() -> None:
    assert share_probability(50, 500, 10, 100) > 0.3
    assert share_probability(50, 110, 10, 100) < 1e-3
    assert share_probability(50, 50, 0.0, 0.0) > 0.3  # nothing is known: no share is large
    assert share_probability(0, 50, 1, 10) == 1.0


def test_a_share_known_from_little_talk_is_less_surprising() -> None:
    chances = [share_probability(20, 40, 0.2 * n, n, known_from=n) for n in (5, 20, 100, 1e9)]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] == pytest.approx(share_probability(20, 40, 2, 10), rel=1e-6)


@pytest.mark.parametrize("silent", [0, 1, 6, 30, 100])
@pytest.mark.parametrize("known", [HOUR, 6 * HOUR, DAY])
def test_what_is_expected_in_silence_is_about_what_would_be_learnt_from_it(
    known: int, silent: int
) -> None:
    series = Live().live(known, steady(3.0))
    begun = msgspec.msgpack.encode(series.past)
    last = START + known + silent * HOUR + 59
    foreseen = series.detector.expected_in_silence(series.past, last, HOUR)
    assert msgspec.msgpack.encode(series.past) == begun
    series.detector.judge(series.past, last - HOUR + 1)
    learnt = series.detector.expected(series.past, last, HOUR)
    assert foreseen == pytest.approx(learnt, rel=0.2)


def test_without_silence_what_is_expected_stands() -> None:
    series = Live().live(DAY + 40, steady(30.0))
    minute = START + DAY + 30
    assert series.detector.expected_in_silence(
        series.past, minute, HOUR
    ) == series.detector.expected(series.past, minute, HOUR)
