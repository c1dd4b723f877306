"""The PNG plots over all cells: error against truth, what donors reach, and how early calls came."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import polars as pl

from forewarn.report import style
from forewarn.report.forecast_tables import calls
from forewarn.report.frames import ordered_runs, ordered_types
from forewarn.report.series import SERIES
from forewarn.report.style import SETTINGS, as_png
from forewarn.report.summary import ESTIMATORS, points
from forewarn.report.tables import donor_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOWEST_RATIO = -5.0
"""log10(estimate/truth): what lies lower is drawn here"""
NO_HIT_AT = -5.8


def accuracy_plot(cells: pl.DataFrame) -> bytes:
    """estimate/truth against truth for the judged cells, a panel an estimator; no hit on its own line."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11.2, 3.6), layout="constrained")
        panels = figure.subplots(1, len(ESTIMATORS), sharex=True, sharey=True)
        for panel, (key, label) in zip(panels, ESTIMATORS.items(), strict=True):
            panel.set_title(label)
            _ratio_panel(panel, cells, key)
        _ratio_axes(panels[0], cells)
        panels[0].set_ylabel("estimate / truth")
        panels[0].text(0.02, 0.25, "shaded: within a factor of 1.6", transform=panels[0].get_yaxis_transform(),
                       fontsize=7.5, color=style.MUTED, va="bottom")  # fmt: skip
        figure.supxlabel("truth: exploit rate by brute force", fontsize=9)
        figure.suptitle("Judged cells: estimate against truth", x=0.01, ha="left", fontsize=12, fontweight="bold")
        return as_png(figure)


def _ratio_panel(panel: Axes, cells: pl.DataFrame, key: str) -> None:
    colour = SERIES[key].colour
    panel.axhspan(-0.2, 0.2, color="#e8eef4", zorder=0)
    panel.axhline(0, color=style.INK, linewidth=0.9, zorder=1)
    panel.axhspan(NO_HIT_AT - 0.45, NO_HIT_AT + 0.45, color="#f4f5f7", zorder=0)
    missing = 0
    for point in points(cells, key):
        if point.value is None:
            missing += 1
            panel.plot(point.truth, NO_HIT_AT, "|", color=colour, markersize=8, alpha=0.7)
            continue
        if point.interval is not None:
            low, high = (max(end - point.truth, LOWEST_RATIO) for end in point.interval)
            panel.plot([point.truth, point.truth], [low, high], color=colour, linewidth=1.0, alpha=0.55, zorder=2)
        ratio = point.value - point.truth
        mark = "v" if ratio < LOWEST_RATIO else SERIES[key].marker
        panel.plot(point.truth, max(ratio, LOWEST_RATIO), mark, color=colour, markersize=4.2, alpha=0.9, zorder=3)
    total = len(cells.filter("judged"))
    panel.text(
        0.98, 0.045, f"{missing} of {total}", transform=panel.transAxes, ha="right", fontsize=8, color=style.MUTED
    )


def _ratio_axes(panel: Axes, cells: pl.DataFrame) -> None:
    lowest = cells.filter("judged")["truth_log10"].min()
    floor = math.floor(lowest) if isinstance(lowest, float) else -4
    panel.set_xlim(floor - 0.2, 0.2)
    panel.set_xticks(range(floor, 1), ["1" if d == 0 else f"$10^{{{d}}}$" for d in range(floor, 1)])
    panel.set_ylim(NO_HIT_AT - 0.45, 1.6)
    ticks = {
        NO_HIT_AT: "no hit",
        -4.0: "$10^{-4}$",
        -3.0: "$10^{-3}$",
        -2.0: "$10^{-2}$",
        -1.0: "0.1",
        0.0: "1",
        1.0: "10",
    }
    panel.set_yticks(list(ticks), list(ticks.values()))


def donor_plot(cells: pl.DataFrame) -> bytes:
    """The share of each estimate that donors reach, a map a run: types down, checkpoints across."""
    import matplotlib
    from matplotlib.figure import Figure

    runs, types = ordered_runs(cells), ordered_types(cells)
    steps = {run: cells.filter(pl.col("run") == run)["step"].unique().sort().to_list() for run in runs}
    with matplotlib.rc_context(SETTINGS):
        widths = [len(steps[run]) for run in runs]
        figure = Figure(figsize=(2.4 + 0.42 * sum(widths), 1.5 + 0.3 * len(types)), layout="constrained")
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False, width_ratios=widths)[0]
        for panel, run in zip(panels, runs, strict=True):
            _donor_panel(panel, cells.filter(pl.col("run") == run), types, steps[run])
            panel.set_title(f"run {style.label(run)}")
        panels[0].set_yticks(range(len(types)), list(map(style.label, types)))
        panels[0].invert_yaxis()
        figure.supxlabel("optimizer step", fontsize=9)
        figure.suptitle("Share of the estimate that donors reach, %", x=0.01, ha="left", fontsize=12, fontweight="bold")
        return as_png(figure)


def _donor_panel(panel: Axes, cells: pl.DataFrame, types: list[str], steps: list[int]) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("donors", ["#fbfbfc", "#cfe3f1", style.ESTIMATE])
    panel.grid(visible=False)
    panel.set_xlim(-0.5, len(steps) - 0.5)
    panel.set_ylim(-0.5, len(types) - 0.5)
    panel.set_xticks(range(len(steps)), [str(s) for s in steps])
    panel.tick_params(length=0)
    for side in panel.spines.values():
        side.set_visible(False)
    for row in cells.iter_rows(named=True):
        x, y = steps.index(row["step"]), types.index(row["exploit_type"])
        share = donor_share(row)
        face: Any = "#f4f5f7" if share is None else colours(share)
        panel.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=face, edgecolor="none"))
        ink = style.MUTED if share is None else "white" if share > 0.8 else style.INK
        panel.text(
            x, y, "–" if share is None else f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5, color=ink
        )


def lead_plot(forecasts: pl.DataFrame, run: str) -> bytes:
    """When each type was called, when brute force first shows it, and when its rate passes 10 %."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    types = calls(forecasts, run)
    marks = {
        "first_call_step": ("called by forewarn", style.ESTIMATE, "o", -0.12),
        "brute_first_step": ("first visible by counting", style.BRUTE, "D", 0.12),
        "step_over_10pct": ("rate passes 10 %", style.TOKENS, "s", 0.0),
    }
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.6, 1.5 + 0.3 * len(types)), layout="constrained")
        panel = figure.subplots()
        for y, row in enumerate(types.iter_rows(named=True)):
            start, end = row["first_call_step"], row["step_over_10pct"]
            if start is not None and end is not None:
                panel.plot(
                    [max(start, 0.5), end], [y, y], color="#cfe3f1", linewidth=5, solid_capstyle="round", zorder=1
                )
            for column, (_, colour, marker, shift) in marks.items():
                if row[column] is not None:
                    panel.plot(
                        style.step_position(row[column]), y + shift, marker, color=colour, markersize=6, zorder=2
                    )
            if all(row[column] is None for column in marks):
                panel.text(0.01, y, "none of these", transform=panel.get_yaxis_transform(), va="center",
                           fontsize=8, color=style.MUTED)  # fmt: skip
        panel.set_yticks(range(len(types)), [*map(style.label, types["exploit_type"])])
        panel.set_ylim(len(types) - 0.5, -0.5)
        panel.set_xscale("log")
        seen = sorted({step for column in marks for step in types[column].drop_nulls().to_list()}) or [1]
        panel.set_xlim(style.step_position(seen[0]) / 1.4, seen[-1] * 1.4 + 1)
        shown = style.spread_steps(seen, least_ratio=1.3)
        panel.set_xticks([style.step_position(s) for s in shown], [f"{s:,}" for s in shown])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlabel("optimizer step")
        handles = [
            panel.plot([], [], marker, color=colour, label=label)[0] for label, colour, marker, _ in marks.values()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
        title = f"Run {style.label(run)}: calls ahead of emergence"
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        return as_png(figure)
