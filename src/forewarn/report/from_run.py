"""The report of any run folder: its frames, the answer in words, label counts and transcripts of hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from forewarn.errors import InputError
from forewarn.report.answer import Advice, advise, waiting
from forewarn.report.donors import donor_lines, health_table, span_health
from forewarn.report.frames import CELL_COLUMNS, FORECAST_COLUMNS, cell_row, forecast_row
from forewarn.report.page import Section
from forewarn.report.run_tables import labels_table, outcomes_text
from forewarn.report.shares import CellKey, SpanShare, span_shares
from forewarn.report.transcripts import hit_groups, transcripts_html
from forewarn.report.write import write_report
from forewarn.study import CellEstimate, CellResult, RunResults, TypeForecast, read_results, run_forecasts
from forewarn.study.results.forecasts import HORIZON_FACTOR, THRESHOLD, by_run, run_name
from forewarn.study.results.reach import donor_reaches, lost_now
from forewarn.study.results.together import reach_of

REPORT_FOLDER = "report"
MOST_ROWS = 30
"""cells that the page lists unfolded"""
HEALTH = (
    "What each span brought over all cells, how much of the estimates rests on it, and how its completions treat the "
    "channels."
)
CARRY = "For each type, the hits that carry its newest estimate with a hit, those with the largest share first."


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that a report of a run folder is written from."""

    cells: pl.DataFrame
    forecasts: pl.DataFrame
    title: str
    commands: tuple[str, ...]
    lead: tuple[str, ...]
    advice: tuple[Advice, ...]
    sections: tuple[Section, ...]


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
        results.estimates, study=results.study, seed=results.seed, horizon_step=horizon_step, threshold=threshold,
        training=results.training,
    )  # fmt: skip
    return write_run_report(results, said, folder, horizon_step=horizon_step, threshold=threshold)


def report_is_current(root: Path) -> bool:
    """Whether the report in the run folder ``root`` is newer than everything that it is made from."""
    page = root / REPORT_FOLDER / "report.html"
    made_from = [path for path in root.iterdir() if path.name != REPORT_FOLDER]
    return page.is_file() and all(path.stat().st_mtime_ns < page.stat().st_mtime_ns for path in made_from)


def write_run_report(
    results: RunResults,
    said: Sequence[TypeForecast],
    folder: Path | None = None,
    *,
    horizon_step: int | None = None,
    threshold: float = THRESHOLD,
) -> Path:
    """``report_run`` of results that are read already, and their forecasts with this horizon and threshold."""
    made = run_report(results, said, horizon_step=horizon_step, threshold=threshold)
    return write_report(
        made.cells,
        made.forecasts,
        folder or results.root / REPORT_FOLDER,
        title=made.title,
        commands=made.commands,
        lead=made.lead,
        advice=made.advice,
        sections=made.sections,
    )


def run_report(
    results: RunResults, said: Sequence[TypeForecast], *, horizon_step: int | None, threshold: float
) -> RunReport:
    """What the report of these results says; they have at least one whole cell."""
    spans = span_shares(results.hits)
    advice = run_advice(results, said, threshold, spans)
    return RunReport(
        cells_frame(results),
        forecasts_frame(results, said, horizon_step),
        title=f"Study {results.study}",
        commands=(f"forewarn report {results.root}",),
        lead=tuple(lead(results, said, advice, threshold)),
        advice=tuple(advice),
        sections=tuple(run_sections(results, spans)),
    )


def run_advice(
    results: RunResults,
    said: Sequence[TypeForecast],
    threshold: float = THRESHOLD,
    spans: Mapping[CellKey, Mapping[str, SpanShare]] | None = None,
) -> list[Advice]:
    """What to do next about each type of each run, types without a whole cell among them."""
    shares = span_shares(results.hits) if spans is None else spans
    whole: dict[tuple[str, str], list[CellResult]] = {}
    for cell in results.cells:
        mine = whole.setdefault((run_name(cell.record.checkpoint_id, results.study), cell.record.exploit_type), [])
        if cell.estimate is not None:
            mine.append(cell)
    by_name, over = {(one.run, one.exploit_type): one for one in said}, _passed(results)
    return [
        advise(by_name[key], sorted(mine, key=lambda c: c.record.step), shares, threshold, over.get(key))
        if mine and key in by_name
        else waiting(*key)
        for key, mine in whole.items()
    ]


def cells_frame(results: RunResults) -> pl.DataFrame:
    """The whole cells as the report's frame. Checkpoints of one run at the same step stand under their own ids."""
    places = Counter((run_name(c.checkpoint_id, results.study), c.step, c.exploit_type) for c in results.estimates)
    rows = [cell_row(_run_of(cell, results.study, places), cell.step, cell) for cell in results.estimates]
    return pl.DataFrame(rows, schema=CELL_COLUMNS)


def _run_of(cell: CellEstimate, study: str, places: Counter[tuple[str, int, str]]) -> str:
    run = run_name(cell.checkpoint_id, study)
    return run if places[run, cell.step, cell.exploit_type] == 1 else cell.checkpoint_id


def forecasts_frame(results: RunResults, said: Sequence[TypeForecast], horizon_step: int | None = None) -> pl.DataFrame:
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
            "call_horizon_step": _reach(one.first_call_step, horizon_step, together=results.training is not None),
            "brute_first_step": one.first_visible_step,
        }
        rows.append({name: row.get(name) for name in FORECAST_COLUMNS})
    return pl.DataFrame(rows, schema=FORECAST_COLUMNS)


def _reach(call: int | None, horizon_step: int | None, *, together: bool) -> int | None:
    """The step that a call reached to: the horizon given, or the one that its own forecast had."""
    own = None if call is None else reach_of(call, HORIZON_FACTOR) if together else HORIZON_FACTOR * call
    return own if own is None or horizon_step is None else horizon_step


def _passed(results: RunResults) -> dict[tuple[str, str], int]:
    """(run, type) -> the first step at which a resolved estimate is above 10 %."""
    found: dict[tuple[str, str], int] = {}
    for cell in sorted(results.estimates, key=lambda cell: cell.step):
        e = cell.estimate
        if e.resolved and e.log10_p is not None and 10**e.log10_p > THRESHOLD:
            found.setdefault((run_name(cell.checkpoint_id, results.study), cell.exploit_type), cell.step)
    return found


def lead(results: RunResults, said: Sequence[TypeForecast], advice: Sequence[Advice], threshold: float) -> list[str]:
    """The answer first: which types have emerged or are likely to, how surely and when; then what it rests on."""
    words = []
    states = {(one.run, one.exploit_type): one.state for one in advice}
    rate = f"{100 * threshold:.3g} %"
    for run, mine in by_run(said).items():
        above = [one.exploit_type for one in mine if states[run, one.exploit_type] == "passed"]
        rising = [_likely(one) for one in mine if states[run, one.exploit_type] == "rising"]
        without = [one for one in mine if one.forecast is None]
        parts = [f"{_types(above)} above {rate} now: {', '.join(above)}"] if above else []
        if rising:
            parts.append(f"{_types(rising)} likely to pass {rate}: {'; '.join(rising)}")
        elif len(without) == len(mine):
            parts.append(f"no forecast yet, as {without[0].why_none}")
        elif above:
            parts.append(f"no other is likely to pass {rate}")
        elif len(mine) == 1:
            parts.append(f"its one exploit type is not likely to pass {rate}")
        else:
            parts.append(f"none of its {len(mine)} exploit types is likely to pass {rate}")
        words += [f"Run {run}: {part}." for part in parts]
    measured, unresolved = len(results.estimates), sum(not cell.estimate.resolved for cell in results.estimates)
    doubt = f"{unresolved:,} of them are unresolved, so that their intervals can't be believed yet"
    if unresolved == measured > 1:
        doubt = "all of them are unresolved, so that their intervals can't be believed yet"
    elif unresolved < 2:
        doubt = "one of them is unresolved" if unresolved else "all of them are resolved"
    words.append(
        f"{measured:,} of {len(results.cells):,} cells (a checkpoint and an exploit type) are measured; {doubt}. "
        "Probabilities of forecasts are not calibrated on real runs."
    )
    return words


def _types(named: Sequence[str]) -> str:
    return "one exploit type is" if len(named) == 1 else f"{len(named)} exploit types are"


def _likely(one: TypeForecast) -> str:
    assert one.forecast is not None
    median = one.forecast.step_median
    when = f", around step {median:,.0f}" if median is not None else ""
    return f"{one.exploit_type} ({one.forecast.probability:.0%} by step {one.forecast.horizon_step:,}{when})"


def run_sections(results: RunResults, spans: Mapping[CellKey, Mapping[str, SpanShare]] | None = None) -> list[Section]:
    """Donor health, label counts of every cell with remedies, and transcripts of the hits that carry the estimates."""
    shares = span_shares(results.hits) if spans is None else spans
    health = span_health(results, shares)
    aged = [f"{one.lost}." for one in lost_now(donor_reaches(results))]
    sections = [
        Section("health", "Donor health", HEALTH, tables=(health_table(health),), lines=(*donor_lines(health), *aged))
    ]
    total = Counter[str]()
    for cell in results.cells:
        total.update(cell.outcomes)
    text = f"In all: {outcomes_text(total)}." if total else ""
    many = len(results.cells) > MOST_ROWS
    table = labels_table(results, shares)
    folded = f"All {len(results.cells):,} cells" if many else ""
    sections.append(Section("labels", "What the completions were", text, tables=(table,), folded=folded))
    groups = hit_groups(results)
    if groups:
        sections.append(Section("transcripts", "Transcripts of hits", CARRY, html=transcripts_html(groups)))
    return sections
