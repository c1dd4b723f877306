"""The page's interactive charts, as Vega-Lite specifications: the same pictures as the PNGs, with tooltips.

Ink is ``currentColor``, which the page's light and dark styles and its print style set.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from forewarn.report import numbers as write
from forewarn.report import style
from forewarn.report.frames import ordered_runs, ordered_types
from forewarn.report.series import SERIES, known_series
from forewarn.report.style import axis_floor, spread_steps, step_position
from forewarn.report.summary import ESTIMATORS, points
from forewarn.report.tables import donor_share

Spec = dict[str, Any]

INK = "currentColor"
PAPER = "var(--paper)"
"""the page's background, by its style sheet"""
COLOURS = {key: series.page_colour for key, series in SERIES.items()}
NO_HIT_DEPTH = 0.9
ARROW = 0.45
"""length, in decades, of the arrow below an upper bound"""
LABELS = "datum.value == 0 ? '1' : '1e' + datum.value"


def config() -> Spec:
    """Looks shared by all charts."""
    axis = {"labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK, "gridColor": INK,
            "gridOpacity": 0.12, "domainOpacity": 0.5, "tickOpacity": 0.5, "labelFontSize": 11, "titleFontSize": 12,
            "titleFontWeight": "normal"}  # fmt: skip
    return {
        "background": None,
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "header": {"labelColor": INK, "labelFontSize": 13, "labelFontWeight": "bold", "labelAnchor": "start"},
        "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "labelLimit": 400, "symbolSize": 90},
    }


def rate_chart(cells: pl.DataFrame, run: str) -> Spec:
    """Rates of a run against step, a panel a type. A click on the legend shows one series alone."""
    import altair as alt

    floor = axis_floor(cells)
    of_run = cells.filter(pl.col("run") == run)
    rows = [mark for row in of_run.iter_rows(named=True) for mark in _marks(row, floor)]
    known = known_series(cells)
    labels = [SERIES[key].label for key in known]
    picked = alt.selection_point(fields=["series"], bind="legend")
    colour = alt.Color("series:N", title=None).scale(domain=labels, range=[COLOURS[key] for key in known])
    colour = colour.legend(orient="top", symbolOpacity=1)
    shape = alt.Shape("series:N", title=None).scale(domain=labels, range=[SERIES[key].shape for key in known])
    steps = of_run["step"].unique().sort().to_list()
    ticks = [step_position(s) for s in spread_steps(steps)]
    x = alt.X("x:Q", title="optimizer step").scale(
        type="log", domain=[step_position(steps[0]) / 1.3, ticks[-1] * 1.3], nice=False
    )
    x = x.axis(values=ticks, labelExpr="datum.value < 1 ? '0' : datum.label", format=",d", grid=False)
    y = alt.Y("y:Q", title="exploit rate").scale(domain=[floor - NO_HIT_DEPTH - 0.4, 0.2], nice=False)
    expression = f"datum.value < {floor} ? 'no hit' : {LABELS}"
    # Vega drops every other of the given values unless tickCount allows them all.
    decades = range(0, floor - 1, -2 if floor < -5 else -1)
    y = y.axis(values=[*decades, floor - NO_HIT_DEPTH], labelExpr=expression, tickCount=20)
    shown = {"opacity": alt.when(picked).then(alt.value(1.0)).otherwise(alt.value(0.06))}
    base = alt.Chart().encode(x=x, y=y, color=colour)
    marks = base.transform_filter("datum.kind == 'hit' || datum.kind == 'none'").mark_point(filled=True, size=42)
    ten = (
        alt.Chart()
        .transform_aggregate(n="count()")
        .mark_rule(color=INK, opacity=0.6, strokeDash=[3, 2])
        .encode(y=alt.datum(-1))
    )
    layers = [
        ten,
        base.transform_filter("datum.kind != 'none'")
        .mark_rule(strokeWidth=1.4)
        .encode(y="low:Q", y2="high:Q", **shown),
        base.transform_filter("datum.key == 'truth'")
        .transform_calculate(seen="datum.kind == 'hit' ? datum.y : null")
        .mark_line(strokeWidth=1.4, invalid="break-paths-show-path-domains")
        .encode(y="seen:Q", **shown),
        base.transform_filter("datum.kind == 'bound'")
        .mark_point(shape="triangle-down", filled=True, size=30)
        .encode(y="low:Q", tooltip=_tooltip(), **shown),
        marks.encode(shape=shape, tooltip=_tooltip(), **shown),
        base.transform_filter("datum.kind == 'below'")
        .mark_point(shape="triangle-down", filled=False, size=40)
        .encode(tooltip=_tooltip(), **shown),
        base.transform_filter("datum.hollow").mark_point(filled=True, size=14).encode(color=alt.value(PAPER), **shown),
    ]
    chart = alt.layer(*layers, data=alt.Data(values=rows)).properties(width=270, height=190).add_params(picked)
    facet = alt.Facet("exploit_type:N", title=None, sort=ordered_types(cells))
    return _plain(chart.facet(facet, columns=3, spacing={"row": 14, "column": 18}))


def _tooltip() -> list[Any]:
    import altair as alt

    names = {"exploit_type": "type", "step": "step", "series": "series", "says": "rate", "more": "more"}
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in names.items()]


def _marks(row: dict[str, Any], floor: int) -> list[Spec]:
    """What one cell puts into its panel: a mark a series, with the words of its tooltip."""
    readings = {key: series.read(row) for key, series in SERIES.items() if row[series.measured] is not None}
    marks = []
    for key, said in readings.items():
        low, high = said.interval or (None, None)
        marks.append(_mark(key, said.value, low, high, said.bound, floor))
    more = f"{row['n_hits']} hits of {row['n']}; " + ("resolved" if row["resolved"] else f"unresolved: {row['reason']}")
    return [
        {
            **mark,
            "x": step_position(row["step"]) * 10 ** SERIES[mark["key"]].shift,
            "step": row["step"],
            "exploit_type": row["exploit_type"],
            "series": SERIES[mark["key"]].label,
            "says": readings[mark["key"]].says,
            "more": more if mark["key"] == "estimate" else "",
            "hollow": mark["key"] == "estimate" and mark["kind"] == "hit" and not row["resolved"],
        }
        for mark in marks
    ]


def _mark(
    key: str, value: float | None, low: float | None, high: float | None, bound: float | None, floor: int
) -> Spec:
    """log10 places of one mark: a hit with its interval, an upper bound with its arrow, or "no hit" at the foot."""
    if value is None:
        if bound is None:
            foot = floor - NO_HIT_DEPTH
            return {"key": key, "kind": "none", "y": foot, "low": foot, "high": foot}
        top = max(bound, floor)
        return {"key": key, "kind": "bound", "y": top, "low": max(top - ARROW, floor), "high": top}
    place = max(value, floor)
    bottom = place if low is None else max(low, floor)
    kind = "hit" if value >= floor else "below"
    return {"key": key, "kind": kind, "y": place, "low": bottom, "high": place if high is None else max(high, floor)}


def accuracy_chart(cells: pl.DataFrame) -> Spec:
    """estimate/truth against truth over the judged cells, a panel an estimator."""
    import altair as alt

    foot = -5.8
    rows = []
    for key, label in ESTIMATORS.items():
        for point in points(cells, key):
            ratio = None if point.value is None else point.value - point.truth
            ends = [None, None] if point.interval is None else [max(e - point.truth, -5.0) for e in point.interval]
            rows.append({
                "estimator": label, "truth": point.truth, "says": write.log_rate(point.truth),
                "ratio": foot if ratio is None else max(ratio, -5.0), "low": ends[0], "high": ends[1],
                "ratio_says": write.NO_HIT if ratio is None else write.ratio(ratio),
            })  # fmt: skip
    colours = [COLOURS[key] for key in ESTIMATORS]
    colour = alt.Color("estimator:N", legend=None).scale(domain=list(ESTIMATORS.values()), range=colours)
    y = alt.Y("ratio:Q", title="estimate / truth").scale(domain=[foot - 0.3, 1.6], nice=False)
    y = y.axis(
        values=[1, 0, -1, -2, -3, -4, foot], labelExpr=f"datum.value < -5 ? 'no hit' : {LABELS}", labelOverlap=False
    )
    x = alt.X("truth:Q", title="truth").scale(nice=False, padding=8).axis(labelExpr=LABELS, tickMinStep=1, grid=False)
    tips = [alt.Tooltip("says:N", title="truth"), alt.Tooltip("ratio_says:N", title="estimate / truth")]
    base = alt.Chart().encode(x=x, y=y, color=colour)
    zero = alt.Chart().mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(0))
    layers = [
        zero,
        base.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, size=32, opacity=0.85).encode(tooltip=tips),
    ]
    chart = alt.layer(*layers, data=alt.Data(values=rows)).properties(width=200, height=230)
    return _plain(chart.facet(alt.Facet("estimator:N", title=None, sort=list(ESTIMATORS.values())), columns=4))


def donor_chart(cells: pl.DataFrame) -> Spec:
    """The share of each estimate that donors reach, a map a run."""
    import altair as alt

    rows = [
        {
            "run": row["run"], "step": row["step"], "exploit_type": row["exploit_type"], "share": donor_share(row),
            "says": "–" if donor_share(row) is None else f"{100 * (donor_share(row) or 0.0):.0f}",
        }
        for row in cells.iter_rows(named=True)
    ]  # fmt: skip
    colour = alt.Color("share:Q", legend=None).scale(domain=[0, 1], range=["#eef2f6", style.ESTIMATE])
    base = alt.Chart().encode(
        x=alt.X("step:O", title="optimizer step").axis(labelAngle=0, ticks=False, domain=False),
        y=alt.Y("exploit_type:N", title=None, sort=ordered_types(cells)).axis(ticks=False, domain=False),
    )
    boxes = base.transform_filter("datum.share !== null").mark_rect(cornerRadius=2).encode(color=colour)
    ink = alt.when("datum.share > 0.55").then(alt.value("white")).otherwise(alt.value("#1b1f24"))
    text = base.transform_filter("datum.share !== null").mark_text(fontSize=10).encode(text="says:N", color=ink)
    missing = base.transform_filter("datum.share === null").mark_text(color=INK, opacity=0.5).encode(text="says:N")
    chart = alt.layer(boxes, text, missing, data=alt.Data(values=rows)).properties(
        width=alt.Step(30), height=alt.Step(24)
    )
    return _plain(chart.facet(alt.Facet("run:N", title=None, sort=ordered_runs(cells)), columns=2))


def _plain(chart: Any) -> Spec:
    specification: Spec = chart.to_dict()
    return specification | {"config": config()}
