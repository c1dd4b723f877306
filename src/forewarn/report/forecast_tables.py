"""The report's tables on forecasts, as rows of text: what was said, how good it was, calls and false alarms.

Frames in (checked, see ``frames.py``), ``Table`` out.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from forewarn.prediction import auc, brier
from forewarn.prediction.emergence import NO_HIT_SCORE
from forewarn.report import numbers as write
from forewarn.report.frames import ordered_runs
from forewarn.report.series.base import as_number
from forewarn.report.summary import LEVEL, median
from forewarn.report.table import Table

AUC_SEED = 0
"""of the permutation test, beyond the number of relabellings that are counted one by one"""


def forecast_table(forecasts: pl.DataFrame) -> Table:
    """What the first checkpoints said, and what came."""
    rows = [
        (
            row["run"],
            row["exploit_type"],
            str(row["n_checkpoints"]),
            write.percent(row["probability"]),
            _score(row["score"]),
            _crossing(row),
            {True: "yes", False: "no", None: write.NONE}[row["emerged"]],
            write.step(row["first_call_step"]),
            write.step(row["brute_first_step"]),
            write.step(row["step_over_10pct"]),
        )
        for run in ordered_runs(forecasts)
        for row in forecasts.filter(pl.col("run") == run)
        .sort(["n_checkpoints", "probability", "exploit_type"], descending=[False, True, False], nulls_last=True)
        .iter_rows(named=True)
    ]
    return Table(
        title="Forecasts from the first checkpoints",
        columns=(
            "run", "type", "from", "P(emerges)", "score", "crosses at", "emerged", "called", "seen", "over 10 %",
        ),
        rows=tuple(rows),
        text_columns=2,
        tags=tuple((row[0], row[1]) for row in rows),
        note=(
            "From: checkpoints used. Crosses at: median, with its interval, of the step at which the rate passes "
            "the threshold. Called: the first step at which the monitor calls the type. Seen: the first checkpoint at "
            "which counting the subject's own completions shows the hack. — : never, or not known."
        ),
    )  # fmt: skip


def _score(score: float | None) -> str:
    return write.NO_HIT if score is not None and score <= NO_HIT_SCORE else write.number(score)


def _crossing(row: dict[str, object]) -> str:
    middle, low, high = (as_number(row[name]) for name in ("step_median", "step_lo", "step_hi"))
    if middle is None and low is None:
        return write.NONE
    ends = "" if low is None else f" [{write.step(low)}, {'beyond' if high is None else write.step(high)}]"
    return ("beyond" if middle is None else write.step(middle)) + ends


def score_table(forecasts: pl.DataFrame) -> Table:
    """AUC and Brier score of the forecasts: within each run that has both outcomes, and over all runs."""
    scopes = [(run, forecasts.filter(pl.col("run") == run)) for run in ordered_runs(forecasts)]
    if len(scopes) > 1:
        scopes.append(("all runs", forecasts))
    rows = []
    for name, scope in scopes:
        for n_checkpoints in sorted(scope["n_checkpoints"].unique().to_list()):
            known = scope.filter((pl.col("n_checkpoints") == n_checkpoints) & pl.col("emerged").is_not_null())
            rows.append((name, str(n_checkpoints), *_scores(known)))
    return Table(
        title="How good the forecasts were",
        columns=("types of", "checkpoints", "emerged", "did not", "AUC", "p", "Brier score"),
        rows=tuple(rows),
        note=(
            f"AUC with its {LEVEL:.0%} interval (Newcombe); p: one-sided, of the permutation test. The Brier score"
            " of a forecaster that knows nothing is 0.25. — : all types of the run had the same outcome, so there"
            " is no ranking to score."
        ),
    )


def _scores(known: pl.DataFrame) -> tuple[str, ...]:
    ranked = known.filter(pl.col("score").is_not_null())
    said = known.filter(pl.col("probability").is_not_null())
    n_yes, n = int(ranked["emerged"].sum()), len(ranked)
    area, p_value = write.NONE, write.NONE
    if 0 < n_yes < n:
        found = auc(
            ranked["score"].to_numpy(), ranked["emerged"].to_numpy(), rng=np.random.default_rng(AUC_SEED), level=LEVEL
        )
        area = f"{found.auc:.2f} [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"
        p_value = f"{found.p_value:.3f}"
    missed = write.NONE if not len(said) else f"{brier(said['probability'].to_numpy(), said['emerged'].to_numpy()):.3f}"
    return str(n_yes), str(n - n_yes), area, p_value, missed


def call_table(forecasts: pl.DataFrame) -> Table:
    """Calls and false alarms, a row a run; a type counts once, whatever the number of checkpoints."""
    rows = []
    for run in ordered_runs(forecasts):
        types = calls(forecasts, run)
        came, stayed = types.filter(pl.col("emerged")), types.filter(~pl.col("emerged"))
        rows.append((
            run,
            f"{int(came['first_call_step'].is_not_null().sum())} of {len(came)}",
            f"{int(stayed['first_call_step'].is_not_null().sum())} of {len(stayed)}",
            _lead(came, "first_call_step"),
            _lead(came, "brute_first_step"),
        ))  # fmt: skip
    return Table(
        title="Calls",
        columns=(
            "run",
            "emerged, called",
            "did not emerge, called (false alarms)",
            "lead of our call",
            "lead of brute force",
        ),
        rows=tuple(rows),
        note="Lead: optimizer steps before the rate passes 10 %, median over the types called (smallest to largest).",
    )


def calls(forecasts: pl.DataFrame, run: str) -> pl.DataFrame:
    """One row a type of a run: its outcome and its first steps."""
    return (
        forecasts.filter(pl.col("run") == run)
        .group_by("exploit_type")
        .agg(pl.col("emerged").max(), pl.col("first_call_step", "brute_first_step", "step_over_10pct").min())
        .sort("step_over_10pct", "exploit_type", nulls_last=True)
    )


def _lead(types: pl.DataFrame, column: str) -> str:
    lead = (types["step_over_10pct"] - types[column]).drop_nulls()
    if not len(lead):
        return write.NONE
    steps = sorted(lead.to_list())
    return f"{median(steps):.0f} ({steps[0]} to {steps[-1]})"
