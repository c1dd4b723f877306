"""How much of each cell's estimate each span brought: the numbers that remedies and the donors' health rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

CELL = ("checkpoint_id", "exploit_type")
CellKey = tuple[str, str]
"""checkpoint id, exploit type"""


@dataclass(frozen=True, slots=True)
class SpanShare:
    """A span's hits in one cell. Sums are of weights over the cell's largest weight."""

    n_hits: int
    total: float
    """sum of weights"""
    squares: float
    """sum of their squares"""
    share: float
    """of the cell's estimate"""

    @property
    def ess(self) -> float:
        """Effective sample size of the span's own hits."""
        return self.total**2 / self.squares if self.squares else 0.0


def weighted(hits: pl.DataFrame) -> pl.DataFrame:
    """The hits with ``relative``, their weight over the largest of their cell, and ``share``, their part of its
    estimate. Hits off the subject's support weigh 0."""
    top = pl.col("log_weight").max().over(CELL)
    relative = pl.when(pl.col("log_weight").is_finite()).then((pl.col("log_weight") - top).exp()).otherwise(0.0)
    found = hits.with_columns(relative=relative)
    total = pl.col("relative").sum().over(CELL)
    return found.with_columns(share=pl.when(total > 0).then(pl.col("relative") / total).otherwise(0.0))


def span_shares(hits: pl.DataFrame) -> Mapping[CellKey, Mapping[str, SpanShare]]:
    """Cell -> span -> what its hits bring; spans without a hit are left out."""
    rows = (
        weighted(hits)
        .group_by(*CELL, "span")
        .agg(
            n_hits=pl.len(),
            total=pl.col("relative").sum(),
            squares=(pl.col("relative") ** 2).sum(),
            share=pl.col("share").sum(),
        )
        .sort(*CELL, "span")
    )
    found: dict[CellKey, dict[str, SpanShare]] = {}
    for row in rows.iter_rows(named=True):
        one = SpanShare(row["n_hits"], row["total"], row["squares"], row["share"])
        found.setdefault((row["checkpoint_id"], row["exploit_type"]), {})[row["span"]] = one
    return found
