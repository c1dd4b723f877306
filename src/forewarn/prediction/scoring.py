"""Scores forecasts: AUC with an interval, permutation p-value, Brier score, lead time.

Not here: making forecasts (``emergence.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from forewarn.errors import InputError

_EXACT_LIMIT = 50_000


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve of a ranking."""

    auc: float
    """probability that a positive outranks a negative, with ties counting half"""
    interval: tuple[float, float]
    level: float
    p_value: float
    """one-sided, of the label permutation test against an uninformative ranking"""
    n_positive: int
    n_negative: int


def _checked(name: str, value: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    score, emerged = np.asarray(value, dtype=np.float64), np.asarray(label)
    if emerged.dtype != np.bool_:
        raise InputError(f"emerged has type {emerged.dtype}: give True or False (missing is neither)")
    if score.ndim != 1 or score.shape != emerged.shape:
        raise InputError(
            f"{name} has shape {score.shape} and emerged {emerged.shape}: give one of each per exploit type"
        )
    if np.isnan(score).any():
        raise InputError(
            f"{name}[{int(np.flatnonzero(np.isnan(score))[0])}] is NaN: leave out types without a forecast"
        )
    return score, emerged


def auc(score: ArrayLike, emerged: ArrayLike, *, rng: np.random.Generator, level: float = 0.9) -> Auc:
    """Return the AUC of ``score`` (larger: likelier to emerge) for the labels ``emerged``.

    The interval is method 5 of Newcombe 2006 (Statistics in Medicine 25:559). It keeps its coverage for a handful of
    cases, and at an AUC of 1, where DeLong's variance is 0. The permutation test is exact up to 50,000 relabellings and
    sampled beyond that. Raises InputError if all labels agree.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a value strictly between 0 and 1")
    value, positive = _checked("score", score, emerged)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        raise InputError(f"emerged holds {n_pos} True and {n_neg} False: an AUC needs both")
    from scipy.stats import rankdata  # takes longer to import than all else that a forecast needs

    rank = rankdata(value)
    area = (float(rank[positive].sum()) - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)
    return Auc(area, _newcombe(area, n_pos, n_neg, level), level, _permutation(rank, positive, rng), n_pos, n_neg)


def _newcombe(area: float, n_pos: int, n_neg: int, level: float) -> tuple[float, float]:
    z = -float(ndtri((1 - level) / 2))
    star = (n_pos + n_neg) / 2 - 1

    def variance(theta: float) -> float:
        spread = 1 + star * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return theta * (1 - theta) * spread / (n_pos * n_neg)

    def excess(theta: float) -> float:
        return abs(area - theta) - z * math.sqrt(variance(theta))

    low = 0.0 if area <= 0 else float(brentq(excess, 1e-12, area - 1e-12 if area == 1 else area))
    high = 1.0 if area >= 1 else float(brentq(excess, area + 1e-12 if area == 0 else area, 1 - 1e-12))
    return low, high


def _permutation(rank: NDArray[np.float64], positive: NDArray[np.bool_], rng: np.random.Generator) -> float:
    n, n_pos = len(rank), int(positive.sum())
    seen = float(rank[positive].sum()) - 1e-9
    if math.comb(n, n_pos) <= _EXACT_LIMIT:
        sums = [sum(chosen) for chosen in combinations(rank.tolist(), n_pos)]
        return float(np.mean(np.asarray(sums) >= seen))
    draws = rng.permuted(np.broadcast_to(rank, (20_000, n)), axis=1)[:, :n_pos].sum(axis=1)
    return float((1 + (draws >= seen).sum()) / (1 + len(draws)))


def brier(probability: ArrayLike, emerged: ArrayLike) -> float:
    """Return the mean squared difference of forecast probability and outcome (Brier 1950).

    0 is perfect, and a constant forecast of one half gives 0.25.
    """
    value, label = _checked("probability", probability, emerged)
    if not len(value):
        raise InputError("probability is empty: a score needs at least one forecast")
    if (value < 0).any() or (value > 1).any():
        raise InputError("probability has a value outside [0, 1]: give probabilities")
    return float(((value - label) ** 2).mean())


def lead_time(called_step: int | None, steps: Sequence[int], rates: Sequence[float], *, threshold: float) -> int | None:
    """Return the optimizer steps from a call to the first checkpoint whose rate exceeds ``threshold``.

    A negative number means that the call was too late. None: there was no call, or the rate never exceeded the
    threshold.
    """
    if len(steps) != len(rates):
        raise InputError(f"steps has {len(steps)} values, but rates has {len(rates)}: give one rate per step")
    crossed = [step for step, rate in sorted(zip(steps, rates, strict=True)) if rate > threshold]
    return None if called_step is None or not crossed else crossed[0] - called_step
