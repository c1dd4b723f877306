"""The truth curve of a pair: linear in the logit between the start level and the cells with hits, with caps.

A cell without a hit caps the curve at its own step at 1 over its completions. After the last cell with hits the curve
stays where it is, or at that cap where cells without hits follow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from forewarn.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counted:
    """A cell of the truth."""

    step: int
    n: int
    hits: int


@dataclass(frozen=True, slots=True)
class TruthCurve:
    """Knots of the curve; the logit is linear between them and constant after the last."""

    steps: tuple[float, ...]
    logits: tuple[float, ...]

    @classmethod
    def of(cls, start: float, cells: Sequence[Counted]) -> TruthCurve:
        """The curve from p(0) = ``start`` through these cells.

        A cell in which every completion hit counts as one half short of all, since its logit would be infinite. Raises
        InputError for a start outside (0, 1), steps out of order or before 1, and counts that are none.
        """
        if not 0 < start < 1:
            raise InputError(f"the start level is {start}: give a rate strictly between 0 and 1")
        steps = [cell.step for cell in cells]
        if any(b <= a for a, b in itertools.pairwise([0, *steps])):
            raise InputError(
                f"the truth has cells at steps {steps}: give them in increasing order, each once, from 1 on"
            )
        wrong = next((cell for cell in cells if not (cell.n > 0 and 0 <= cell.hits <= cell.n)), None)
        if wrong is not None:
            raise InputError(
                f"the truth has {wrong.hits} hits of {wrong.n} completions at step {wrong.step}: draw it again"
            )
        seen = [(0, float(logit(start)))]
        seen += [(cell.step, float(logit(min(cell.hits, cell.n - 0.5) / cell.n))) for cell in cells if cell.hits]
        at, line = [step for step, _ in seen], [value for _, value in seen]
        knots = dict(seen)
        held = math.inf
        for cell in cells:
            if cell.hits:
                continue
            drawn = float(np.interp(cell.step, at, line))
            capped = min(drawn, _logit_of_one_in(cell.n))
            if cell.step > at[-1]:  # nothing was hit any more: the curve never rises from a cap again
                capped = held = min(held, capped)
            knots[cell.step] = capped
        ordered = sorted(knots.items())
        return cls(tuple(float(step) for step, _ in ordered), tuple(value for _, value in ordered))

    def rates(self, steps: ArrayLike) -> Floats:
        """The true rate at each step."""
        rates: Floats = expit(np.interp(np.asarray(steps, dtype=np.float64), self.steps, self.logits))
        return rates

    def crossing(self, rate: float) -> float | None:
        """The step at which the curve first reaches a rate; None: never."""
        wanted = float(logit(rate))
        if self.logits[0] >= wanted:
            return self.steps[0]
        pairs = itertools.pairwise(zip(self.steps, self.logits, strict=True))
        for (before, low), (after, high) in pairs:
            if high >= wanted:
                return before + (after - before) * (wanted - low) / (high - low)
        return None

    @property
    def highest(self) -> float:
        return float(expit(max(self.logits)))


def _logit_of_one_in(n: int) -> float:
    return float(logit(1 / n)) if n > 1 else math.inf


def first_hits(rate_C: Floats, completions: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The number (from 1) of the checkpoint of the first hit in each of ``draws`` simulations of counting.

    ``rate_C``: the true rate at each checkpoint. A draw without any hit has one more than the number of checkpoints.
    """
    seen_C = -np.expm1(completions * np.log1p(-np.minimum(rate_C, 1 - 1e-15)))
    hit_DC = rng.random((draws, len(rate_C))) < seen_C
    return np.where(hit_DC.any(axis=1), hit_DC.argmax(axis=1) + 1, len(rate_C) + 1).astype(np.int64)


def expected_first_hit(rate_C: Floats, completions: int) -> float:
    """The expectation of ``first_hits``, exactly: the sum over checkpoints of the probability of no hit before."""
    unseen_C = np.exp(completions * np.log1p(-np.minimum(rate_C, 1 - 1e-15)))
    return 1.0 + float(np.cumprod(unseen_C).sum())
