"""The PNG plot of rates against step, log-log, a panel a type. The others: ``overview_plots.py``.

Figures are made without pyplot, so that no global state is touched. The page's interactive charts: ``charts.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from forewarn.report import style
from forewarn.report.frames import ordered_types
from forewarn.report.series import SERIES, known_series
from forewarn.report.style import SETTINGS, as_png, axis_floor, spread_steps, step_position

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONG_TITLE = 26
"""characters of a panel's title at its normal size"""
NO_HIT_DEPTH = 1.1
"""decades below the axis's floor at which the study's cells without a hit are marked"""


def rate_plot(cells: pl.DataFrame, run: str) -> bytes:
    """Rates of a run against step, log-log, a panel a type; cells without a hit as what bounds them."""
    import matplotlib
    from matplotlib.figure import Figure

    types = ordered_types(cells)
    floor = axis_floor(cells)
    n_rows, n_columns = _grid_shape(len(types))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(1.2 + 2.65 * n_columns, 1.15 + 2.15 * n_rows), layout="constrained")
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        for i, panel in enumerate(grid.flat):
            if i >= len(types):
                panel.set_visible(False)
                continue
            of_type = cells.filter((pl.col("run") == run) & (pl.col("exploit_type") == types[i])).sort("step")
            fontsize = 9.5 if len(types[i]) <= LONG_TITLE else 8
            panel.set_title(style.label(types[i]), fontsize=fontsize)
            _rate_panel(panel, of_type, floor)
            if i + n_columns >= len(types):
                panel.tick_params(labelbottom=True)
                panel.set_xlabel("optimizer step")
            if i % n_columns == 0:
                panel.set_ylabel("exploit rate")
        _axes(grid.flat[0], cells.filter(pl.col("run") == run)["step"].unique().sort().to_list(), floor)
        title = f"Run {style.label(run)}: exploit rate by checkpoint"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.legend(handles=_legend(known_series(cells)), loc="outside lower center", ncols=3, fontsize=8.5)
        return as_png(figure)


def _grid_shape(n_panels: int) -> tuple[int, int]:
    """Rows and columns: up to four columns, three where that leaves fewer places empty."""
    columns = min((min(4, n_panels), min(3, n_panels)), key=lambda c: -n_panels % c)
    return math.ceil(n_panels / columns), columns


def _axes(panel: Axes, steps: list[int], floor: int) -> None:
    from matplotlib.ticker import NullLocator

    panel.set_xscale("log")
    positions = [step_position(s) for s in steps]
    panel.set_xlim(positions[0] / 1.35, positions[-1] * 1.35)
    shown = spread_steps(steps)
    panel.set_xticks([step_position(s) for s in shown], [f"{s:,}" for s in shown])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(floor - NO_HIT_DEPTH - 0.6, 0.25)
    decades = list(range(0, floor - 1, -(2 if floor < -5 else 1)))
    panel.set_yticks(
        [*decades, floor - NO_HIT_DEPTH],
        [*("1" if d == 0 else f"$10^{{{d}}}$" for d in decades), "no hit"],
        minor=False,
    )


def _rate_panel(panel: Axes, rows: pl.DataFrame, floor: int) -> None:
    panel.axhspan(floor - NO_HIT_DEPTH - 0.6, floor - NO_HIT_DEPTH + 0.6, color="#f4f5f7", zorder=0)
    panel.axhline(-1, color=style.MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    _truth(panel, rows, floor)
    for row in rows.iter_rows(named=True):
        _estimate(panel, row, floor)
        _brute(panel, row, floor)
        for key, series in SERIES.items():
            if series.has_intervals or row[series.measured] is None:
                continue
            value = series.read(row).value
            height = floor - NO_HIT_DEPTH if value is None else max(value, floor)
            faint = 0.45 if value is None else 1.0
            mark = SERIES[key].marker if value is None or value >= floor else "v"
            panel.plot(_x(row, key), height, mark, color=SERIES[key].colour, markersize=4.5, markeredgewidth=1.1,
                       alpha=faint, zorder=3)  # fmt: skip


def _x(row: dict[str, Any], key: str) -> float:
    return float(step_position(row["step"]) * 10 ** SERIES[key].shift)


def _truth(panel: Axes, rows: pl.DataFrame, floor: int) -> None:
    """A line through the cells with hits, its interval as a grey bar; cells without hits as an upper bound."""
    known = rows.filter(pl.col("truth_n").is_not_null())
    x = [step_position(s) for s in known["step"]]
    seen = known["truth_log10"].is_not_null().to_list()
    low = [math.log10(v) if v > 0 else floor for v in known["truth_lo"]]
    high = [math.log10(v) for v in known["truth_hi"]]
    for at, bottom, top, hit in zip(x, low, high, seen, strict=True):
        if hit:
            panel.plot([at, at], [bottom, top], color="#c9ccd1", linewidth=5, solid_capstyle="butt", zorder=1)
        else:
            _bound(panel, at, top, style.INK)
    middle = [math.nan if v is None else v for v in known["truth_log10"]]
    panel.plot(x, middle, color=style.INK, linewidth=1.3, marker="_", markersize=5, zorder=2)


def _estimate(panel: Axes, row: dict[str, Any], floor: int) -> None:
    colour, x = style.ESTIMATE, _x(row, "estimate")
    if row["log10_p"] is None:
        _bound(panel, x, math.log10(row["upper_bound"]), colour)
        return
    if row["hi"] is not None:
        low, high = max(row["lo"], floor), max(row["hi"], floor)
        panel.plot([x, x], [low, high], color=colour, linewidth=1.6, zorder=4, solid_capstyle="butt")
    filled = colour if row["resolved"] else "white"
    mark = "o" if row["log10_p"] >= floor else "v"
    panel.plot(x, max(row["log10_p"], floor), mark, color=colour, markerfacecolor=filled, markersize=4.6, zorder=5)


def _brute(panel: Axes, row: dict[str, Any], floor: int) -> None:
    if row["brute_n"] is None:
        return
    colour, x = style.BRUTE, _x(row, "brute")
    if not row["brute_hits"]:
        _bound(panel, x, math.log10(row["brute_hi"]), colour)
        return
    low, high = max(math.log10(row["brute_lo"]), floor), math.log10(row["brute_hi"])
    panel.plot([x, x], [low, high], color=colour, linewidth=0.9, alpha=0.8, zorder=2)
    panel.plot(x, math.log10(row["brute_hits"] / row["brute_n"]), "D", color=colour, markersize=2.8, zorder=3)


def _bound(panel: Axes, x: float, top: float, colour: str) -> None:
    """No hit: all that is known is an upper bound, drawn as a bar with an arrow down."""
    panel.annotate("", (x, top - 0.55), (x, top), arrowprops={"arrowstyle": "-|>,head_width=0.13,head_length=0.22",
                   "color": colour, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}, zorder=3)  # fmt: skip
    panel.plot(x, top, "_", color=colour, markersize=5, markeredgewidth=1.2, zorder=3)


def _legend(known: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(key: str, **more: Any) -> Line2D:
        line = {"truth": 1.3, "estimate": 1.6, "brute": 0.9}.get(key, 0.0)
        size = {"brute": 3.2}.get(key, 5.0)
        options: dict[str, Any] = {
            "color": SERIES[key].colour,
            "marker": SERIES[key].marker,
            "linewidth": line,
            "markersize": size,
        }
        return Line2D([], [], **({**options, "label": SERIES[key].label} | more))

    hollow = {"markerfacecolor": "white", "label": "the same, unresolved"}
    rivals = [key for key in known if key not in ("truth", "estimate")]
    return [
        *([mark("truth")] if "truth" in known else []),
        mark("estimate"),
        mark("estimate", **hollow),
        *map(mark, rivals),
        Line2D([], [], color=style.MUTED, marker=r"$\downarrow$", linewidth=0, markersize=7,
               label="no hit: upper bound"),
        Line2D([], [], color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)), label="10 %: emerged"),
    ]  # fmt: skip
