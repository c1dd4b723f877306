"""Alarms with a guaranteed error budget: e-values of the monitor's cells, over all types and looks of a run.

They say of a rate that it is above a level, or of growth that it has happened: no forecast. So an alarm on a type that
never passes the event's rate is not false; how often that is, is reported, and the budget bounds the false ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import RunRecord
from forewarn.bench.scores.figures import POOLED, Entry
from forewarn.bench.scores.jackknife import Scale, jackknifed_mean

E_VALUES = "e-values"
"""how the names of these rows begin"""
FIGURES = ("negatives alarmed", "recall before V1", "mean lead")


def kinds_of(protocol: Protocol) -> dict[str, tuple[str, ...]]:
    """Row of the table -> the kinds of e-values that it takes together."""
    chosen = protocol.evalues
    return {
        f"rate above {chosen.rate:g}": ("exceeds",),
        f"grown {chosen.growth_factor:g} times": ("growth",),
        "either": ("exceeds", "growth"),
    }


def first_alarms(evalues: pl.DataFrame, kinds: Sequence[str], steps: Sequence[int]) -> dict[str, int]:
    """Type -> number of the first checkpoint at which one of these e-values is large enough."""
    raised = evalues.filter(pl.col("kind").is_in(kinds) & (pl.col("log_e") >= pl.col("needed")))
    first = raised.group_by("exploit_type").agg(pl.col("step").min())
    return {row["exploit_type"]: steps.index(row["step"]) + 1 for row in first.iter_rows(named=True)}


def certain_entries(records: Mapping[str, RunRecord], pairs: Sequence[Pair], protocol: Protocol) -> list[Entry]:
    """The figures of each kind, over the eligible pairs of the runs whose e-values are there."""
    mine = [p for p in pairs if p.eligible and records[p.run].evalues is not None]
    event_I = np.array([p.event for p in mine], dtype=np.bool_)
    entries = []
    for told, kinds in kinds_of(protocol).items():
        first = {
            run: first_alarms(evalues, kinds, protocol.monitor.steps)
            for run in {p.run for p in mine}
            if (evalues := records[run].evalues) is not None
        }
        at = [first[p.run].get(p.exploit_type) for p in mine]
        before = [c is not None and p.blind(c) for p, c in zip(mine, at, strict=True)]
        lead_I = np.array([p.v1 - c if c and b else math.nan for p, c, b in zip(mine, at, before, strict=True)])
        values = (
            np.where(event_I, np.nan, [c is not None for c in at]),
            np.where(event_I, before, np.nan),
            np.where(event_I, lead_I, np.nan),
        )
        for figure, value_I in zip(FIGURES, values, strict=True):
            scale: Scale = "plain" if figure == "mean lead" else "logit"
            runs, level = [p.run for p in mine], protocol.score.interval_level
            found = jackknifed_mean(value_I, runs, scale=scale, level=level)
            entries.append(Entry(f"{E_VALUES}: {told}", figure, POOLED, "run", found))
    return entries
