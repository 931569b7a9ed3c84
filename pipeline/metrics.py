"""Every metric of a worker, declared in one place.

Labels are bounded: brands, touchpoints, stages, topics, windows, receivers and reasons, never an
author, an address or a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from models.labels import TOUCHPOINTS
from pipeline.records import AlertStatus, RejectReason

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """A worker's metrics, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()

        self.events = Counter(
            "gapwatch_events", "Events taken from the events topic.", ["source"], registry=registry
        )
        self.rejected = Counter(
            "gapwatch_rejected", "Events sent to the rejected topic.", ["reason"], registry=registry
        )
        self.unmatched = Counter(
            "gapwatch_unmatched", "Events that mention no brand.", registry=registry
        )
        self.repeats = Counter(
            "gapwatch_repeats",
            "Events dropped because their id came before in another record.",
            registry=registry,
        )
        self.erased = Counter(
            "gapwatch_erased",
            "Events not taken in because their author is to be forgotten.",
            registry=registry,
        )
        self.mentions = Counter(
            "gapwatch_mentions",
            "Mentions sent to the mentions topic.",
            ["brand"],
            registry=registry,
        )
        self.classified = Counter(
            "gapwatch_classified", "Texts given to the model.", registry=registry
        )
        self.abstained = Counter(
            "gapwatch_abstained", "Texts the model did not judge.", ["reason"], registry=registry
        )
        self.cache_lookups = Counter(
            "gapwatch_cache_lookups",
            "Texts looked up among those labelled before.",
            registry=registry,
        )
        self.cache_hits = Counter(
            "gapwatch_cache_hits", "Texts found among those labelled before.", registry=registry
        )
        self.batch_size = Histogram(
            "gapwatch_batch_size", "Events handled together.", buckets=_SIZES, registry=registry
        )
        self.model_seconds = Histogram(
            "gapwatch_model_seconds",
            "Time in the model for one batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.latency = Histogram(
            "gapwatch_event_to_mention_seconds",
            "From an event's Kafka timestamp to its mention's confirmation.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.counted = Counter(
            "gapwatch_mentions_counted",
            "Mentions counted in buckets.",
            ["brand", "stage"],
            registry=registry,
        )
        self.gaps = Counter(
            "gapwatch_gap_mentions",
            "Mentions counted that tell of a gap.",
            ["brand", "touchpoint", "gap"],
            registry=registry,
        )
        self.replayed = Counter(
            "gapwatch_replayed",
            "Mentions skipped because their stamp was counted before.",
            registry=registry,
        )
        self.late = Counter(
            "gapwatch_late", "Mentions older than any bucket kept.", ["brand"], registry=registry
        )
        self.score = Gauge(
            "gapwatch_score", "Advocacy score, -100 to 100.", ["brand", "window"], registry=registry
        )
        self.score_margin = Gauge(
            "gapwatch_score_margin",
            "Half the width of the score's 95 % interval, in points.",
            ["brand", "window"],
            registry=registry,
        )
        self.window_mentions = Gauge(
            "gapwatch_window_mentions",
            "Mentions in the window.",
            ["brand", "window"],
            registry=registry,
        )
        self.share_of_voice = Gauge(
            "gapwatch_share_of_voice",
            "Share of the brand's and its rivals' mentions.",
            ["brand", "window"],
            registry=registry,
        )
        self.gap_rate = Gauge(
            "gapwatch_gap_rate",
            "Share of mentions below or above expectation.",
            ["brand", "window", "touchpoint", "gap"],
            registry=registry,
        )
        self.spikes = Counter(
            "gapwatch_spikes",
            "Spikes that fired an alert.",
            ["brand", "touchpoint"],
            registry=registry,
        )
        self.alerts = Counter(
            "gapwatch_alerts", "Changes of alerts told.", ["brand", "status"], registry=registry
        )
        self.alerts_open = Gauge(
            "gapwatch_alerts_open", "Alerts open now.", ["brand"], registry=registry
        )
        self.notifications = Counter(
            "gapwatch_notifications",
            "Notifications by what became of them; `retry` and `gone` count attempts.",
            ["receiver", "outcome"],
            registry=registry,
        )
        self.notifications_waiting = Gauge(
            "gapwatch_notifications_waiting",
            "Notifications not yet delivered.",
            ["receiver"],
            registry=registry,
        )
        self.notification_seconds = Histogram(
            "gapwatch_notification_seconds",
            "From an alert's record to its delivery.",
            ["receiver"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.receiver_disabled = Gauge(
            "gapwatch_receiver_disabled",
            "1 where a receiver said that it is gone; nothing is sent until a restart.",
            ["receiver"],
            registry=registry,
        )
        self.ingest_requests = Counter(
            "gapwatch_ingest_requests",
            "Requests that brought events over HTTP, by the token's name and the answer's status.",
            ["client", "code"],
            registry=registry,
        )
        self.ingest_events = Counter(
            "gapwatch_ingest_events",
            "Events that came over HTTP: `accepted`, `rejected`, or `erased` with their author.",
            ["client", "outcome"],
            registry=registry,
        )
        self.ingest_bytes = Gauge(
            "gapwatch_ingest_bytes",
            "Bytes of bodies in work, uncompressed.",
            registry=registry,
        )
        self.ingest_seconds = Histogram(
            "gapwatch_ingest_seconds",
            "From a request that brings events to its answer.",
            ["client"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.lag = Gauge(
            "gapwatch_lag_records",
            "Records of assigned partitions not yet handled.",
            ["topic"],
            registry=registry,
        )
        self.stuck = Gauge(
            "gapwatch_stuck_seconds",
            "How long records have waited with none handled; 0 while the worker moves.",
            registry=registry,
        )
        self.budget = Gauge(
            "gapwatch_false_alarms_per_week",
            "Alerts raised by chance that a brand may have a week, as set.",
            registry=registry,
        )
        self.build = Info("gapwatch_build", "Version and model.", registry=registry)
        # Start, processor time, memory and open files of the process, where the system tells.
        ProcessCollector(registry=registry)

    def begin(self, *, brands: Iterable[str], receivers: Iterable[str]) -> None:
        """Start at 0 the counters whose first increase may be the news.

        Of a counter that appears with a value, Prometheus cannot know that it increased: the first
        alert, or a touchpoint's first gap mentions, would show on no graph and in no rule.
        """
        for reason in get_args(RejectReason):
            self.rejected.labels(reason)
        for brand in brands:
            for touchpoint in (*TOUCHPOINTS, "all"):
                self.spikes.labels(brand, touchpoint)
            for touchpoint in TOUCHPOINTS:
                for gap in ("negative", "positive"):
                    self.gaps.labels(brand, touchpoint, gap)
            for status in get_args(AlertStatus):
                self.alerts.labels(brand, status)
        for receiver in receivers:
            for outcome in ("delivered", "retry", "refused", "gone", "expired"):
                self.notifications.labels(receiver, outcome)
            self.notification_seconds.labels(receiver)

    def forget_scores(self) -> None:
        """Show no scores: those of partitions that went to another worker would stay for ever."""
        for gauge in (
            self.score,
            self.score_margin,
            self.window_mentions,
            self.share_of_voice,
            self.gap_rate,
        ):
            gauge.clear()
