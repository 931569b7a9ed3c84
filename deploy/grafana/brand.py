"""How is a brand talked about? For brand teams, and for a glance on a wall."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    BAD,
    GOOD,
    WARNING,
    WIDTH,
    band,
    chosen,
    finished,
    lines,
    new_dashboard,
    number,
    open_alerts,
)

_POINTS = "suffix: points"
_ONE = '{brand="$brand", window="$window"}'
_BRAND = '{brand="$brand"}'


def _gap(gap: str, touchpoint: str) -> str:
    return (
        "max by (touchpoint) "
        f'(gapwatch_gap_rate{{brand="$brand", window="$window", gap="{gap}", {touchpoint}}})'
    )


def dashboard() -> Dashboard:
    """The dashboard *Brand health*."""
    score, margin = f"max(gapwatch_score{_ONE})", f"max(gapwatch_score_margin{_ONE})"
    return finished(
        new_dashboard(
            "gapwatch-brand",
            "Gapwatch / Brand health",
            "How a brand is talked about: advocacy, engagement, and where delivery misses promise.",
            "now-24h",
        )
        .with_variable(chosen("brand", "Brand", "gapwatch_window_mentions"))
        .with_variable(chosen("window", "Window", "gapwatch_window_mentions", first="24h"))
        .annotation(open_alerts(_BRAND))
        .with_row(grafana.Row("Now"))
        .with_panel(
            number(
                "Advocacy score",
                "Promoters less detractors by weight, of all talk in the window: -100 to 100. "
                "Read it with its interval below.",
                _POINTS,
                score,
                steps=((None, BAD), (0, WARNING), (30, GOOD)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "± of the score",
                "Half the width of the score's 95 % interval. Two scores closer than their "
                "intervals are not different.",
                _POINTS,
                margin,
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Mentions",
                "Mentions of the brand in the window, by the time they were posted.",
                "short",
                f"max(gapwatch_window_mentions{_ONE})",
            )
        )
        .with_panel(
            number(
                "Below expectation",
                "Share of the mentions that tell of less than was promised.",
                "percentunit",
                _gap("negative", 'touchpoint="all"'),
                steps=((None, GOOD), (0.2, WARNING), (0.4, BAD)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Share of voice",
                "The brand's part of all mentions of it and its rivals.",
                "percentunit",
                f"max(gapwatch_share_of_voice{_ONE})",
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Alerts open",
                "Alerts of this brand that have fired and not resolved.",
                "short",
                f"sum(gapwatch_alerts_open{_BRAND})",
                steps=((None, GOOD), (1, BAD)),
            )
        )
        .with_row(grafana.Row("Advocacy"))
        .with_panel(
            band(
                lines(
                    "Score with its 95 % interval",
                    "The line is the advocacy score of the window, the band its interval.",
                    _POINTS,
                    (score, "score"),
                    (f"{score} - {margin}", "lower"),
                    (f"{score} + {margin}", "upper"),
                    minimum=-100,
                    maximum=100,
                ),
                "lower",
                "upper",
            )
        )
        .with_panel(
            lines(
                "Score of all brands",
                "The same window's score of every brand listened for: is it us, or the market?",
                _POINTS,
                ('max by (brand) (gapwatch_score{window="$window"})', "{{brand}}"),
                minimum=-100,
                maximum=100,
            )
        )
        .with_row(grafana.Row("Engagement"))
        .with_panel(
            lines(
                "Stage mix",
                "Mentions counted over the window before each moment, by engagement stage: from "
                "consumption (taking in) to collaboration (working with the brand). By the "
                "worker's clock, not the posts'.",
                "short",
                (
                    f"sum by (stage) (increase(gapwatch_mentions_counted_total{_BRAND}[$window]))",
                    "{{stage}}",
                ),
                stacked=StackingMode.PERCENT,
                minimum=None,
            )
        )
        .with_panel(
            lines(
                "Share of voice",
                "Each brand's part of the mentions of it and its rivals in the window.",
                "percentunit",
                ('max by (brand) (gapwatch_share_of_voice{window="$window"})', "{{brand}}"),
                maximum=1,
            )
        )
        .with_row(grafana.Row("The gap"))
        .with_panel(
            lines(
                "Below expectation, by touchpoint",
                "Of the mentions about a touchpoint, the share that tell of less than promised.",
                "percentunit",
                (_gap("negative", 'touchpoint!~"all|none"'), "{{touchpoint}}"),
                maximum=1,
                width=WIDTH // 3,
            )
        )
        .with_panel(
            lines(
                "Above expectation, by touchpoint",
                "Of the mentions about a touchpoint, the share that tell of more than promised.",
                "percentunit",
                (_gap("positive", 'touchpoint!~"all|none"'), "{{touchpoint}}"),
                maximum=1,
                width=WIDTH // 3,
            )
        )
        .with_panel(
            lines(
                "Below expectation, by team that answers for it",
                "Mentions an hour below expectation. Marketing answers for price and marketing, "
                "which shape the promise; Operations for what is delivered.",
                "suffix: per hour",
                (
                    'sum by (team) (gapwatch:gap_mentions_by_team:rate5m{brand="$brand", '
                    'gap="negative"}) * 3600',
                    "{{team}}",
                ),
                width=WIDTH // 3,
            )
        )
    )
