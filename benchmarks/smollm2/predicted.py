"""A pilot's plan and what comes of it, on pilots and studies cut out of the kept completions, cell by cell.

    python benchmarks/smollm2/predicted.py [SPLITS]

Each split takes a quarter of every span's completions as the pilot. The others are the study: all of them, with the
shares that they have; as many as there are in the shares of the guarded rule; and as many in the shares of the study.
Predicted and found widths, ESS and errors are told of both. It is ``forewarn plan`` but for three things: the pilot is
one round, counts are of a cell and not of a problem, and pilot and study share the draws of one study, so that a heavy
hit in the pilot is one less for the rest.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import polars as pl
from kept import Truth, cells, plan, truths
from numpy.typing import NDArray

from forewarn.estimation import mixture_estimate
from forewarn.estimation.allocation import guarded_shares, read_pilot
from forewarn.estimation.expected import predict
from forewarn.records import Estimate

PILOT = 0.25
FACTOR = 2.0
Floats, Ints = NDArray[np.float64], NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arrays:
    """A cell's completions."""

    ratio: Floats
    hit: NDArray[np.bool_]
    span: Ints
    tokens: Ints

    @classmethod
    def of(cls, table: pl.DataFrame, n_span: int) -> Arrays:
        hit = (table["label"] == "exploit").to_numpy()
        ratio = np.zeros((table.height, n_span))
        if hit.any():
            ratio[hit] = np.array(table["log_ratios"].drop_nulls().to_list())
        return cls(ratio, hit, table["span"].to_numpy().astype(np.int64), table["tokens"].to_numpy().astype(np.int64))

    def estimate(self, rows: Ints, level: float) -> Estimate:
        return mixture_estimate(self.ratio[rows], self.hit[rows], self.span[rows], level=level)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pilot foretold of a study with some shares, and what that gave."""

    pilot_ess: float | None
    predicted: float | None
    found: Estimate

    @property
    def width(self) -> float | None:
        ends = self.found.interval_log10
        return None if ends is None else ends[1] - ends[0]

    @property
    def ratio(self) -> float | None:
        """Predicted over found width."""
        return None if self.predicted is None or self.width is None else self.predicted / self.width

    def error(self, truth: Truth) -> float:
        found = self.found.log10_p
        return math.inf if found is None else abs(found - math.log10(truth.rate))


def some(rows: Ints, span: Ints, count_S: Ints) -> Ints:
    """The first of ``rows``, which are in random order, of each span."""
    return np.concatenate([rows[span[rows] == s][:count] for s, count in enumerate(count_S)])


def split(data: Arrays, share_S: Floats, level: float, rng: np.random.Generator) -> tuple[Outcome, ...]:
    """With the study's own shares and all that is left; with those and as many as the plan's; and with the plan's."""
    order = rng.permutation(len(data.span))
    total_S = np.bincount(data.span, minlength=len(share_S))
    first = some(order, data.span, np.round(PILOT * total_S).astype(np.int64))
    rest = order[~np.isin(order, first)]
    pilot = read_pilot(data.ratio[first], data.hit[first], data.span[first])
    tokens_S = np.array([data.tokens[first][data.span[first] == s].mean() for s in range(len(share_S))])
    there_S = np.bincount(data.span[rest], minlength=len(share_S))
    planned_S = guarded_shares(pilot, cost_S=tokens_S)
    count_S = np.maximum(1, np.floor(planned_S * float((there_S / planned_S).min()) + 1e-9)).astype(np.int64)
    n = int(count_S.sum())
    own_S = np.maximum(1, np.floor(share_S * n)).astype(np.int64)
    outcomes = []
    for counts_S in (there_S, own_S, count_S):
        said = predict(pilot, counts_S / counts_S.sum(), int(counts_S.sum()), level=level)
        found = data.estimate(some(rest, data.span, counts_S), level)
        outcomes.append(Outcome(said.pilot_ess, said.width, found))
    return tuple(outcomes)


def within(outcomes: list[Outcome]) -> tuple[int, int, int, int]:
    """Of the predictions: how many there are, how many within the factor, too narrow, too wide."""
    ratio = np.array([one.ratio for one in outcomes if one.ratio is not None])
    low, high = int((ratio < 1 / FACTOR).sum()), int((ratio > FACTOR).sum())
    return len(ratio), len(ratio) - low - high, low, high


def middle(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{np.median(there):.2g}" if there else "-"


def main() -> None:
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    level, count_S = plan()
    names = (
        "subject", "type", "truth", "pilot's ESS", "predicted", "found", "within a factor 2", "too narrow",
        "too wide", "n, planned", "ESS, own shares", "ESS, planned", "error, own shares", "error, planned",
    )  # fmt: skip
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    names_of = ("all that is left, own shares", "as many as planned, own shares", "planned shares")
    sums = np.zeros((len(names_of), 4), np.int64)
    for cell, table in cells().items():
        rng, truth = np.random.default_rng(0), truths()[cell]
        data = Arrays.of(table, len(count_S))
        pairs = [split(data, count_S / count_S.sum(), level, rng) for _ in range(splits)]
        arms = [[one[i] for one in pairs] for i in range(len(names_of))]
        whole, own, planned = arms
        told, held, low, high = within(whole)
        sums += np.array([within(arm) for arm in arms])
        shares = [f"{value / told:.2f}" if told else "-" for value in (held, low, high)]
        ess = [middle([one.found.ess for one in arm]) for arm in (own, planned)]
        errors = [
            f"{np.median([one.error(truth) for one in arm]):.2f}" if truth.counts else "-" for arm in (own, planned)
        ]
        n = f"{np.median([one.found.n for one in planned]):.0f}"
        widths = middle([one.predicted for one in whole]), middle([one.width for one in whole])
        figures = (middle([one.pilot_ess for one in whole]), *widths, *shares, n, *ess, *errors)
        print(f"| {cell[0]} | {cell[1]} | {truth.rate:.2g} | " + " | ".join(figures) + " |")
    for name, (told, held, low, high) in zip(names_of, sums.tolist(), strict=True):
        print(f"\n{name}: {held} of {told} within a factor 2 ({held / told:.2f}), {low} too narrow, {high} too wide")


if __name__ == "__main__":
    main()
