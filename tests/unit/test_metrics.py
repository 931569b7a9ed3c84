"""What alerting rules rest on: counters that begin at 0, gauges that go when their worker has."""

from __future__ import annotations

from pipeline.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_counters_whose_first_increase_may_be_the_news_begin_at_zero() -> None:
    metrics = Metrics()
    metrics.begin(brands=["acme"], receivers=["team"])
    assert value(metrics, "gapwatch_rejected_total", reason="invalid") == 0
    assert value(metrics, "gapwatch_spikes_total", brand="acme", touchpoint="price") == 0
    assert value(metrics, "gapwatch_spikes_total", brand="acme", touchpoint="all") == 0
    assert value(metrics, "gapwatch_alerts_total", brand="acme", status="firing") == 0
    gap = {"brand": "acme", "touchpoint": "warranty", "gap": "negative"}
    assert value(metrics, "gapwatch_gap_mentions_total", **gap) == 0
    assert value(metrics, "gapwatch_notification_seconds_count", receiver="team") == 0
    assert value(metrics, "gapwatch_notifications_total", receiver="team", outcome="expired") == 0


def test_scores_of_partitions_that_went_elsewhere_are_not_shown_any_more() -> None:
    metrics = Metrics()
    metrics.score.labels("acme", "24h").set(12)
    metrics.gap_rate.labels("acme", "24h", "price", "negative").set(0.5)
    metrics.forget_scores()
    assert value(metrics, "gapwatch_score", brand="acme", window="24h") is None
    gap = {"brand": "acme", "window": "24h", "touchpoint": "price", "gap": "negative"}
    assert value(metrics, "gapwatch_gap_rate", **gap) is None


def test_the_process_tells_when_it_started_and_what_it_uses() -> None:
    metrics = Metrics()
    assert value(metrics, "process_start_time_seconds")
    assert value(metrics, "process_resident_memory_bytes")
