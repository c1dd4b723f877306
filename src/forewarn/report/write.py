"""The report folder: ``report.md``, ``report.html``, the PNG plots and the two frames, each file written whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from forewarn.report import overview_plots, plots
from forewarn.report.answer import Advice, advice_table, answer_html
from forewarn.report.frames import check_cells, check_forecasts, ordered_runs
from forewarn.report.page import Section, page
from forewarn.report.render import as_markdown, as_rich
from forewarn.report.sections import (
    DONORS,
    EARLY,
    accuracy_tables,
    forecast_tables,
    how_to_read,
    page_names,
    page_sections,
)
from forewarn.report.tables import cell_table, short_cell_table
from forewarn.store import write_table, write_whole
from forewarn.text import markdown, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

FILES = (
    "The same as one page, with more in it: `report.html`. The frames behind it: `cells.parquet`, `forecasts.parquet`."
)


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    lead: tuple[str, ...]
    commands: tuple[str, ...]
    advice: tuple[Advice, ...]


def write_report(
    cells: pl.DataFrame,
    forecasts: pl.DataFrame | None,
    folder: Path,
    *,
    title: str,
    commands: Sequence[str],
    lead: Sequence[str] = (),
    sections: Sequence[Section] = (),
    advice: Sequence[Advice] = (),
) -> Path:
    """Write the report of ``cells`` and ``forecasts`` (columns: ``frames.py``) into ``folder``; returns ``report.md``.

    ``commands``: the command lines that make it again; ``lead``: opening paragraphs; ``advice``: what to do next, below
    them; ``sections``: more of the page, at its end, of which the Markdown takes text, tables and lines. Raises
    InputError for unusable frames and StoreError where the folder can't be written.
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
    words = _Words(title, tuple(lead), tuple(commands), tuple(advice))
    html = whole_page(checked, said, title=title, commands=commands, lead=lead, sections=sections, advice=advice)
    write_whole(folder / "report.html", html.encode())
    write_whole(folder / "report.md", _markdown(checked, said, words, set(pictures), sections).encode())
    return folder / "report.md"


def whole_page(
    cells: pl.DataFrame,
    said: pl.DataFrame,
    *,
    title: str,
    commands: Sequence[str],
    lead: Sequence[str] = (),
    sections: Sequence[Section] = (),
    advice: Sequence[Advice] = (),
    version: str = "",
) -> str:
    """The HTML page of two checked frames; ``version``: of a run that a server follows."""
    shown = [*page_sections(cells, said), *sections]
    return page(title, lead, shown, commands, names=page_names(cells), answer=answer_html(advice), version=version)


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
    return [as_rich(table) for table in (*tables, *accuracy_tables(checked), *forecast_tables(said))]


def _markdown(
    cells: pl.DataFrame, said: pl.DataFrame, words: _Words, pictures: set[str], sections: Sequence[Section]
) -> str:
    def picture(name: str, alt: str) -> list[str]:
        return [f"![{markdown(alt)}]({quote(name)})"] if name in pictures else []

    parts = [f"# {markdown(words.title)}", *map(markdown, words.lead)]
    parts += [as_markdown(advice_table(words.advice), heading="##")] if words.advice else []
    parts += ["These commands make this report again:"]
    parts += ["\n".join(f"    {printable(command)}" for command in words.commands), FILES]
    if accuracy := accuracy_tables(cells):
        parts += ["## Against the truth", *picture("accuracy.png", "estimate over truth for every estimator")]
        parts += map(as_markdown, accuracy)
    for i, run in enumerate(ordered_runs(cells)):
        parts += [f"## Run {markdown(run)}", *picture(_picture("rates", run), f"exploit rates of run {run}")]
        parts += [] if i else [how_to_read(cells)]
    if len(said):
        parts += ["## Forecasts", EARLY]
        for run in ordered_runs(said):
            parts += picture(_picture("calls", run), f"calls of run {run} ahead of emergence")
        parts += map(as_markdown, forecast_tables(said))
    parts += ["## What donors reach", *picture("donors.png", "share of each estimate that donors reach"), DONORS]
    parts += ["## Every cell", *(as_markdown(cell_table(cells, run)) for run in ordered_runs(cells))]
    for section in sections:
        if section.tables:
            parts += [f"## {markdown(section.title)}", markdown(section.text), *map(as_markdown, section.tables)]
            parts += [f"- {markdown(line)}" for line in section.lines]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
