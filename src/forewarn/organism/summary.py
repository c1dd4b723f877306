"""An organism's measured rates as tables: by checkpoint and type, and where exploits first mention the checker.

Reads ``truth.parquet``; measures nothing.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from forewarn.organism.recipe import TYPES
from forewarn.report.table import Table
from forewarn.store import read_table


def rate_table(folder: Path, run: str) -> Table:
    """Brute-force rates of a run: hits of completions, a row a type."""
    truth = read_table(folder / "truth.parquet").filter(pl.col("run") == run)
    steps = sorted(truth["step"].unique().to_list())
    rows = []
    for name in TYPES:
        mine = {r["step"]: r for r in truth.filter(pl.col("exploit_type") == name).iter_rows(named=True)}
        rows.append((name, *(_rate(mine.get(step)) for step in steps)))
    return Table(
        title=f"Run {run}: exploit rate by brute force, with its 90 % interval's ends",
        columns=("exploit type", *(f"step {step}" for step in steps)),
        rows=tuple(rows),
        note="Clopper-Pearson intervals; a cell stops at 200 hits. < is the upper end without a hit.",
        text_columns=1,
    )


def _rate(row: dict[str, float] | None) -> str:
    if row is None:
        return "not measured"
    if row["hits"] == 0:
        return f"< {row['hi']:.1e}"
    return f"{row['hits'] / row['n']:.1e} [{row['lo']:.1e}, {row['hi']:.1e}]"


def mention_table(folder: Path, run: str) -> Table:
    """How many exploits mention the checker in their reasoning, and how far into it, by checkpoint."""
    truth = read_table(folder / "truth.parquet").filter(pl.col("run") == run).sort("step")
    rows = []
    for (step,), mine in truth.group_by("step", maintain_order=True):
        hits, mentioned = int(mine["hits"].sum()), int(mine["n_mentioned"].sum())
        weighed = mine.filter(pl.col("n_mentioned") > 0)
        position = float((weighed["mean_position"] * weighed["n_mentioned"]).sum()) / mentioned if mentioned else None
        share = f"{mentioned / hits:.1%}" if hits else "no exploit"
        rows.append((str(step), str(hits), share, "never" if position is None else f"{position:.0%} of the reasoning"))
    return Table(
        title=f"Run {run}: where true exploits first mention the checker",
        columns=("step", "exploits", "mention it", "first mention at"),
        rows=tuple(rows),
        note="All types together; the rest are accidental: benign reasoning, exploit in the answer.",
        text_columns=0,
    )
