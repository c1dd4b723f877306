"""The page's sections that need no more than the two frames: rates, calls, forecasts, accuracy, what donors reach."""

from __future__ import annotations

from html import escape

import polars as pl

from forewarn.report import canvas
from forewarn.report.anchors import breakable, panel_anchor, run_anchor
from forewarn.report.calls import TypeCall, calls_html, is_told, run_calls
from forewarn.report.forecast_tables import call_table, forecast_table, score_table
from forewarn.report.frames import ordered_runs, ordered_types
from forewarn.report.grids import accuracy_panels, reach_html
from forewarn.report.page import Names, Section
from forewarn.report.panels import rate_panels
from forewarn.report.series import SERIES, known_series
from forewarn.report.table import Table
from forewarn.report.tables import accuracy_table, cell_table, certificate_table
from forewarn.text import printable

HOW_TO_READ = (
    "One panel for each exploit type: its estimated rate by optimizer step, with the 90 % interval. Point to a mark, "
    "or go to it with Tab and the arrow keys, to read its numbers."
)
AGAINST = (
    " Truth is brute force with many completions; the rivals are drawn beside. Brute force has as many completions as "
    "the mixture. The study's pooled prefix estimators draw as many of their own; at the foot stand the cells in which "
    "they had no hit."
)
"""added where truth or rivals are known"""
DONORS = (
    "Each hit has a chance rho that brute force, not a donor, would have brought it. The part of an estimate from"
    " hits with rho below 1/2 is within the donors' reach; the rest only brute force sees, and is as uncertain as"
    " brute force is. A dash: no hit; empty: not measured."
)
EARLY = "What the first checkpoints said of each exploit type, and what came."
CALL_KEY = (
    '<ul class="key track"><li><i class="called"></i>called</li><li><i class="seen"></i>first visible</li>'
    '<li><i class="passed"></i>above 10 %</li><li><i class="called false"></i>false alarm</li></ul>'
)
CALLS = (
    "A type is called at the first checkpoint whose own forecast gives 50 % or more. The hack is first visible where "
    "the subject's own completions show it: a call is early where it comes before."
)

CERTIFIED = '<path class="certified" d="M7 2H15M7 14H15"/><path class="certified hair" d="M11 2V14"/>'


def page_sections(cells: pl.DataFrame, said: pl.DataFrame) -> list[Section]:
    """The sections of two checked frames."""
    sections = []
    if accuracy := accuracy_tables(cells):
        pictures = ""
        if cells["judged"].any():
            pictures = _grid(
                [f'<figure class="panel"><h3>{escape(name)}</h3>{svg}</figure>' for name, svg in accuracy_panels(cells)]
            )
        sections.append(Section("accuracy", "Against the truth", html=pictures, tables=accuracy))
    for i, run in enumerate(ordered_runs(cells)):
        text = "" if i else how_to_read(cells)
        html = ("" if i else legend(cells, said)) + _panels(cells, said, run)
        table = cell_table(cells, run)
        sections.append(
            Section(
                run_anchor(run), f"Rates of run {run}", text, tables=(table,), html=html, folded="Every cell", run=run
            )
        )
    calls = [one for run in ordered_runs(said) for one in run_calls(cells, said, run)] if len(said) else []
    if calls:
        by_run = {run: [one for one in calls if one.run == run] for run in ordered_runs(said)}
        key = CALL_KEY if any(map(is_told, calls)) else ""
        html = key + "".join(_calls(run, mine, len(by_run) > 1) for run, mine in by_run.items() if mine)
        sections.append(Section("calls", "Calls", CALLS, html=html))
    if len(said):
        sections.append(Section("forecasts", "Forecasts", EARLY, tables=forecast_tables(said)))
    reach = "".join(reach_html(cells, run) for run in ordered_runs(cells))
    sections.append(Section("donors", "What donors reach", DONORS, html=reach))
    return sections


def page_names(cells: pl.DataFrame) -> Names:
    """What the page of a checked frame can be filtered by."""
    return Names(
        tuple(printable(run) for run in ordered_runs(cells)), tuple(printable(t) for t in sorted(ordered_types(cells)))
    )


def how_to_read(cells: pl.DataFrame) -> str:
    return HOW_TO_READ + (AGAINST if known_series(cells) != ["estimate"] else "")


def accuracy_tables(cells: pl.DataFrame) -> tuple[Table, ...]:
    known = cells["truth_n"].is_not_null().any()
    return (accuracy_table(cells), certificate_table(cells)) if known else ()


def forecast_tables(said: pl.DataFrame) -> tuple[Table, ...]:
    if not len(said):
        return ()
    # where only what has passed 10 % has an outcome, scores would be of nothing but successes
    known = (~said["emerged"]).any() and said["score"].is_not_null().any()
    return (call_table(said), score_table(said), forecast_table(said)) if known else (forecast_table(said),)


def _grid(figures: list[str]) -> str:
    return f'<div class="panels">{"".join(figures)}</div>'


def _panels(cells: pl.DataFrame, said: pl.DataFrame, run: str) -> str:
    figures = []
    for panel in rate_panels(cells, said, run):
        name = escape(printable(panel.exploit_type))
        figures.append(
            f'<figure class="panel" id="{panel_anchor(run, panel.exploit_type)}" data-run="{escape(printable(run))}" '
            f'data-type="{name}"><h3>{breakable(panel.exploit_type)}</h3><p class="note">{escape(panel.says)}<br>'
            f"{escape(panel.outlook)}</p>{panel.svg}</figure>"
        )
    return _grid(figures)


def _calls(run: str, mine: list[TypeCall], several: bool) -> str:
    name = f"<h3>Run {escape(printable(run))}</h3>" if several else ""
    return f'<div data-run="{escape(printable(run))}">{name}{calls_html(mine)}</div>'


def legend(cells: pl.DataFrame, said: pl.DataFrame) -> str:
    """What the marks of rate panels mean: the series, which can be taken away, then the rest."""

    def sample(drawn: str) -> str:
        return f'<svg viewBox="0 0 22 16" aria-hidden="true">{drawn}</svg>'

    def dot(key: str, extra: str = "") -> str:
        line = canvas.line(11, 1, 11, 15, "interval") if SERIES[key].has_intervals else ""
        return f'<g class="mark s-{key}{extra}">{line}{canvas.shape(SERIES[key].shape, 11, 8, "dot")}</g>'

    items = [(key, sample(dot(key)), SERIES[key].label) for key in known_series(cells)]
    rest = [
        (sample(dot("estimate", " hollow")), "unresolved"),
        (sample('<g class="mark s-estimate"><path class="interval" d="M7 3H15M11 3V12"/>'
                f'{canvas.shape("triangle-down", 11, 12, "dot")}</g>'), "no hit: upper bound"),
        (sample(CERTIFIED), "certified bounds"),
        (sample('<path class="ten" d="M1 8H21"/>'), "10 %"),
    ]  # fmt: skip
    if (cells["log10_p"] < -8).any():
        rest.insert(
            1, (sample(f'<g class="mark hollow">{canvas.shape("triangle-down", 11, 8, "dot")}</g>'), "below the axis")
        )
    if said["path_steps"].is_not_null().any():
        band = '<path class="band" d="M1 6L21 1V15L1 10Z"/><path class="median" d="M1 8H21"/>'
        rest.append((sample(band), "forecast to the horizon: median, 5 to 95 %"))
    if said["first_call_step"].is_not_null().any():
        rest.append((sample(f'<g class="mark called">{canvas.shape("triangle-down", 11, 8, "dot")}</g>'), "called"))
    if said["brute_first_step"].is_not_null().any():
        rest.append((sample(f'<g class="mark seen">{canvas.shape("diamond", 11, 8, "dot")}</g>'), "first visible"))
    toggles, toggle = len(items) > 1, ' data-series="{}"'
    named = [f"<li{toggle.format(key) if toggles else ''}>{drawn}{escape(label)}</li>" for key, drawn, label in items]
    return f'<ul class="key">{"".join(named)}{"".join(f"<li>{drawn}{words}</li>" for drawn, words in rest)}</ul>'
