"""Does it work? Rate, errors and duration of the pipeline; use and saturation of its workers."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    BAD,
    GOOD,
    WARNING,
    WIDTH,
    chosen,
    finished,
    lines,
    listing,
    new_dashboard,
    number,
)

_AT = '{job="gapwatch", instance=~"$instance"}'
_JOB = '{job="gapwatch"}'
_THIRD = WIDTH // 3


def _rate(metric: str, by: str = "") -> str:
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({metric}{_AT}[$__rate_interval]))"


def _quantile(q: float, metric: str) -> str:
    return f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{_AT}[$__rate_interval])))"


def dashboard() -> Dashboard:
    """The dashboard *Pipeline*."""
    return finished(
        new_dashboard(
            "gapwatch-pipeline",
            "Gapwatch / Pipeline",
            "The workers: rate, errors and duration of what they do, and how hard they work.",
            "now-6h",
        )
        .with_variable(chosen("instance", "Worker", f"gapwatch_build_info{_JOB}", several=True))
        .with_row(grafana.Row("Now"))
        .with_panel(
            number(
                "Workers up",
                "Workers that Prometheus reaches.",
                "short",
                f"sum(up{_JOB})",
                steps=((None, BAD), (1, GOOD)),
            )
        )
        .with_panel(
            number(
                "Events",
                "Events handled a second by all workers, rejected ones included.",
                "suffix: /s",
                "sum(gapwatch:events:rate5m)",
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Lag",
                "Records that wait, over all topics. What it means in time: lag over the rate.",
                "short",
                "sum(gapwatch:lag_records:sum)",
                steps=((None, GOOD), (1_000, WARNING), (100_000, BAD)),
            )
        )
        .with_panel(
            number(
                "Event to mention, p99",
                "From an event's arrival in Kafka to the confirmation of its mention.",
                "s",
                "max(gapwatch:event_to_mention_seconds:p99_5m)",
                steps=((None, GOOD), (2, WARNING), (5, BAD)),
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Rejected",
                "Share of the events that went to the rejected topic.",
                "percentunit",
                "max(gapwatch:reject_share:ratio_rate5m)",
                steps=((None, GOOD), (0.01, WARNING), (0.05, BAD)),
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Restarts in a day",
                "How often workers of the same address started again.",
                "short",
                f"sum(changes(process_start_time_seconds{_JOB}[1d]))",
                steps=((None, GOOD), (3, WARNING)),
            )
        )
        .with_row(grafana.Row("Rate"))
        .with_panel(
            lines(
                "Events, by source",
                "Events taken from the events topic a second.",
                "suffix: /s",
                (_rate("gapwatch_events_total", "source"), "{{source}}"),
                stacked=StackingMode.NORMAL,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Mentions, by brand",
                "Mentions sent to the mentions topic a second. One event may mention many brands.",
                "suffix: /s",
                (_rate("gapwatch_mentions_total", "brand"), "{{brand}}"),
                stacked=StackingMode.NORMAL,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Events that became no mention",
                "Naming no brand; the same id again within 24 hours; replayed after a crash or a "
                "rebalance and not counted again; older than any bucket kept. All are as it should "
                "be in small numbers.",
                "suffix: /s",
                (_rate("gapwatch_unmatched_total"), "no brand"),
                (_rate("gapwatch_repeats_total"), "repeat"),
                (_rate("gapwatch_replayed_total"), "replayed"),
                (f"{_rate('gapwatch_late_total')} or vector(0)", "too late"),
                width=_THIRD,
            )
        )
        .with_row(grafana.Row("Errors"))
        .with_panel(
            lines(
                "Rejected, by reason",
                "Events sent whole to the rejected topic, a second.",
                "suffix: /s",
                (_rate("gapwatch_rejected_total", "reason"), "{{reason}}"),
                stacked=StackingMode.NORMAL,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Not judged, by reason",
                "Texts the model had nothing to say on: empty, or in a language it does not read.",
                "suffix: /s",
                (_rate("gapwatch_abstained_total", "reason"), "{{reason}}"),
                stacked=StackingMode.NORMAL,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Notifications that wait",
                "Notifications not delivered yet, by receiver. They are kept in order until the "
                "receiver answers, or `alerts.expire_hours` is over.",
                "short",
                (f"sum by (receiver) (gapwatch_notifications_waiting{_AT})", "{{receiver}}"),
                width=_THIRD,
            )
        )
        .with_row(grafana.Row("Duration"))
        .with_panel(
            lines(
                "Event to mention",
                "From an event's arrival in Kafka to the confirmation of its mention.",
                "s",
                (_quantile(0.5, "gapwatch_event_to_mention_seconds"), "p50"),
                (_quantile(0.95, "gapwatch_event_to_mention_seconds"), "p95"),
                (_quantile(0.99, "gapwatch_event_to_mention_seconds"), "p99"),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Lag, by topic",
                "Records of a topic that wait. Level is well, rising for long is not.",
                "short",
                (f"sum by (topic) (gapwatch_lag_records{_AT})", "{{topic}}"),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Standing still",
                "Seconds for which records have waited and none was handled. The probe fails, and "
                "the worker is started again, at `web.stuck_after`.",
                "s",
                (f"max by (instance) (gapwatch_stuck_seconds{_AT})", "{{instance}}"),
                width=_THIRD,
            )
        )
        .with_row(grafana.Row("The model"))
        .with_panel(
            lines(
                "Time in the model for a batch",
                "How long the model took for the texts of one batch that it had not seen before.",
                "s",
                (_quantile(0.5, "gapwatch_model_seconds"), "p50"),
                (_quantile(0.95, "gapwatch_model_seconds"), "p95"),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Texts to the model, and answered from memory",
                "Texts a second the model judged, and those looked up among texts judged before.",
                "suffix: /s",
                (_rate("gapwatch_classified_total"), "judged"),
                (_rate("gapwatch_cache_hits_total"), "from memory"),
                stacked=StackingMode.NORMAL,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Found in memory",
                "Share of the texts that had been judged before: reposts cost nothing.",
                "percentunit",
                (
                    _rate("gapwatch_cache_hits_total")
                    + " / "
                    + _rate("gapwatch_cache_lookups_total"),
                    "found",
                ),
                maximum=1,
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Batch size",
                "Events handled together: small when idle, up to `model.batch` in a backlog.",
                "short",
                (_quantile(0.5, "gapwatch_batch_size"), "p50"),
                (_quantile(0.95, "gapwatch_batch_size"), "p95"),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Model busy",
                "Batches in the model at a time, on average. Near 2, the model is what limits: "
                "more workers help, as long as there are partitions.",
                "short",
                (
                    f"sum by (instance) (rate(gapwatch_model_seconds_sum{_AT}[$__rate_interval]))",
                    "{{instance}}",
                ),
                width=_THIRD,
            )
        )
        .with_panel(
            listing(
                "Versions",
                "What runs: two versions or models at once is a rollout under way, or one stuck.",
                "short",
                f"gapwatch_build_info{_AT}",
                width=_THIRD,
            )
        )
        .with_row(grafana.Row("Use"))
        .with_panel(
            lines(
                "Processor",
                "Cores a worker uses.",
                "suffix: cores",
                (
                    f"sum by (instance) (rate(process_cpu_seconds_total{_AT}[$__rate_interval]))",
                    "{{instance}}",
                ),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Memory",
                "Resident memory of a worker.",
                "bytes",
                (f"max by (instance) (process_resident_memory_bytes{_AT})", "{{instance}}"),
                width=_THIRD,
            )
        )
        .with_panel(
            lines(
                "Open files",
                "File descriptors in use, of those allowed: a leak ends in refused connections.",
                "percentunit",
                (
                    f"max by (instance) (process_open_fds{_AT} / process_max_fds{_AT})",
                    "{{instance}}",
                ),
                width=_THIRD,
            )
        )
    )
