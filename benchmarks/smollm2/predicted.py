"""Is an interval as wide as a pilot says? Pilots and studies cut out of the kept completions, cell by cell.

    python benchmarks/smollm2/predicted.py [SPLITS]

Each split takes a quarter of every span's completions as the pilot, and the others as the study that it predicts, with
the study's own shares: a pilot of a third of the study, as ``forewarn plan`` draws it by default, without its choice of
counts. A pilot without a hit predicts nothing.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl
from kept import cells, plan, truths
from numpy.typing import NDArray

from forewarn.estimation import mixture_estimate
from forewarn.estimation.allocation import read_pilot
from forewarn.estimation.expected import Prediction, predict

PILOT = 0.25
FACTOR = 2.0


def halves(table: pl.DataFrame, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which completions are the pilot, and which the study."""
    span = table["span"].to_numpy()
    in_pilot = np.zeros(table.height, np.bool_)
    for s in np.unique(span):
        own = np.flatnonzero(span == s)
        in_pilot[rng.permutation(own)[: round(PILOT * len(own))]] = True
    return in_pilot, ~in_pilot


def split(table: pl.DataFrame, rng: np.random.Generator) -> tuple[Prediction, float | None]:
    """A pilot's prediction, and the width that the rest of the completions gets; None without a hit there."""
    level, count_S = plan()
    share_S = count_S / count_S.sum()
    hit = (table["label"] == "exploit").to_numpy()
    ratio = np.zeros((table.height, len(count_S)))
    if hit.any():
        ratio[hit] = np.array(table["log_ratios"].drop_nulls().to_list())
    span = table["span"].to_numpy()
    first, rest = halves(table, rng)
    pilot = read_pilot(ratio[first], hit[first], span[first])
    got = mixture_estimate(ratio[rest], hit[rest], span[rest], level=level).interval_log10
    return predict(pilot, share_S, int(rest.sum()), level=level), None if got is None else got[1] - got[0]


def main() -> None:
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    within, told = 0, 0
    print("| subject | type | truth | pilot ESS | predicted | got | within a factor 2 | too narrow | too wide |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cell, table in cells().items():
        rng = np.random.default_rng(0)
        pairs = [split(table, rng) for _ in range(splits)]
        kept = [(p, got) for p, got in pairs if p.width is not None and got is not None]
        ratio = np.array([p.width / got for p, got in kept if p.width is not None])
        held = (ratio <= FACTOR) & (ratio >= 1 / FACTOR)
        within, told = within + int(held.sum()), told + len(ratio)
        if not len(ratio):
            continue
        ess = np.median([p.pilot_ess for p, _ in kept if p.pilot_ess is not None])
        said, was = np.median([p.width for p, _ in kept if p.width is not None]), np.median([got for _, got in kept])
        shares = held.mean(), (ratio < 1 / FACTOR).mean(), (ratio > FACTOR).mean()
        figures = " | ".join(f"{value:.2f}" for value in (said, was, *shares))
        print(f"| {cell[0]} | {cell[1]} | {truths()[cell].rate:.2g} | {ess:.1f} | {figures} |")
    print(f"\n{within} of {told}: {within / told:.2f}")


if __name__ == "__main__":
    main()
