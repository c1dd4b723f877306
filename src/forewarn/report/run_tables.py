"""Tables of any run folder: forecasts, cells with label counts, hits; and what to do about a cell without hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from forewarn.report import numbers as write
from forewarn.report.remedies import remedy, without_hits
from forewarn.report.shares import CellKey, SpanShare
from forewarn.report.table import Table
from forewarn.study import CellResult, RunResults, TypeForecast
from forewarn.study.results.forecasts import by_run, run_name
from forewarn.study.results.read import OUTCOMES

ID_LENGTH = 12
"""characters of a completion's id that tables show"""
ALWAYS = ("exploit", "inconsistent", "invalid")
"""labels that have a column even where no completion has them: that there are none matters"""
MOST_HITS = 20
"""hits that a table shows, those with the most weight first"""


LEAST_LIFT = 0.1
"""logits; a relative that lifts less is not named"""


def forecasts_table(forecasts: Sequence[TypeForecast], threshold: float) -> Table:
    """What each type's checkpoints say of it, the likeliest to emerge first."""
    grouped = by_run(forecasts)
    rows = [(run, *_forecast_cells(one)) for run, mine in grouped.items() for one in mine]
    why = any(one.forecast is not None and one.forecast.reasons is not None for one in forecasts)
    told = [(_why(one),) if why else () for mine in grouped.values() for one in mine]
    horizons = sorted({one.forecast.horizon_step for one in forecasts if one.forecast is not None})
    reach = f"by step {', '.join(f'{step:,}' for step in horizons)}" if horizons else "by the horizon"
    reasons = dict.fromkeys(
        f"{one.run}, {one.exploit_type}: {one.why_none}" for one in forecasts if one.why_none is not None
    )
    return Table(
        title="Forecasts",
        columns=("run", "type", "from", "P(emerges)", "crosses at", "called", "visible", *(("why",) if why else ())),
        rows=tuple((*row, *reason) for row, reason in zip(rows, told, strict=True)),
        text_columns=2,
        note=" ".join(
            [
                f"From: steps of the checkpoints used. P(emerges): that the rate passes {threshold:.0%} {reach}; not "
                "calibrated on real runs. Crosses at: the step, median [5 %, 95 %]. Called: the first checkpoint whose "
                "own forecast gave 50 % or more. Visible: the first checkpoint at which the subject's own completions "
                "showed the exploit.",
                *([WHY_NOTE] if why else []),
                *(f"No forecast for {reason}." for reason in reasons),
            ]
        ),
    )


WHY_NOTE = (
    "In brackets: 5 to 95 %, how far P would move if rates, speed and kinship were known. Why: what moves the rate's "
    "logit up to the horizon, in the mean: its own selection, its relatives' selection, and the probability that the "
    "training comes upon it at all."
)


def _why(one: TypeForecast) -> str:
    """What moves a type's rate, in a few words."""
    said = one.forecast
    if said is None or said.reasons is None:
        return write.NONE
    lifts = ", ".join(f"{name} {write.signed(by)}" for name, by in said.reasons.lifts if by >= LEAST_LIFT)
    lifted = f"; lifted by {lifts}" if lifts else ""
    return f"own {write.signed(said.reasons.own)}{lifted}; found {write.percent(said.reasons.found)}"


def _forecast_cells(one: TypeForecast) -> tuple[str, ...]:
    said = one.forecast
    called = "not yet" if one.first_call_step is None else write.step(one.first_call_step)
    visible = "not yet" if one.first_visible_step is None else write.step(one.first_visible_step)
    if said is None:
        return one.exploit_type, steps_text(one.steps), write.NONE, write.NONE, called, visible
    crossing = write.NONE
    if said.step_median is not None and said.step_interval is not None:
        low, high = said.step_interval
        beyond = "beyond" if high == float("inf") else write.step(high)
        crossing = f"{write.step(said.step_median)} [{write.step(low)}, {beyond}]"
    probability = write.percent(said.probability)
    if said.probability_interval is not None:
        low, high = said.probability_interval
        probability = f"{probability} [{write.percent(low)}, {write.percent(high)}]"
    return one.exploit_type, steps_text(said.steps_used), probability, crossing, called, visible


def steps_text(steps: Sequence[int]) -> str:
    """ "1, 4, 16"; of many, the first two and the last with their number."""
    if len(steps) <= 4:
        return ", ".join(f"{step:,}" for step in steps)
    return f"{steps[0]:,}, {steps[1]:,} ... {steps[-1]:,} ({len(steps)})"


def cells_table(cells: Sequence[CellResult]) -> Table:
    """Each cell's estimate and what its completions turned out to be."""
    return Table(
        title="Cells",
        columns=("checkpoint", "type", "estimate", "interval", "hits / N", "completions", "verdict"),
        rows=tuple(_cell(cell) for cell in cells),
        text_columns=2,
        note="Completions: every completion of the cell by its label; no answer: the reasoning never ended.",
    )


def _cell(cell: CellResult) -> tuple[str, ...]:
    named = (cell.record.checkpoint_id, cell.record.exploit_type)
    outcomes = outcomes_text(cell.outcomes)
    if cell.estimate is None:
        return (*named, write.NONE, write.NONE, write.NONE, outcomes or write.NONE, _waits(cell))
    e = cell.estimate.estimate
    rate = f"{write.NO_HIT}, < {write.rate(e.upper_bound)}" if e.log10_p is None else write.log_rate(e.log10_p)
    interval = write.log_interval(*(e.interval_log10 or (None, None)))
    verdict = "resolved" if e.resolved else f"unresolved: {e.reason}"
    return (*named, rate, interval, f"{e.n_hits} / {e.n}", outcomes, verdict)


def _waits(cell: CellResult) -> str:
    return f"waits for {cell.waits_for}" + (f": {cell.fault}" if cell.fault else "")


def labels_table(results: RunResults, spans: Mapping[CellKey, Mapping[str, SpanShare]]) -> Table:
    """Each cell's label counts, a column a label, and what would resolve it."""
    seen = [name for name in OUTCOMES if any(cell.outcomes.get(name) for cell in results.cells)]
    shown = list(dict.fromkeys([*seen, *(name for name in ALWAYS if name not in seen)]))
    columns = ("checkpoint", "type", "verdict", "completions", *(n for n in OUTCOMES if n in shown), "what to do")
    rows, tags = [], []
    for cell in results.cells:
        record, counts = cell.record, [f"{cell.outcomes.get(n, 0):,}" for n in OUTCOMES if n in shown]
        if cell.estimate is None:
            verdict, todo = "waiting", _waits(cell)
            total = f"{sum(cell.outcomes.values()):,}" if cell.outcomes else write.NONE
            counts = counts if cell.outcomes else [write.NONE] * len(counts)
        else:
            e = cell.estimate.estimate
            verdict, total = "resolved" if e.resolved else "unresolved", f"{e.n:,}"
            todo = remedy(cell, spans.get((record.checkpoint_id, record.exploit_type), {})) or ""
            todo = todo if e.resolved or not e.n_hits else f"{e.reason}: {todo}"
        todo = todo[:1].upper() + todo[1:]
        rows.append((record.checkpoint_id, record.exploit_type, verdict, total, *counts, todo))
        tags.append((run_name(record.checkpoint_id, results.study), record.exploit_type))
    return Table(
        title="Every cell by label",
        columns=columns,
        rows=tuple(rows),
        text_columns=3,
        tags=tuple(tags),
        prose=(len(columns) - 1,),
        note="No answer: the reasoning never ended, or the answer has no program. Numbers of further completions are "
        "rough: they suppose that more of a span brings more hits like those it has.",
    )


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """ "30 failed, 6 solved, 4 no answer", the commonest first."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(outcomes.items(), key=lambda item: -item[1]))


def hits_table(results: RunResults, *, checkpoint_id: str | None = None, exploit_type: str | None = None) -> Table:
    """The hits of some cells, those that carry their estimates first."""
    hits = results.hits
    for column, value in (("checkpoint_id", checkpoint_id), ("exploit_type", exploit_type)):
        if value is not None:
            hits = hits.filter(pl.col(column) == value)
    shown = hits.sort("log_weight", descending=True).head(MOST_HITS)
    more = hits.height - shown.height
    rest = f" {more} more hits weigh less." if more else ""
    return Table(
        title="Hits",
        columns=("completion", "checkpoint", "type", "problem", "span", "weight", "rho", "tokens"),
        rows=tuple(
            (
                row["completion_id"][:ID_LENGTH], row["checkpoint_id"], row["exploit_type"], row["problem_id"],
                row["span"], f"{weight_text(row['log_weight'])}", f"{row['rho']:.2g}",
                f"{row['n_reasoning']} + {row['n_tokens'] - row['n_reasoning']}",
            )
            for row in shown.iter_rows(named=True)
        ),
        text_columns=5,
        note="Weight: how much likelier the subject is to write the completion than the mixture of spans is. Rho: the "
        "chance that the subject's own span, not a donor's, would have brought it. Tokens: reasoning + answer." + rest,
    )  # fmt: skip


def weight_text(log_weight: float) -> str:
    """A weight from nats, in digits that don't underflow."""
    return write.log_rate(log_weight / 2.302585092994046)


def no_hit_lines(cells: Sequence[CellResult]) -> list[str]:
    """For each whole cell without a hit, what its completions were instead and what to do, in one line."""
    return [
        f"{cell.record.exploit_type} at {cell.record.checkpoint_id}: no hit among {outcomes_text(cell.outcomes)}; "
        f"{without_hits(cell)}"
        for cell in cells
        if cell.estimate is not None and cell.estimate.estimate.n_hits == 0
    ]
