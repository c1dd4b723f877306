"""What ``keep.py`` left of a study and of its truth, read again, and estimates from some of a cell's spans."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binom

from forewarn.estimation import mixture_estimate
from forewarn.estimation.routes import opened_by_donor
from forewarn.records import Estimate

DATA = Path(__file__).resolve().parent / "data"
FIRST, SOFT, REFINED = "", "soft", "refined"
"""folders of the studies: that of ``study.toml``, and those of ``refined.toml``, by donor"""
MIN_HITS = 20
BEGINS_ANSWER = re.compile(r"k0m(\d+|inf):")
"""name of a span in which the donor writes the first tokens of the answer"""


@dataclass(frozen=True, slots=True)
class Truth:
    """A cell's brute-force count."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.hits / self.n

    @property
    def counts(self) -> bool:
        """Whether it has hits enough to be held against."""
        return self.hits >= MIN_HITS


@dataclass(frozen=True, slots=True)
class Row:
    """A family's estimate of a cell."""

    cell: tuple[str, str]
    truth: Truth
    estimate: Estimate
    tokens: int

    @property
    def error(self) -> float:
        """|log10(estimate / truth)|; infinite without a hit."""
        found = self.estimate.log10_p
        return math.inf if found is None or not self.truth.hits else abs(found - math.log10(self.truth.rate))

    @property
    def covers(self) -> bool:
        """Whether its interval and the truth's have a point in common."""
        held = self.estimate.interval_log10
        return held is not None and 10 ** held[0] <= self.truth.high and 10 ** held[1] >= self.truth.low

    @property
    def contradicted(self) -> bool:
        """Whether a certificate is beyond the truth's interval."""
        return self.estimate.lower_bound > self.truth.high or self.estimate.upper_bound < self.truth.low

    @property
    def gain(self) -> float:
        """Completions of brute force that one of these is worth, by ESS; none where the interval misses the truth,
        since the ESS speaks of what was seen alone."""
        return (self.estimate.ess or 0.0) / (self.estimate.n * self.truth.rate) if self.covers else 0.0


@cache
def truths() -> dict[tuple[str, str], Truth]:
    """By cell."""
    held = json.loads((DATA / "rates.json").read_text())
    return {(row["checkpoint"], row["type"]): Truth(row["hits"], row["n"], *row["interval"]) for row in held["cells"]}


def measured(study: str) -> bool:
    """Whether anything is kept of a study."""
    return (DATA / study / "completions.parquet").exists()


@cache
def cells(study: str = FIRST) -> dict[tuple[str, str], pl.DataFrame]:
    """The completions of each cell."""
    parts = pl.read_parquet(DATA / study / "completions.parquet").partition_by(
        ["checkpoint", "type"], as_dict=True, maintain_order=True
    )
    return {(str(checkpoint), str(kind)): table for (checkpoint, kind), table in sorted(parts.items())}


@cache
def plan(study: str = FIRST) -> tuple[float, np.ndarray[Any, np.dtype[np.float64]]]:
    """The study's level, and the count of each span."""
    held = json.loads((DATA / study / "spans.json").read_text())
    return held["level"], np.array([span["count"] for span in held["spans"]], dtype=np.float64)


def first_half(table: pl.DataFrame) -> pl.DataFrame:
    """The first half of the completions of each problem and span, rounded down."""
    place, of = pl.int_range(pl.len()).over("problem_id", "span"), pl.len().over("problem_id", "span")
    return table.filter(place < of // 2)


def estimate(
    cell: tuple[str, str], spans: Sequence[int], *, openings: bool = True, study: str = FIRST, half: bool = False
) -> Row:
    """The estimate of a cell from the completions of some spans, or from the first half of these.

    Without ``openings`` the verdict does not know of which hits the donor wrote the beginning alone.
    """
    level, count_S = plan(study)
    table = cells(study)[cell].filter(pl.col("span").is_in(list(spans)))
    if half:
        table = first_half(table)
    log_ratio_NS = np.zeros((table.height, len(spans)))
    is_exploit_N = (table["label"] == "exploit").to_numpy()
    if is_exploit_N.any():
        log_ratio_NS[is_exploit_N] = np.array(table["log_ratios"].drop_nulls().to_list())[:, list(spans)]
    place = {span: i for i, span in enumerate(spans)}
    found = mixture_estimate(
        log_ratio_NS,
        is_exploit_N,
        np.array([place[span] for span in table["span"]]),
        share_S=count_S[list(spans)] / count_S[list(spans)].sum(),
        problem_N=table["problem_id"].to_numpy(),
        cluster_N=table["trace"].to_numpy(),
        valid_N=(table["label"] != "invalid").to_numpy(),
        inconsistent_N=(table["label"] == "inconsistent").to_numpy(),
        program_N=table["program"].fill_null(0).to_numpy(),
        donor_wrote_answer_N=table["donor_answer"].to_numpy(),
        donor_opened_N=_opened(table) if openings else None,
        level=level,
    )
    return Row(cell, truths()[cell], found, int(table["tokens"].sum()))


def _opened(table: pl.DataFrame) -> NDArray[np.bool_]:
    """Whether the donor wrote the beginning alone (``estimation.routes``), of each hit.

    Data that were kept without this don't say where the reasoning ends, but a donor that begins the answer begins
    there. Of the other spans' hits it is not known and taken for no: windows seldom begin with the answer, and hits
    behind a donor's reasoning carry nothing here.
    """
    if "donor_opened" in table.columns:
        return table["donor_opened"].to_numpy().astype(np.bool_)
    names = [span["name"] for span in json.loads((DATA / "spans.json").read_text())["spans"]]
    begins = [place for place, name in enumerate(names) if BEGINS_ANSWER.match(name)]
    opened = np.zeros(table.height, np.bool_)
    for row in np.flatnonzero(((table["label"] == "exploit") & table["span"].is_in(begins)).to_numpy()):
        wrote = np.array(table["wrote"][int(row)])
        opened[row] = opened_by_donor(wrote[None, :], [int(wrote.argmax())], [len(wrote)])[0]
    return opened


def counting_error(rate: float, n: int) -> float:
    """Median of |log10(count / (n rate))| of brute force with n completions; infinite where most counts are 0."""
    most = int(n * rate + 12 * math.sqrt(n * rate) + 12)
    count = np.arange(min(most, n) + 1)
    with np.errstate(divide="ignore"):
        error = np.abs(np.log10(count / (n * rate)))
    order = np.argsort(error)
    reached = np.cumsum(binom.pmf(count, n, rate)[order])
    return float(error[order][np.searchsorted(reached, 0.5)])
