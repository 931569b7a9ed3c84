"""The kinds of panel the dashboards are made of. Each has a title, a unit and a description.

Colours come from Grafana's palette, which suits its light and its dark theme, or from its named
`semi-dark` shades where a colour means something.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT: Final = 8
WIDTH: Final = 24
"""Of the whole dashboard, in Grafana's columns."""

GOOD: Final = "semi-dark-green"
WARNING: Final = "semi-dark-orange"
BAD: Final = "semi-dark-red"

Query = tuple[str, str]
"""A PromQL expression and its legend."""


def new_dashboard(uid: str, title: str, description: str, since: str) -> dashboard.Dashboard:
    """A dashboard with what all have: the data source to choose, links to the others.

    Args:
        since: How far back it looks at first: `now-6h`.
    """
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["gapwatch"])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .editable()
        .link(
            dashboard.DashboardLink("Gapwatch")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["gapwatch"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )


def finished(builder: dashboard.Dashboard) -> Dashboard:
    """The dashboard built, its panels numbered so that links to one of them stay right."""
    built = builder.build()
    for at, panel in enumerate(built.panels or (), 1):
        panel.id_val = at
    return built


def chosen(
    name: str, label: str, metric: str, *, several: bool = False, first: str | None = None
) -> dashboard.QueryVariable:
    """A variable whose values are those that a label of a metric has.

    Args:
        several: More than one may be chosen, and all are at first.
        first: What is chosen at first; without it the first value.
    """
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .hide(VariableHide.DONT_HIDE)
    )
    if first is not None:
        variable = variable.current(VariableOption(selected=True, text=first, value=first))
    return variable.multi(True).include_all(True).all_value(".+") if several else variable


def open_alerts(where: str) -> dashboard.AnnotationQuery:
    """Marks the time in which alerts were open."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts open")
        .datasource(SOURCE)
        .enable(True)
        .icon_color(BAD)
        .expr(f"sum by (brand) (gapwatch_alerts_open{where}) > 0")
    )


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = WIDTH // 2,
    stacked: StackingMode | None = None,
    minimum: float | None = 0,
    maximum: float | None = None,
) -> timeseries.Panel:
    """Values over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(HEIGHT)
        .span(width)
        .line_width(2)
        .fill_opacity(60 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .color_scheme(_palette())
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(stacked))
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    for ref, (expr, legend) in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(_query(expr, legend, ref).range())
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    steps: tuple[tuple[float | None, str], ...] = (),
    width: int = 4,
    decimals: float | None = None,
) -> stat.Panel:
    """One value now, with its course behind it.

    Args:
        steps: From which value on it has which colour; the first begins at None.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(width)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(BigValueColorMode.VALUE if steps else BigValueColorMode.NONE)
        .with_target(_query(expr, "", "A").range())
    )
    if steps:
        panel = panel.thresholds(_thresholds(steps))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel


def listing(
    title: str, description: str, unit: str, expr: str, *, width: int = WIDTH // 2
) -> table.Panel:
    """The labels of an instant query's results, one row each."""
    query = _query(expr, "", "A").instant().format(PromQueryFormat.TABLE)
    without = {"excludeByName": dict.fromkeys(("Time", "Value", "__name__", "job"), True)}
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(HEIGHT)
        .span(width)
        .with_transformation(DataTransformerConfig(id_val="organize", options=without))
        .with_target(query)
    )


def band(panel: timeseries.Panel, lower: str, upper: str) -> timeseries.Panel:
    """Draw two of the panel's lines, by legend, as the edges of a band."""
    edge: list[tuple[str, object]] = [
        ("custom.lineWidth", 0),
        ("color", {"mode": "fixed", "fixedColor": "semi-dark-blue"}),
        ("custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}),
    ]
    filled: list[tuple[str, object]] = [
        ("custom.fillBelowTo", lower),
        ("custom.fillOpacity", 20),
    ]
    return panel.override_by_name(upper, _values(edge + filled)).override_by_name(
        lower, _values([*edge, ("custom.fillOpacity", 0)])
    )


def _values(properties: list[tuple[str, object]]) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val=name, value=value) for name, value in properties]


def _query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expr).ref_id(ref).datasource(SOURCE)
    return query.legend_format(legend) if legend else query


def _palette() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)


def _thresholds(steps: tuple[tuple[float | None, str], ...]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )
