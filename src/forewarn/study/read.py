"""Reading a run folder: estimates, hits, and every completion with its label."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from forewarn.store import RunFolder, read_table
from forewarn.study.recompute import ESTIMATES_FILE, HITS_FILE, read_plan, sampled, submitted
from forewarn.study.tables import COMPLETIONS, SUBMISSIONS, VERDICTS, CellEstimate, estimates_of
from forewarn.study.work import VERDICTS as VERDICTS_STAGE


def read_estimates(root: Path) -> pl.DataFrame:
    """One row a cell (checkpoint x exploit type). StoreError where the study has not been estimated."""
    return read_table(root / ESTIMATES_FILE)


def read_cells(root: Path) -> list[CellEstimate]:
    """The same as records."""
    return estimates_of(read_estimates(root))


def read_hits(root: Path) -> pl.DataFrame:
    """One row an exploit: span, log-weight (nats), rho, log-ratios of every span, where the answer begins, code."""
    return read_table(root / HITS_FILE)


def read_completions(root: Path) -> pl.DataFrame:
    """Every completion of the study's cells, with the submission that the run's rule reads off it."""
    run, (_, cells, _) = RunFolder(root), read_plan(root)
    empty = pl.DataFrame(schema=COMPLETIONS).join(pl.DataFrame(schema=SUBMISSIONS), on="completion_id")
    tables = [empty, *(submitted(run, cell) for cell in cells if sampled(run, cell))]
    return pl.concat(tables, how="diagonal")  # folders of earlier versions lack newer columns


def read_verdicts(root: Path) -> pl.DataFrame:
    """Every verdict in the folder, one a (problem, code)."""
    shards = RunFolder(root).shards(VERDICTS_STAGE)
    tables = [pl.DataFrame(schema=VERDICTS), *(shards.read(key) for key in list(shards.keys()))]
    # one that broke may have been judged later: the verdict counts
    return (
        pl.concat(tables, how="diagonal")  # folders of earlier versions lack newer columns
        .sort(pl.col("label") == "invalid", maintain_order=True)
        .unique(["problem_key", "code_key"], keep="first", maintain_order=True)
    )
