"""The page's grids: what donors reach of every estimate, and estimates over the truth."""

from __future__ import annotations

from html import escape

import polars as pl

from forewarn.report import canvas
from forewarn.report import numbers as write
from forewarn.report.anchors import breakable
from forewarn.report.canvas import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, mark, shape
from forewarn.report.frames import ordered_types
from forewarn.report.series import SERIES
from forewarn.report.summary import ESTIMATORS, points
from forewarn.report.tables import donor_share
from forewarn.text import printable


def reach_html(cells: pl.DataFrame, run: str) -> str:
    """A table of types by steps: the share of each estimate, in %, that donors reach."""
    of_run = cells.filter(pl.col("run") == run)
    steps = of_run["step"].unique().sort().to_list()
    shares = {(row["exploit_type"], row["step"]): donor_share(row) for row in of_run.iter_rows(named=True)}
    head = "".join(f'<th scope="col" class="number">{step:,}</th>' for step in steps)
    rows = []
    for name in ordered_types(cells):
        if any((name, step) in shares for step in steps):
            inner = "".join(
                _share(shares[name, step]) if (name, step) in shares else '<td title="not measured"></td>'
                for step in steps
            )
            rows.append(
                f'<tr data-run="{escape(printable(run))}" data-type="{escape(printable(name))}">'
                f'<th scope="row">{breakable(name)}</th>{inner}</tr>'
            )
    title = f"Run {escape(printable(run))}: % of the estimate that donors reach, by step"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table class="reach"><caption>{title}'
        f'</caption><thead><tr><th scope="col">type</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _share(value: float | None) -> str:
    if value is None:
        return f'<td class="number none">{write.NONE}</td>'
    return f'<td class="number" style="--part:{value:.2f}">{100 * value:.0f}</td>'


LOWEST, HIGHEST, FOOT = -5.0, 1.0, -5.8
"""decades of estimate over truth that a picture shows, and where "no hit" stands"""


def accuracy_panels(cells: pl.DataFrame) -> list[tuple[str, str]]:
    """(estimator, picture) of estimate over truth against truth, over the judged cells."""
    judged = cells.filter("judged")["truth_log10"]
    low, high = float(judged.min()), float(judged.max())  # type: ignore[arg-type]
    pad = 0.06 * (high - low) or 0.3
    x, y = (
        Scale(low - pad, high + pad, LEFT, WIDTH - RIGHT),
        Scale(FOOT - 0.3, HIGHEST + 0.2, HEIGHT - BOTTOM, TOP - 10),
    )
    found = []
    for key, label in ESTIMATORS.items():
        parts = [canvas.decade_axis(y, range(int(HIGHEST), int(LOWEST), -1))]
        parts.append(canvas.text(LEFT - 6, y(FOOT) + 3.5, write.NO_HIT, anchor="end"))
        parts.append(canvas.line(LEFT, y(0), WIDTH - RIGHT, y(0), "one"))
        parts.append(_truth_axis(x))
        for point in points(cells, key):
            at, css = x(point.truth), f"s-{key} faint"
            if point.value is None:
                says = f"truth {write.log_rate(point.truth)}: no hit"
                parts.append(mark(at, y(FOOT), css, says, shape(SERIES[key].shape, at, y(FOOT), "dot")))
                continue
            ratio = max(point.value - point.truth, LOWEST)
            drawn = ""
            if point.interval is not None:
                ends = [y(max(end - point.truth, LOWEST)) for end in point.interval]
                drawn = canvas.line(at, ends[0], at, ends[1], "interval")
            says = f"truth {write.log_rate(point.truth)}: estimate / truth {write.ratio(point.value - point.truth)}"
            parts.append(mark(at, y(ratio), css, says, drawn + shape(SERIES[key].shape, at, y(ratio), "dot")))
        found.append((label, canvas.svg(f"{label}: estimate over truth, by truth", parts)))
    return found


def _truth_axis(x: Scale) -> str:
    y = HEIGHT - BOTTOM
    parts = [canvas.line(LEFT, y, WIDTH - RIGHT, y, "axis")]
    for decade in range(int(x.low) - 1, 1):
        if x.low <= decade <= x.high:
            place = x(decade)
            parts += [canvas.line(place, y, place, y + 3, "axis")]
            parts += [canvas.text(min(place, WIDTH - 12), y + 14, "1" if decade == 0 else f"1e{decade}")]
    return "".join(parts)
