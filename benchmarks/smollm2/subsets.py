"""Verdicts on SmolLM2 under many choices of spans: how often resolved, how often resolved and missed.

    python benchmarks/smollm2/subsets.py [CHOICES]

Each choice takes brute force and some of the study's other spans, drawn without replacement from all choices; every
cell is estimated from their completions alone, with and without what tells of which hits the donor wrote the beginning.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
from kept import Row, cells, estimate, plan

from forewarn.estimation.diagnostics import MIN_ESS


def choices(n: int) -> list[tuple[int, ...]]:
    """Some of the sets of spans that hold brute force and another."""
    others = range(1, len(plan()[1]))
    every = [(0, *some) for size in others for some in itertools.combinations(others, size)]
    return [every[i] for i in np.random.default_rng(0).permutation(len(every))[:n]]


def line(name: str, rows: list[Row]) -> str:
    resolved = [row for row in rows if row.estimate.resolved]
    missed = [row.cell for row in resolved if not row.covers]
    return f"{name}: {len(resolved)} of {len(rows)} resolved, {len(missed)} of them missed, in {len(set(missed))} cells"


def main() -> None:
    some = choices(int(sys.argv[1]) if len(sys.argv) > 1 else 250)
    for openings in (False, True):
        rows = [estimate(cell, spans, openings=openings) for cell in cells() for spans in some]
        counted = [row.estimate.hits_by_span[0] >= MIN_ESS for row in rows]
        said = "asked who wrote the beginning" if openings else "before"
        for name, wanted in (("8 brute-force hits or more", True), ("fewer", False)):
            print(
                line(
                    f"{said}, {name}",
                    [row for row, is_counted in zip(rows, counted, strict=True) if is_counted == wanted],
                )
            )


if __name__ == "__main__":
    main()
