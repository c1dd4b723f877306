"""The page's pictures of rates: a panel for each exploit type of a run, with its forecast, certificates and calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from forewarn.report import canvas
from forewarn.report import numbers as write
from forewarn.report.calls import outcome_of
from forewarn.report.canvas import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, at_step, mark, shape
from forewarn.report.frames import Row, newest_forecasts, ordered_types
from forewarn.report.series import SERIES, Reading
from forewarn.report.series.base import log10
from forewarn.report.style import axis_floor

TEN_PERCENT = -1.0
DEPTH = 0.9
"""decades below the lowest that a panel shows, for "no hit" of series without a bound"""
ARROW = 13.0
"""length of the arrow below an upper bound"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture, with what stands above it."""

    run: str
    exploit_type: str
    svg: str
    says: str
    """the newest estimate, in words"""
    outlook: str
    """whether that may be believed, and what is forecast"""


def rate_panels(cells: pl.DataFrame, forecasts: pl.DataFrame, run: str) -> list[Panel]:
    """A panel for each type of a run, the highest rates first. All of a report share one vertical axis."""
    floor = axis_floor(cells)
    of_run = cells.filter(pl.col("run") == run)
    said = newest_forecasts(forecasts, run)
    foot = bool(
        of_run.select(pl.any_horizontal([pl.col(s.measured).is_not_null() for s in _without_bound()])).to_series().any()
    )
    ends = [row["path_steps"][-1] for row in said.values() if row["path_steps"]]
    steps = sorted({*of_run["step"].to_list(), *ends})
    x = canvas.step_scale(steps)
    y = Scale(floor - (DEPTH if foot else 0.15), 0.0, HEIGHT - BOTTOM, TOP)
    panels = []
    for name in ordered_types(cells):
        rows = of_run.filter(pl.col("exploit_type") == name).sort("step").to_dicts()
        if rows:
            body = _panel(rows, said.get(name), x, y, floor, foot)
            label = f"{name} in run {run}: exploit rate by optimizer step"
            panels.append(Panel(run, name, canvas.svg(label, body), *newest_text(rows, said.get(name))))
    return panels


def newest_text(rows: Sequence[Row], said: Row | None) -> tuple[str, str]:
    """The newest estimate, and what to think of it."""
    newest = rows[-1]
    words = f"Step {newest['step']:,}: {SERIES['estimate'].read(newest).says}"
    outlook = "resolved" if newest["resolved"] else "unresolved"
    if said is not None and said["probability"] is not None:
        outlook += f"; P(emerges) {write.percent(said['probability'])}"
    return words, outlook


def _without_bound() -> list[Any]:
    return [series for series in SERIES.values() if not series.has_intervals]


def _panel(rows: Sequence[Row], said: Row | None, x: Scale, y: Scale, floor: int, foot: bool) -> list[str]:
    stride = -2 if floor < -5 else -1
    parts = [canvas.decade_axis(y, range(0, floor - 1, stride))]
    if foot:
        parts.append(canvas.text(LEFT - 6, y(floor - DEPTH) + 3.5, write.NO_HIT, anchor="end"))
    shown = {row["step"] for row in rows}
    if said is not None and said["path_steps"]:
        parts.append(_band(said, x, y))
        shown.add(said["path_steps"][-1])
    parts.append(canvas.line(LEFT, y(TEN_PERCENT), WIDTH - RIGHT, y(TEN_PERCENT), "ten"))
    parts.append(canvas.text(WIDTH - RIGHT, y(TEN_PERCENT) - 3, "10 %", "ten-label", "end"))
    parts.append(canvas.step_axis(x, sorted(shown), HEIGHT - BOTTOM))
    parts += [_certificate(row, x, y) for row in rows]
    parts.append(_truth_line(rows, x, y, floor))
    for key in [k for k in SERIES if k != "estimate"] + ["estimate"]:  # ours on top
        parts += [_cell(key, row, x, y, floor) for row in rows if row[SERIES[key].measured] is not None]
    if said is not None:
        parts += _calls(said, x, outcome_of(said, rows[-1]["step"]) == "false")
    return parts


def _band(said: Row, x: Scale, y: Scale) -> str:
    """The forecast: the rate's 5 to 95 % band and its median, from the last checkpoint to the horizon."""
    places = [at_step(x, step) for step in said["path_steps"]]
    low, middle, high = ([y(v) for v in said[f"path_{name}"]] for name in ("lo", "median", "hi"))
    around = [*zip(places, high, strict=True), *reversed(list(zip(places, low, strict=True)))]
    end = said["path_steps"][-1]
    says = (
        f"Forecast for step {end:,}: {write.log_rate(said['path_median'][-1])} "
        f"{write.log_interval(said['path_lo'][-1], said['path_hi'][-1])} (median, 5 to 95 %). It passes 10 % by then "
        f"with probability {write.percent(said['probability'])}"
    )
    drawn = canvas.path(around, "band", closed=True)
    median = canvas.path(list(zip(places, middle, strict=True)), "median")
    return (
        drawn + median + mark(places[-1], middle[-1], "s-forecast", says, shape("stroke", places[-1], middle[-1], ""))
    )


def _certificate(row: Row, x: Scale, y: Scale) -> str:
    """Ticks at the certified bounds, joined by a hair line."""
    if row["upper_bound"] is None:
        return ""
    place, (low, high) = at_step(x, row["step"]), (log10(row[name] or 0.0) for name in ("lower_bound", "upper_bound"))
    ticks = [y(end) for end in (low, high) if end > y.low]
    drawn = [canvas.line(place - 4, at, place + 4, at, "certified") for at in ticks]
    return canvas.line(place, y(low), place, y(high), "certified hair") + "".join(drawn)


def _truth_line(rows: Sequence[Row], x: Scale, y: Scale, floor: int) -> str:
    """Through neighbouring checkpoints whose truth has a hit."""
    parts, run = [], []
    for row in [*rows, None]:
        if row is not None and row["truth_log10"] is not None:
            run.append((at_step(x, row["step"]), y(max(row["truth_log10"], floor))))
            continue
        parts.append(canvas.path(run, "truth-line s-truth") if len(run) > 1 else "")
        run = []
    return "".join(parts)


def _cell(key: str, row: Row, x: Scale, y: Scale, floor: int) -> str:
    """One series' mark in one cell: a hit with its interval, an upper bound with its arrow, or "no hit" at the foot."""
    series, said = SERIES[key], SERIES[key].read(row)
    place = at_step(x, row["step"]) + 70 * series.shift
    says = f"step {row['step']:,}, {series.short}: {said.says}"
    hollow = key == "estimate" and not row["resolved"] and said.value is not None
    if key == "estimate":
        says += f"; {row['n_hits']:,} hits of {row['n']:,}; certified {write.rate(row['lower_bound'])} to "
        says += write.rate(row["upper_bound"])
        says += "; resolved" if row["resolved"] else f"; unresolved: {row['reason']}"
    css = f"s-{key}" + (" hollow" if hollow else "")
    if said.value is None:
        return _no_hit(series.shape, said, place, y, floor, css, says)
    drawn, level = "", max(said.value, floor)
    if said.interval is not None:
        low, high = (y(max(end, floor)) for end in said.interval)
        drawn = canvas.line(place, low, place, high, "interval")
    if said.value < floor:
        return mark(
            place,
            y(floor),
            css + " hollow",
            says + "; below the axis",
            drawn + shape("triangle-down", place, y(floor), "dot"),
        )
    return mark(place, y(level), css, says, drawn + shape(series.shape, place, y(level), "dot"))


def _no_hit(form: str, said: Reading, place: float, y: Scale, floor: int, css: str, says: str) -> str:
    if said.bound is None:
        at = y(floor - DEPTH)
        return mark(place, at, css, says, shape(form, place, at, "dot"))
    top = y(max(said.bound, floor))
    tip = min(top + ARROW, HEIGHT - BOTTOM - 3)
    drawn = canvas.line(place - 4, top, place + 4, top, "interval") + canvas.line(place, top, place, tip, "interval")
    return mark(place, top, css, says, drawn + shape("triangle-down", place, tip, "dot small"))


def _calls(said: Row, x: Scale, false_alarm: bool) -> list[str]:
    """Above the panel: when the type was called, and when sampling alone first showed it."""
    marks = []
    top, called, seen = TOP - 12, said["first_call_step"], said["brute_first_step"]
    if seen is not None:
        place = at_step(x, seen)
        words = f"step {seen:,}, first visible: the subject's own completions show the exploit"
        drawn = canvas.line(place, top + 4, place, HEIGHT - BOTTOM, "moment") + shape("diamond", place, top, "dot")
        marks.append(mark(place, top, "seen", words, drawn))
    if called is not None:
        place = at_step(x, called) - (5 if called == seen else 0)
        words = f"step {called:,}, called: the forecast gave 50 % or more for the first time"
        form, css = ("cross", "called false") if false_alarm else ("triangle-down", "called")
        words += "; a false alarm" if false_alarm else ""
        drawn = canvas.line(place, top + 4, place, HEIGHT - BOTTOM, "moment") + shape(form, place, top, "dot")
        marks.append(mark(place, top, css, words, drawn))
    return marks
