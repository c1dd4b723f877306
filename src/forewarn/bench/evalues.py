"""E-values of a run's monitor cells: what alarms with a guaranteed error budget rest on.

Made where the completions' weights are, in the run folder that ``forewarn bench measure`` fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from forewarn.bench.protocol import Protocol
from forewarn.monitor.alarms import log_e_values
from forewarn.prediction.budget import ErrorBudget
from forewarn.study.config.watching import AlarmsTable, GrowthAlarmTable
from forewarn.study.results.samples import read_samples

EVALUE_ROWS = {
    "step": pl.Int64,
    "exploit_type": pl.String,
    "kind": pl.String,
    "log_e": pl.Float64,
    "needed": pl.Float64,
}


def evalues_table(
    root: Path, checkpoints: Sequence[tuple[int, str]], types: Sequence[str], plan: Protocol
) -> pl.DataFrame:
    """A row a checkpoint, type and kind of alarm, with the ln e-value that an alarm needs.

    ``checkpoints``: step and id of each, the first being what growth is measured from. Cells that are not whole have
    no row.
    """
    growth = GrowthAlarmTable(factor=plan.evalues.growth_factor, tau=plan.evalues.growth_tau)
    table = AlarmsTable(
        budget=plan.evalues.budget,
        rate=plan.evalues.rate,
        growth=growth,
        types=tuple(types),
        looks=len(plan.monitor.steps),
    )
    budget = ErrorBudget(plan.evalues.budget, 2 * len(types), len(plan.monitor.steps))
    samples = read_samples(root, {name for _, name in checkpoints})
    first = {kind: sample for (owner, kind), sample in samples.items() if owner == checkpoints[0][1]}
    rows = []
    for look, (step, checkpoint) in enumerate(checkpoints, 1):
        now = {kind: sample for (owner, kind), sample in samples.items() if owner == checkpoint}
        for kind, values in log_e_values(table, now, first if look > 1 else {}).items():
            rows += [(step, name, kind, log_e, budget.needed(look)) for name, log_e in values.items()]
    return pl.DataFrame(rows, schema=EVALUE_ROWS, orient="row")
