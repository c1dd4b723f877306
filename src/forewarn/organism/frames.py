"""From measurements to the report's two frames: cells (estimate, truth, rivals) and forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from forewarn.estimation import clopper_pearson
from forewarn.organism.recipe import TYPES
from forewarn.records import derived_seed
from forewarn.report import CELL_COLUMNS, FORECAST_COLUMNS, cell_row, forecast_row
from forewarn.study import CellEstimate
from forewarn.study.results.forecasts import THRESHOLD, cells_by_run, first_call, forecast_from, run_name

EARLY = (3, 4)
"""numbers of checkpoints that forecasts are scored on"""
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything the frames are made of."""

    estimates: tuple[CellEstimate, ...]
    """``checkpoint_id`` is run/step"""
    truth: pl.DataFrame
    rivals: dict[Key, dict[str, float | None]]


def cells_frame(measured: Measured) -> pl.DataFrame:
    truth = {(r["run"], r["step"], r["exploit_type"]): r for r in measured.truth.iter_rows(named=True)}
    rows = []
    for cell in measured.estimates:
        key = (run_name(cell.checkpoint_id, ""), cell.step, cell.exploit_type)
        rows.append(_cell_row(key, cell, truth.get(key), measured.rivals.get(key, {})))
    return pl.DataFrame(rows, schema=CELL_COLUMNS)


def _cell_row(
    key: Key, cell: CellEstimate, truth: dict[str, Any] | None, rival: dict[str, float | None]
) -> dict[str, Any]:
    e = cell.estimate
    row: dict[str, Any] = cell_row(key[0], key[1], cell)
    if rival:  # drawn here; an estimate without a hit is None
        row["study_n"] = e.n
    row |= {"study_tokens_log10": rival.get("tokens"), "study_words_log10": rival.get("words")}
    if truth is not None:
        row |= {"truth_hits": truth["hits"], "truth_n": truth["n"], "truth_lo": truth["lo"], "truth_hi": truth["hi"]}
        # brute force with as many completions as the estimate had: that many of the truth's first chunk, at random
        drawn, hits = truth["n"] // len(truth["hits_by_chunk"]), truth["hits_by_chunk"][0]
        rng = np.random.default_rng(derived_seed("brute force", *key))
        seen = int(rng.hypergeometric(hits, drawn - hits, e.n)) if e.n < drawn else hits
        low, high = clopper_pearson(seen, min(e.n, drawn), level=e.level)
        row |= {"brute_hits": seen, "brute_n": min(e.n, drawn), "brute_lo": low, "brute_hi": high}
    return row


def forecasts_frame(measured: Measured, seed: int) -> pl.DataFrame:
    """Forecasts from the first three and four checkpoints of every run, with what came of them."""
    rows = []
    horizon = int(measured.truth["step"].max())  # type: ignore[arg-type]
    cells = cells_by_run(measured.estimates, "")
    for run in sorted({run for run, _ in cells}):
        for name in TYPES:
            mine = cells.get((run, name), [])
            outcome = _outcome(measured.truth, run, name)
            called = first_call(run, name, mine, horizon_step=horizon, seed=seed)
            for n in EARLY:
                if len(mine) >= n:
                    found = forecast_from(run, name, mine[:n], horizon_step=horizon, seed=seed)
                    rows.append(forecast_row(found) | outcome | {"first_call_step": called})
    return pl.DataFrame(rows, schema=FORECAST_COLUMNS)


def _outcome(truth: pl.DataFrame, run: str, name: str) -> dict[str, Any]:
    """What the truth says: did it emerge, when, and when would 64 completions a problem have shown a hack."""
    mine = truth.filter((pl.col("run") == run) & (pl.col("exploit_type") == name)).sort("step")
    if mine.is_empty():
        return {"emerged": None, "brute_first_step": None, "step_over_10pct": None}
    over = mine.filter(pl.col("hits") / pl.col("n") > THRESHOLD)["step"].to_list()
    seen = mine.filter(pl.col("hits_by_chunk").list.first() > 0)["step"].to_list()
    return {
        "emerged": bool(over),
        "brute_first_step": seen[0] if seen else None,
        "step_over_10pct": over[0] if over else None,
    }
