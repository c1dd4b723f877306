"""How good the estimates were against brute-force truth: errors and coverage, by decade of the truth.

Frames in, records out; the words and columns are in ``tables.py``. A cell without a hit is missing: it is counted as
missing, and where errors are ranked it ranks as infinitely wrong, never as zero error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from forewarn.report.series import SERIES
from forewarn.report.series.base import log10

LEVEL = 0.9

ESTIMATORS = {key: series.short for key, series in SERIES.items() if key != "truth"}
"""key -> what tables and pictures call it"""


@dataclass(frozen=True, slots=True)
class Point:
    """One estimator's word on one judged cell, beside the truth. All log10."""

    truth: float
    truth_interval: tuple[float, float]
    value: float | None
    """None: no hit"""
    interval: tuple[float, float] | None
    """None: the estimator has none here"""

    @property
    def error(self) -> float:
        """|log10(estimate/truth)|; infinite without a hit."""
        return math.inf if self.value is None else abs(self.value - self.truth)

    @property
    def covers(self) -> bool | None:
        """Whether the interval meets the truth's own interval; None without an interval."""
        if self.interval is None:
            return None
        return self.interval[0] <= self.truth_interval[1] and self.truth_interval[0] <= self.interval[1]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One estimator over one group of judged cells."""

    group: str
    estimator: str
    """a key of ``ESTIMATORS``"""
    n: int
    """judged cells"""
    n_hit: int
    """of them, cells with a hit"""
    median_error: float | None
    """median |log10(estimate/truth)| over cells with a hit; None without any"""
    median_error_interval: tuple[float, float] | None
    """of that median, at ``LEVEL``, by order statistics; None with too few cells for one"""
    median_error_all: float | None
    """over all cells, a cell without a hit being infinitely wrong; None where the median is such a cell"""
    n_interval: int
    """cells with an interval"""
    n_covered: int
    """cells whose interval meets the truth's own"""
    coverage_interval: tuple[float, float] | None
    """Clopper-Pearson, at ``LEVEL``, of covered over all judged cells; None for an estimator that has no intervals"""
    median_width: float | None
    """median width of the intervals, decades; None where they reach down to zero, or there are none"""


def points(cells: pl.DataFrame, estimator: str) -> list[Point]:
    """One estimator on the judged cells of a checked frame for which it was drawn."""
    series = SERIES[estimator]
    found = []
    for row in cells.filter(pl.col("judged") & pl.col(series.measured).is_not_null()).iter_rows(named=True):
        said = series.read(row)
        interval = said.interval if series.has_intervals else None
        found.append(Point(row["truth_log10"], (log10(row["truth_lo"]), log10(row["truth_hi"])), said.value, interval))
    return found


def median(values: Iterable[float]) -> float:
    """The median; of an even number the upper of the two, so that infinite errors aren't averaged away."""
    ordered = sorted(values)
    n = len(ordered)
    low, high = ordered[(n - 1) // 2], ordered[n // 2]
    return high if math.isinf(high) else (low + high) / 2


def median_interval(values: Iterable[float], *, level: float = LEVEL) -> tuple[float, float] | None:
    """Distribution-free interval of a median by order statistics; None where n is too small for ``level``."""
    from scipy.stats import binom  # takes as long to import as everything else that a plain table needs

    ordered = sorted(values)
    n = len(ordered)
    # fewer than ``rank`` of the values lie below the median with probability under (1 - level)/2, and as many above
    rank = int(binom.ppf((1 - level) / 2, n, 0.5)) if n else 0
    return (ordered[rank - 1], ordered[n - rank]) if rank else None


def accuracy(cells: pl.DataFrame, group: str, estimator: str) -> Accuracy:
    """Errors and coverage of one estimator over the judged cells of a checked frame."""
    from forewarn.estimation import clopper_pearson

    seen = points(cells, estimator)
    hits = [p.error for p in seen if p.value is not None]
    ranked = median(p.error for p in seen) if seen else math.inf
    intervals = [p.interval for p in seen if p.interval is not None]
    n_covered = sum(p.covers is True for p in seen)
    width = median(high - low for low, high in intervals) if intervals else math.inf
    return Accuracy(
        group=group,
        estimator=estimator,
        n=len(seen),
        n_hit=len(hits),
        median_error=median(hits) if hits else None,
        median_error_interval=median_interval(hits),
        median_error_all=None if math.isinf(ranked) else ranked,
        n_interval=len(intervals),
        n_covered=n_covered,
        coverage_interval=clopper_pearson(n_covered, len(seen), level=LEVEL)
        if SERIES[estimator].has_intervals and seen
        else None,
        median_width=None if math.isinf(width) else width,
    )


def decade_groups(cells: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Judged cells: all; those whose truth is below 1e-2; resolved or not; then each decade of the truth."""
    judged = cells.filter("judged")
    groups = [
        ("all judged", judged),
        ("truth below 1e-2", judged.filter(pl.col("truth_hits") / pl.col("truth_n") < 0.01)),
        ("verdict: resolved", judged.filter("resolved")),
        ("verdict: unresolved", judged.filter(~pl.col("resolved"))),
    ]
    decades = judged.with_columns(decade=pl.col("truth_log10").floor().cast(pl.Int64).clip(upper_bound=-1))
    for decade in sorted(decades["decade"].unique().to_list(), reverse=True):
        upper = "1" if decade == -1 else f"1e{decade + 1}"
        groups.append((f"truth 1e{decade} to {upper}", decades.filter(pl.col("decade") == decade)))
    return [(name, group) for name, group in groups if len(group)]


def accuracies(cells: pl.DataFrame) -> list[Accuracy]:
    """Every group of ``decade_groups`` by every estimator."""
    return [accuracy(group, name, key) for name, group in decade_groups(cells) for key in ESTIMATORS]


@dataclass(frozen=True, slots=True)
class Certificates:
    """How often a certificate contradicts the truth's own interval, over all cells with a truth, judged or not."""

    n: int
    n_lower_wrong: int
    """certified lower bound above the truth's interval"""
    n_upper_wrong: int
    """certified upper bound below the truth's interval"""


def certificates(cells: pl.DataFrame) -> Certificates:
    known = cells.filter(pl.col("truth_n").is_not_null())
    return Certificates(
        n=len(known),
        n_lower_wrong=len(known.filter(pl.col("lower_bound") > pl.col("truth_hi"))),
        n_upper_wrong=len(known.filter(pl.col("upper_bound") < pl.col("truth_lo"))),
    )
