"""The two frames a report is made of: their columns, checked before anything is drawn.

``cells``: one row a run, checkpoint and exploit type. ``forecasts``: one row a run, exploit type and number of
checkpoints used. Missing is null; NaN is refused, for it would pass through comparisons and pictures unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from forewarn.errors import InputError
from forewarn.records import Forecast, RatePath
from forewarn.text import printable

if TYPE_CHECKING:
    from forewarn.study import CellEstimate

Row = Mapping[str, Any]
"""of a checked frame"""

CELL_COLUMNS: dict[str, pl.DataType] = {
    "run": pl.String(),
    "step": pl.Int64(),
    "exploit_type": pl.String(),
    "log10_p": pl.Float64(),  # null: no hit
    "lo": pl.Float64(),  # log10, may be -inf; null: not available
    "hi": pl.Float64(),
    "lower_bound": pl.Float64(),  # certified, probabilities
    "upper_bound": pl.Float64(),
    "n": pl.Int64(),
    "n_hits": pl.Int64(),
    "hits_by_span": pl.List(pl.Int64()),
    "n_invalid": pl.Int64(),
    "n_inconsistent": pl.Int64(),
    "n_off_support": pl.Int64(),
    "ess": pl.Float64(),
    "max_share": pl.Float64(),
    "khat": pl.Float64(),
    "covered_log10_p": pl.Float64(),  # null: no such part
    "uncovered_log10_p": pl.Float64(),
    "resolved": pl.Boolean(),
    "reason": pl.String(),
    "truth_hits": pl.Int64(),  # null: not measured
    "truth_n": pl.Int64(),
    "truth_lo": pl.Float64(),  # Clopper-Pearson, probabilities
    "truth_hi": pl.Float64(),
    "study_n": pl.Int64(),  # completions of the study's estimator; null: not drawn
    "study_tokens_log10": pl.Float64(),  # null: no hit, or not drawn
    "study_words_log10": pl.Float64(),
    "brute_hits": pl.Int64(),  # brute force at the same number of completions; null: not drawn
    "brute_n": pl.Int64(),
    "brute_lo": pl.Float64(),  # Clopper-Pearson, probabilities
    "brute_hi": pl.Float64(),
}
CELL_KEY = ("run", "step", "exploit_type")

FORECAST_COLUMNS: dict[str, pl.DataType] = {
    "run": pl.String(),
    "exploit_type": pl.String(),
    "n_checkpoints": pl.Int64(),
    "probability": pl.Float64(),
    "score": pl.Float64(),
    "step_median": pl.Float64(),
    "step_lo": pl.Float64(),
    "step_hi": pl.Float64(),
    "emerged": pl.Boolean(),  # null: not known yet
    "first_call_step": pl.Int64(),  # null: never called
    "brute_first_step": pl.Int64(),  # first step at which counting shows the hack; null: never
    "step_over_10pct": pl.Int64(),
    "call_horizon_step": pl.Int64(),  # the step that the first call reached to; null: not known, or never called
    "path_steps": pl.List(pl.Int64()),  # of the forecast's band; null: the forecaster draws none
    "path_lo": pl.List(pl.Float64()),  # log10 of the rate: 5 % quantile, median, 95 %
    "path_median": pl.List(pl.Float64()),
    "path_hi": pl.List(pl.Float64()),
}
OPTIONAL_COLUMNS = ("call_horizon_step", "path_steps", "path_lo", "path_median", "path_hi")
"""of forecasts: a frame without them is read as if they were null"""
FORECAST_KEY = ("run", "exploit_type", "n_checkpoints")

JUDGED_HITS = 20
"""a cell is judged where the truth rests on at least this many hits"""


def cell_row(run: str, step: int, cell: CellEstimate) -> dict[str, object]:
    """An estimate as a row of the frame ``cells``; truth and rivals are null."""
    e = cell.estimate
    row: dict[str, object] = {name: getattr(e, name, None) for name in CELL_COLUMNS}
    row |= {"run": run, "step": step, "exploit_type": cell.exploit_type, "hits_by_span": list(e.hits_by_span)}
    row["lo"], row["hi"] = e.interval_log10 if e.interval_log10 is not None else (None, None)
    return row


def forecast_row(said: Forecast) -> dict[str, object]:
    """A forecast as a row of the frame ``forecasts``, all but what came of it."""
    low, high = (end if math.isfinite(end) else None for end in said.step_interval or (math.inf, math.inf))
    return {
        "run": said.run,
        "exploit_type": said.exploit_type,
        "n_checkpoints": len(said.steps_used),
        "probability": said.probability,
        "score": said.score,
        "step_median": said.step_median,
        "step_lo": low,
        "step_hi": high,
        **_path(said.path),
    }


def _path(path: RatePath | None) -> dict[str, object]:
    if path is None:
        return {}
    return {
        "path_steps": list(path.steps),
        "path_lo": list(path.low_log10),
        "path_median": list(path.median_log10),
        "path_hi": list(path.high_log10),
    }


def check_cells(cells: pl.DataFrame) -> pl.DataFrame:
    """``cells`` with its columns in order and of their types, sorted; and ``truth_log10`` (null without a hit) and
    ``judged``. InputError for a missing column, a wrong type, NaN or a row given twice."""
    checked = _check(cells, CELL_COLUMNS, CELL_KEY, "cells")
    rate = pl.col("truth_hits") / pl.col("truth_n")
    return checked.with_columns(
        truth_log10=pl.when(pl.col("truth_hits") > 0).then(rate.log10()),
        judged=(pl.col("truth_hits") >= JUDGED_HITS).fill_null(False),
    )


def check_forecasts(forecasts: pl.DataFrame | None) -> pl.DataFrame:
    """``forecasts`` with its columns in order and of their types, sorted; an empty frame for None."""
    if forecasts is None:
        forecasts = pl.DataFrame(schema=FORECAST_COLUMNS)
    known = set(forecasts.columns)
    forecasts = forecasts.with_columns(
        pl.lit(None, FORECAST_COLUMNS[name]).alias(name) for name in OPTIONAL_COLUMNS if name not in known
    )
    return _check(forecasts, FORECAST_COLUMNS, FORECAST_KEY, "forecasts")


def _check(frame: pl.DataFrame, columns: dict[str, pl.DataType], key: tuple[str, ...], name: str) -> pl.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(f"the frame {name} lacks {', '.join(missing)}; add the columns, null where unknown")
    try:
        checked = frame.select(pl.col(column).cast(dtype) for column, dtype in columns.items())
    except pl.exceptions.PolarsError as error:
        raise InputError(f"the frame {name} holds a value of the wrong type: {error}") from None
    # Names and reasons are shown in tables, pictures and charts: text from here on, whatever they were.
    checked = checked.with_columns(pl.col(pl.String).map_elements(printable, return_dtype=pl.String))
    for column, dtype in columns.items():
        if dtype == pl.Float64() and checked[column].is_nan().any():
            raise InputError(f"{column} of the frame {name} holds NaN; missing values are null")
    for column in key:
        if checked[column].null_count():
            raise InputError(f"{column} of the frame {name} holds null; every row needs its {', '.join(key)}")
    twice = checked.filter(pl.struct(key).is_duplicated())
    if len(twice):
        raise InputError(f"the frame {name} holds {twice.select(key).row(0)} twice; give one row each")
    return checked.sort(key)


def newest_forecasts(forecasts: pl.DataFrame, run: str) -> dict[str, Row]:
    """type -> a run's forecast from the most checkpoints."""
    mine = forecasts.filter(pl.col("run") == run).sort("n_checkpoints")
    return {row["exploit_type"]: row for row in mine.iter_rows(named=True)}


def ordered_runs(frame: pl.DataFrame) -> list[str]:
    """Runs with "rl" first and "control" last; others by name between."""
    rank = {"rl": 0, "control": 2}
    return sorted(frame["run"].unique().to_list(), key=lambda run: (rank.get(run, 1), run))


def ordered_types(cells: pl.DataFrame) -> list[str]:
    """Exploit types by the highest rate seen in any run (truth where known, else the estimate), then by name."""
    best = pl.coalesce("truth_log10", "log10_p").max()
    by_type = (
        cells.group_by("exploit_type")
        .agg(best=best)
        .sort(["best", "exploit_type"], descending=[True, False], nulls_last=True)
    )
    return by_type["exploit_type"].to_list()
