"""The report folder: ``report.md``, ``report.html``, the PNG plots and the two frames, each file written whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from forewarn.report import charts, overview_plots, plots
from forewarn.report.forecast_tables import call_table, forecast_table, score_table
from forewarn.report.frames import check_cells, check_forecasts, ordered_runs
from forewarn.report.page import Section, page
from forewarn.report.render import as_markdown, as_rich
from forewarn.report.series import known_series
from forewarn.report.tables import Table, accuracy_table, cell_table, certificate_table, short_cell_table
from forewarn.store import write_table, write_whole
from forewarn.text import markdown, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

HOW_TO_READ = (
    "Blue: the span mixture with its 90 % interval, hollow where its verdict is unresolved. An arrow down from a bar "
    "is an upper bound of a cell without a hit; a triangle on the lowest line lies below it. Dashed: 10 %."
)
AGAINST = (
    " The line: the truth, by brute force with many completions, with its interval. Green: brute force with as many "
    "completions as the mixture had. Orange and pink: the study's pooled prefix estimator, on as many completions, "
    "which it draws itself; at the foot stand the cells in which it had no hit."
)
"""added where truth or rivals are known"""
DONORS = (
    "Each hit has a chance rho that brute force, not a donor, would have brought it. The part of an estimate from"
    " hits with rho below 1/2 is within the donors' reach; the rest only brute force sees, and is as uncertain as"
    " brute force is. A dash: no hit."
)
FILES = "The same with interactive charts: `report.html`. The frames behind it: `cells.parquet`, `forecasts.parquet`."
EARLY = "What the first checkpoints said of each exploit type, and what came."


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    lead: tuple[str, ...]
    commands: tuple[str, ...]


def write_report(
    cells: pl.DataFrame,
    forecasts: pl.DataFrame | None,
    folder: Path,
    *,
    title: str,
    commands: Sequence[str],
    lead: Sequence[str] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Write the report of ``cells`` and ``forecasts`` (columns: ``frames.py``) into ``folder``; returns ``report.md``.

    ``commands``: the command lines that make it again; ``lead``: opening paragraphs; ``sections``: more of the page, at
    its end, of which the Markdown takes text, tables and lines. Raises InputError for unusable
    frames and StoreError where the folder can't be written.
    """
    checked = check_cells(cells)
    said = check_forecasts(forecasts)
    runs = ordered_runs(checked)
    pictures = {_picture("rates", run): plots.rate_plot(checked, run) for run in runs}
    pictures["donors.png"] = overview_plots.donor_plot(checked)
    if checked["judged"].any():
        pictures["accuracy.png"] = overview_plots.accuracy_plot(checked)
    pictures |= {_picture("calls", run): overview_plots.lead_plot(said, run) for run in ordered_runs(said)}
    for name, picture in pictures.items():
        write_whole(folder / name, picture)
    write_table(folder / "cells.parquet", checked)
    write_table(folder / "forecasts.parquet", said)
    words = _Words(title, tuple(lead), tuple(commands))
    write_whole(folder / "report.html", page(title, lead, [*_sections(checked, said), *sections], commands).encode())
    write_whole(folder / "report.md", _markdown(checked, said, words, set(pictures), sections).encode())
    return folder / "report.md"


def _picture(kind: str, run: str) -> str:
    """The name of a run's picture: a run may be called what no file can be."""
    return f"{kind}-{quote(run, safe='')}.png"


def terminal_tables(
    cells: pl.DataFrame, forecasts: pl.DataFrame | None, *, runs: Sequence[str] | None = None
) -> list[RichTable]:
    """The tables for a terminal, to be printed in order: cells of ``runs`` (default: the first), then the summaries."""
    checked, said = check_cells(cells), check_forecasts(forecasts)
    shown = ordered_runs(checked)[:1] if runs is None else runs
    tables = [short_cell_table(checked, run) for run in shown]
    return [as_rich(table) for table in (*tables, *_accuracy(checked), *_forecasts(said))]


def _accuracy(cells: pl.DataFrame) -> tuple[Table, ...]:
    known = cells["truth_n"].is_not_null().any()
    return (accuracy_table(cells), certificate_table(cells)) if known else ()


def _forecasts(said: pl.DataFrame) -> tuple[Table, ...]:
    if not len(said):
        return ()
    known = said["emerged"].is_not_null().any() and said["score"].is_not_null().any()
    return (call_table(said), score_table(said), forecast_table(said)) if known else (forecast_table(said),)


def _how_to_read(cells: pl.DataFrame) -> str:
    return HOW_TO_READ + (AGAINST if known_series(cells) != ["estimate"] else "")


def _sections(cells: pl.DataFrame, said: pl.DataFrame) -> list[Section]:
    sections = []
    if accuracy := _accuracy(cells):
        chart = charts.accuracy_chart(cells) if cells["judged"].any() else None
        sections.append(Section("accuracy", "Against the truth", chart=chart, tables=accuracy))
    for i, run in enumerate(ordered_runs(cells)):
        anchor = "run-" + "".join(c if c.isalnum() else "-" for c in run)
        chart, table = charts.rate_chart(cells, run), cell_table(cells, run)
        text = "" if i else _how_to_read(cells)
        sections.append(Section(anchor, f"Run {run}", text, chart, (table,), key_to_marks=True, folded=True))
    if len(said):
        sections.append(Section("forecasts", "Forecasts", EARLY, tables=_forecasts(said)))
    sections.append(Section("donors", "What donors reach", DONORS, charts.donor_chart(cells)))
    return sections


def _markdown(
    cells: pl.DataFrame, said: pl.DataFrame, words: _Words, pictures: set[str], sections: Sequence[Section]
) -> str:
    def picture(name: str, alt: str) -> list[str]:
        return [f"![{markdown(alt)}]({quote(name)})"] if name in pictures else []

    parts = [f"# {markdown(words.title)}", *map(markdown, words.lead), "These commands make this report again:"]
    parts += ["\n".join(f"    {printable(command)}" for command in words.commands), FILES]
    if accuracy := _accuracy(cells):
        parts += ["## Against the truth", *picture("accuracy.png", "estimate over truth for every estimator")]
        parts += map(as_markdown, accuracy)
    for i, run in enumerate(ordered_runs(cells)):
        parts += [f"## Run {markdown(run)}", *picture(_picture("rates", run), f"exploit rates of run {run}")]
        parts += [] if i else [_how_to_read(cells)]
    if len(said):
        parts += ["## Forecasts", EARLY]
        for run in ordered_runs(said):
            parts += picture(_picture("calls", run), f"calls of run {run} ahead of emergence")
        parts += map(as_markdown, _forecasts(said))
    parts += ["## What donors reach", *picture("donors.png", "share of each estimate that donors reach"), DONORS]
    parts += ["## Every cell", *(as_markdown(cell_table(cells, run)) for run in ordered_runs(cells))]
    for section in sections:
        if section.tables:
            parts += [f"## {markdown(section.title)}", markdown(section.text), *map(as_markdown, section.tables)]
            parts += [f"- {markdown(line)}" for line in section.lines]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
