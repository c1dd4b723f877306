"""The report of any run folder: its frames, the answer in words, label counts and transcripts of hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from forewarn.errors import InputError
from forewarn.report.frames import CELL_COLUMNS, FORECAST_COLUMNS, cell_row, forecast_row
from forewarn.report.page import Section
from forewarn.report.run_tables import cells_table, no_hit_lines, outcomes_text
from forewarn.report.transcripts import MOST_TRANSCRIPTS, transcripts_html
from forewarn.report.write import write_report
from forewarn.study import CellEstimate, RunResults, TypeForecast, read_results, run_forecasts
from forewarn.study.results.forecasts import THRESHOLD, by_run, run_name
from forewarn.study.results.transcripts import read_transcripts

LIKELY = 0.5
"""probability from which the opening words name a type"""
REPORT_FOLDER = "report"


def report_run(
    root: Path, folder: Path | None = None, *, horizon_step: int | None = None, threshold: float = THRESHOLD
) -> Path:
    """Write the report of the run folder ``root`` into ``folder`` (default: its own ``report``); returns report.md.

    Raises StoreError where the folder is not a study's or the report can't be written, and InputError where no cell is
    measured yet, or the horizon is one that a run has reached.
    """
    results = read_results(root)
    if not results.estimates:
        raise InputError(
            f"{root} has no measured cell yet ({len(results.cells)} are planned): wait for the first, then give this "
            "command again"
        )
    said = run_forecasts(
        results.estimates, study=results.study, seed=results.seed, horizon_step=horizon_step, threshold=threshold
    )
    return write_report(
        cells_frame(results),
        forecasts_frame(results, said),
        folder or root / REPORT_FOLDER,
        title=f"Study {results.study}",
        commands=(f"forewarn report {root}",),
        lead=lead(results, said, threshold),
        sections=run_sections(results),
    )


def cells_frame(results: RunResults) -> pl.DataFrame:
    """The whole cells as the report's frame. Checkpoints of one run at the same step stand under their own ids."""
    places = Counter((run_name(c.checkpoint_id, results.study), c.step, c.exploit_type) for c in results.estimates)
    rows = [cell_row(_run_of(cell, results.study, places), cell.step, cell) for cell in results.estimates]
    return pl.DataFrame(rows, schema=CELL_COLUMNS)


def _run_of(cell: CellEstimate, study: str, places: Counter[tuple[str, int, str]]) -> str:
    run = run_name(cell.checkpoint_id, study)
    return run if places[run, cell.step, cell.exploit_type] == 1 else cell.checkpoint_id


def forecasts_frame(results: RunResults, said: Sequence[TypeForecast]) -> pl.DataFrame:
    """The forecasts as the report's frame; what will come of them is not known, but for a rate that has passed."""
    over = _passed(results)
    rows = []
    for one in said:
        row: dict[str, object] = {"run": one.run, "exploit_type": one.exploit_type, "n_checkpoints": len(one.steps)}
        if one.forecast is not None:
            row |= forecast_row(one.forecast)
        passed = over.get((one.run, one.exploit_type))
        row |= {
            "emerged": None if passed is None else True,
            "step_over_10pct": passed,
            "first_call_step": one.first_call_step,
            "brute_first_step": one.first_visible_step,
        }
        rows.append({name: row.get(name) for name in FORECAST_COLUMNS})
    return pl.DataFrame(rows, schema=FORECAST_COLUMNS)


def _passed(results: RunResults) -> dict[tuple[str, str], int]:
    """(run, type) -> the first step at which a resolved estimate is above 10 %."""
    found: dict[tuple[str, str], int] = {}
    for cell in sorted(results.estimates, key=lambda cell: cell.step):
        e = cell.estimate
        if e.resolved and e.log10_p is not None and 10**e.log10_p > THRESHOLD:
            found.setdefault((run_name(cell.checkpoint_id, results.study), cell.exploit_type), cell.step)
    return found


def lead(results: RunResults, said: Sequence[TypeForecast], threshold: float) -> list[str]:
    """The answer first: which types are likely to emerge, how surely and when; then what it rests on."""
    words = []
    for run, mine in by_run(said).items():
        likely = [one for one in mine if one.forecast is not None and (one.forecast.probability or 0) >= LIKELY]
        without = [one for one in mine if one.forecast is None]
        named = "; ".join(_likely(one) for one in likely)
        if len(without) == len(mine):
            words.append(f"Run {run}: no forecast yet, as {without[0].why_none}.")
        elif named:
            words.append(f"Run {run}: likely to pass {threshold:.0%}: {named}.")
        else:
            words.append(f"Run {run}: none of its {len(mine)} exploit types is likely to pass {threshold:.0%}.")
    unresolved = sum(not cell.estimate.resolved for cell in results.estimates)
    words.append(
        f"{len(results.estimates)} of {len(results.cells)} cells (a checkpoint and an exploit type) are measured; "
        f"{unresolved} of them are unresolved: their intervals can't be believed yet. Probabilities of forecasts are "
        "not calibrated on real runs."
    )
    return words


def _likely(one: TypeForecast) -> str:
    assert one.forecast is not None
    median = one.forecast.step_median
    when = f", around step {median:,.0f}" if median is not None else ""
    return f"{one.exploit_type} ({one.forecast.probability:.0%} by step {one.forecast.horizon_step:,}{when})"


def run_sections(results: RunResults) -> list[Section]:
    """Label counts of every cell with remedies, and transcripts of the hits with the most weight."""
    total = Counter[str]()
    for cell in results.cells:
        total.update(cell.outcomes)
    text = f"In all: {outcomes_text(total)}." if total else ""
    sections = [
        Section(
            "labels", "What the completions were", text, tables=(cells_table(results.cells),),
            lines=tuple(no_hit_lines(results.cells)),
        )
    ]  # fmt: skip
    hits = results.hits.sort("log_weight", descending=True)
    shown = hits["completion_id"].head(MOST_TRANSCRIPTS).to_list()
    if shown:
        more = hits.height - len(shown)
        which = (
            f"The {len(shown)} hits with the most weight; {more:,} more are in the run folder." if more else "All hits."
        )
        sections.append(
            Section(
                "transcripts", "Transcripts of hits", which, html=transcripts_html(read_transcripts(results, shown))
            )
        )
    return sections
