"""What happened here? One brand and touchpoint around an alert, for whoever was called."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    BAD,
    GOOD,
    WIDTH,
    chosen,
    finished,
    lines,
    new_dashboard,
    number,
    open_alerts,
)

_BRAND = '{brand="$brand"}'
_HERE = '{brand="$brand", touchpoint=~"$touchpoint", gap="negative"}'
_A_MINUTE = "suffix: per minute"


def dashboard() -> Dashboard:
    """The dashboard *Incident*."""
    below = f"sum(rate(gapwatch_gap_mentions_total{_HERE}[5m])) * 60"
    return finished(
        new_dashboard(
            "gapwatch-incident",
            "Gapwatch / Incident",
            "One brand and touchpoint around an alert: how large, how unusual, who was told.",
            "now-3h",
        )
        .with_variable(chosen("brand", "Brand", "gapwatch_window_mentions"))
        .with_variable(
            chosen("touchpoint", "Touchpoint", 'gapwatch_gap_rate{touchpoint!="all"}', several=True)
        )
        .annotation(open_alerts(_BRAND))
        .with_row(grafana.Row("How large"))
        .with_panel(
            number(
                "Alerts open",
                "Alerts of this brand that have fired and not resolved.",
                "short",
                f"sum(gapwatch_alerts_open{_BRAND})",
                steps=((None, GOOD), (1, BAD)),
                width=WIDTH // 4,
            )
        )
        .with_panel(
            number(
                "Below expectation now",
                "Mentions a minute of the touchpoint that tell of less than was promised.",
                _A_MINUTE,
                below,
                width=WIDTH // 4,
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Usual here",
                "Mean of the same rate over the week before.",
                _A_MINUTE,
                f"sum(avg_over_time(gapwatch:gap_mentions:rate5m{_HERE}[7d])) * 60",
                width=WIDTH // 4,
                decimals=2,
            )
        )
        .with_panel(
            number(
                "Mentions in an hour",
                "All mentions of the brand in the last hour, by the time they were posted.",
                "short",
                'max(gapwatch_window_mentions{brand="$brand", window="1h"})',
                width=WIDTH // 4,
            )
        )
        .with_panel(
            lines(
                "Below expectation against the day and the week before",
                "Mentions a minute of the touchpoint below expectation, and the same rate a day "
                "and a week earlier.",
                _A_MINUTE,
                (below, "now"),
                (f"sum(gapwatch:gap_mentions:rate5m{_HERE} offset 1d) * 60", "a day before"),
                (f"sum(gapwatch:gap_mentions:rate5m{_HERE} offset 1w) * 60", "a week before"),
                width=WIDTH * 2 // 3,
            )
        )
        .with_panel(
            lines(
                "Share of the talk",
                "Mentions of the touchpoint below expectation, of all mentions of the brand. A "
                "campaign raises both; an incident raises the share.",
                "percentunit",
                (
                    f"sum(rate(gapwatch_gap_mentions_total{_HERE}[15m]))"
                    f" / sum(rate(gapwatch_mentions_counted_total{_BRAND}[15m]))",
                    "share",
                ),
                maximum=1,
                width=WIDTH // 3,
            )
        )
        .with_row(grafana.Row("What is it about"))
        .with_panel(
            lines(
                "Below expectation, by touchpoint",
                "Which touchpoint the talk is about, whichever are chosen above.",
                _A_MINUTE,
                (
                    'sum by (touchpoint) (rate(gapwatch_gap_mentions_total{brand="$brand", '
                    'gap="negative"}[5m])) * 60',
                    "{{touchpoint}}",
                ),
                stacked=StackingMode.NORMAL,
            )
        )
        .with_panel(
            lines(
                "All talk, by stage",
                "Mentions a minute of the brand by engagement stage. Curation that rises alone is "
                "a story being passed on.",
                _A_MINUTE,
                (
                    f"sum by (stage) (rate(gapwatch_mentions_counted_total{_BRAND}[5m])) * 60",
                    "{{stage}}",
                ),
                stacked=StackingMode.NORMAL,
            )
        )
        .with_row(grafana.Row("Who was told, and what it did"))
        .with_panel(
            lines(
                "Changes of alerts",
                "Alerts of this brand that began to fire, escalated or resolved, in 15 minutes.",
                "short",
                (f"sum by (status) (increase(gapwatch_alerts_total{_BRAND}[15m]))", "{{status}}"),
                width=WIDTH // 4,
            )
        )
        .with_panel(
            lines(
                "Notifications, by outcome",
                "Attempts to deliver in 15 minutes, of all brands. `retry` comes again; `refused` "
                "and `expired` are lost to that receiver.",
                "short",
                (
                    "sum by (receiver, outcome) (increase(gapwatch_notifications_total[15m]))",
                    "{{receiver}} {{outcome}}",
                ),
                width=WIDTH // 4,
            )
        )
        .with_panel(
            lines(
                "Alert to delivery",
                "From an alert's record to its delivery, by receiver: the slowest of 20. Hours in "
                "which a receiver wants to be left alone count.",
                "s",
                (
                    "histogram_quantile(0.95, sum by (receiver, le) "
                    "(rate(gapwatch_notification_seconds_bucket[1h])))",
                    "{{receiver}}",
                ),
                width=WIDTH // 4,
            )
        )
        .with_panel(
            lines(
                "Score in the last hour",
                "The advocacy score of the last hour, and of the last day beside it.",
                "suffix: points",
                (
                    'max by (window) (gapwatch_score{brand="$brand", window=~"1h|24h"})',
                    "{{window}}",
                ),
                minimum=-100,
                maximum=100,
                width=WIDTH // 4,
            )
        )
    )
