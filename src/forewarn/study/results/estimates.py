"""Estimates from what a run folder holds: completions, verdicts and scores. Needs no model, no problem and no sandbox.

The manifest says what was run; a new estimator, or another level, costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import logsumexp

from forewarn.errors import StoreError
from forewarn.estimation import mixture_estimate
from forewarn.estimation.routes import opened_by_donor
from forewarn.estimation.sample import check_level
from forewarn.store import RunFolder, keep_whole, read_table, write_table
from forewarn.study.folder.cells import exploits_of, labelled, read_labels, sampled
from forewarn.study.folder.manifest import Missing, check_measures, incomplete, read_missing, read_plan
from forewarn.study.folder.schemas import ESTIMATES_FILE, HIT_ROWS, HITS_FILE, SCORES
from forewarn.study.folder.tables import CellEstimate, estimates_of, estimates_table
from forewarn.study.keys import CellRecord, scores_key
from forewarn.study.results.arrays import cell_arrays

Floats = NDArray[np.float64]


def read_estimates(root: Path) -> pl.DataFrame:
    """One row a cell (checkpoint x exploit type). Raises StoreError where the study has not been estimated, and
    InputError for a pilot or a refinement batch."""
    check_measures(root)
    return read_table(root / ESTIMATES_FILE)


def read_cells(root: Path) -> list[CellEstimate]:
    """The same as records."""
    return estimates_of(read_estimates(root))


def read_hits(root: Path) -> pl.DataFrame:
    """One row an exploit: span, log-weight (nats), rho, log-ratios of every span, where the answer begins, code."""
    return read_table(root / HITS_FILE)


def estimate_run(
    root: Path, *, level: float | None = None, progress: Callable[[str, int, int], None] | None = None
) -> list[CellEstimate]:
    """Estimate every cell of a finished study again and return the estimates, in the study's order.

    Raises IncompleteError, which carries the other cells' estimates, where workers died over a cell until it was left
    out (``folder/manifest.py``) and its shards are still not there.

    ``level``: None is the study's own, and then ``estimates.parquet`` and ``hits.parquet`` are written; another level
    writes nothing. Raises InputError for a level outside (0, 1), a pilot or a refinement batch, and StoreError where
    the folder is no study, lacks a shard, or holds exploits without scores (a checker was fixed: run the study again
    to score them).
    """
    if level is not None:
        check_level(level)
    check_measures(root)
    planned, cells, problem_keys = read_plan(root)
    run = RunFolder(root)
    labels = read_labels(run)
    marks = {(mark.checkpoint_id, mark.exploit_type): mark for mark in read_missing(root)}
    missing: list[Missing] = []
    found = []
    for done, cell in enumerate(cells):
        if progress is not None:
            progress("estimates", done, len(cells))
        mark = marks.get((cell.checkpoint_id, cell.exploit_type))
        if mark is not None and not sampled(run, cell):
            missing.append(mark)
            continue
        table = labelled(run, cell, problem_keys, labels)
        hit_ids = exploits_of(table)
        if mark is not None and hit_ids and not run.shards(SCORES).has(scores_key(cell.key, hit_ids)):
            missing.append(mark)
            continue
        found.append(cell_estimate(cell, level or planned, table, _scores(run, cell, hit_ids)))
    if level is None or level == planned:
        write_estimates(root, found)
    estimates = [estimate for estimate, _ in found]
    if progress is not None:
        progress("estimates", len(cells), len(cells))
    if missing:
        raise incomplete(root, missing, len(cells), estimates)
    return estimates


def write_estimates(root: Path, found: Sequence[tuple[CellEstimate, pl.DataFrame]]) -> None:
    """Keep the estimates of cells and their hits, in place of those before, unless they are the same."""
    write_table(
        root / HITS_FILE, pl.concat([pl.DataFrame(schema=HIT_ROWS), *(hits for _, hits in found)]), write=keep_whole
    )
    write_table(root / ESTIMATES_FILE, estimates_table([estimate for estimate, _ in found]), write=keep_whole)


def _scores(run: RunFolder, cell: CellRecord, hit_ids: tuple[str, ...]) -> pl.DataFrame | None:
    if not hit_ids:
        return None
    shards, key = run.shards(SCORES), scores_key(cell.key, hit_ids)
    if not shards.has(key):
        raise StoreError(
            f"{run.root} has no scores of the {len(hit_ids)} exploits of {cell.exploit_type} at {cell.checkpoint_id} "
            "as they are judged now; run the study again to score them"
        )
    return shards.read(key)


def cell_estimate(
    cell: CellRecord, level: float, labelled: pl.DataFrame, scores: pl.DataFrame | None
) -> tuple[CellEstimate, pl.DataFrame]:
    """The estimate of a cell and a table of its hits (``tables.HIT_ROWS``).

    ``labelled``: the cell's completions with a ``label``; ``scores``: of its exploits, None where there are none.
    """
    of = cell_arrays(cell, labelled, scores)
    estimate = mixture_estimate(
        of.log_ratio_NS,
        of.is_exploit_N,
        of.span_N,
        share_S=of.share_S,
        problem_N=labelled["problem_id"].to_numpy(),
        cluster_N=labelled["trace_id"].to_numpy(),
        valid_N=of.valid_N,
        inconsistent_N=of.inconsistent_N,
        program_N=np.array(labelled["code_key"].fill_null("").to_list(), dtype=np.str_),
        donor_wrote_answer_N=wrote_whole_answer(labelled),
        donor_opened_N=wrote_the_beginning(labelled),
        level=level,
    )
    names = tuple(planned.span.name for planned in cell.spans)
    n_by_span = tuple(int(n) for n in np.bincount(of.span_N, minlength=len(names)))
    result = CellEstimate(cell.checkpoint_id, cell.step, cell.exploit_type, estimate, names, n_by_span, cell.receipt)
    return result, _details(cell, labelled, of.is_exploit_N, of.log_ratio_NS[of.is_exploit_N], of.share_S, names)


def wrote_whole_answer(completions: pl.DataFrame) -> NDArray[np.bool_]:
    """For each row of a completions table, whether the donor wrote every token of an answer."""
    answer = pl.col("donor_wrote").list.slice(pl.col("n_reasoning"))
    return completions.select((answer.list.len() > 0) & answer.list.all()).to_series().to_numpy().astype(np.bool_)


def wrote_the_beginning(completions: pl.DataFrame) -> NDArray[np.bool_]:
    """For each exploit of a labelled completions table, whether the donor wrote the beginning alone
    (``estimation.routes``); False for other rows."""
    opened_N = np.zeros(completions.height, np.bool_)
    hits_N = np.flatnonzero(completions["label"] == "exploit")
    if not len(hits_N):
        return opened_N
    hits = completions[hits_N]
    n_token_H = hits["donor_wrote"].list.len().to_numpy().astype(np.int64)
    wrote_HL = np.zeros((len(hits_N), int(n_token_H.max())), np.bool_)
    wrote_HL[np.arange(wrote_HL.shape[1]) < n_token_H[:, None]] = hits["donor_wrote"].explode().to_numpy()
    opened_N[hits_N] = opened_by_donor(wrote_HL, hits["n_reasoning"].to_numpy(), n_token_H)
    return opened_N


def _details(
    cell: CellRecord,
    labelled: pl.DataFrame,
    is_exploit_N: NDArray[np.bool_],
    log_ratio_HS: Floats,
    share_S: Floats,
    names: tuple[str, ...],
) -> pl.DataFrame:
    hits = labelled.filter(pl.Series(is_exploit_N))
    if hits.is_empty():
        return pl.DataFrame(schema=HIT_ROWS)
    off_H: NDArray[np.bool_] = np.asarray(np.isposinf(log_ratio_HS).any(axis=1))
    safe_HS = np.where(off_H[:, None], 0.0, log_ratio_HS)
    log_weight_H = np.where(off_H, -np.inf, -logsumexp(safe_HS + np.log(share_S), axis=1))
    return hits.select(
        pl.lit(cell.checkpoint_id).alias("checkpoint_id"),
        pl.lit(cell.step, dtype=pl.Int64).alias("step"),
        pl.lit(cell.exploit_type).alias("exploit_type"),
        "completion_id",
        "problem_id",
        "span",
        pl.Series("log_weight", log_weight_H),
        pl.Series("rho", share_S[0] * np.exp(log_weight_H)),
        pl.Series("log_ratios", log_ratio_HS.tolist(), dtype=pl.List(pl.Float64)),
        pl.lit(pl.Series([list(names)], dtype=pl.List(pl.String))).first().alias("spans"),
        "n_reasoning",
        pl.col("token_ids").list.len().cast(pl.Int32).alias("n_tokens"),
        "code",
    ).cast(HIT_ROWS)
