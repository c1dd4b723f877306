"""For rates near 1: the mixture estimate with the control variate w - 1, whose mean is 0, cross-fitted.

Needs log-ratios of every completion, hits or not. For rare rates it does nothing for the variance: use ``mixture``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, Ints, numbers
from forewarn.estimation.sample import check_level, read_sample


def _fold(cell_N: Ints) -> Ints:
    """0 and 1 in turn within each cell, so that both folds keep every (problem, span)."""
    order = np.argsort(cell_N, kind="stable")
    size = np.bincount(cell_N)
    start = np.concatenate([[0], np.cumsum(size)])[:-1]
    rank = np.empty(len(cell_N), dtype=np.int64)
    rank[order] = np.arange(len(cell_N)) - start[cell_N[order]]
    return rank % 2


def _slope(x_N: Floats, y_N: Floats, cell_N: Ints, weight_N: Floats) -> float:
    """Pooled within-cell regression of x on y: the coefficient that removes most variance."""
    size = np.bincount(cell_N)
    x = x_N - (np.bincount(cell_N, weights=x_N) / np.maximum(size, 1))[cell_N]
    y = y_N - (np.bincount(cell_N, weights=y_N) / np.maximum(size, 1))[cell_N]
    spread = float((weight_N**2 * y * y).sum())
    return float((weight_N**2 * x * y).sum()) / spread if spread > 0 else 0.0


def control_variate_estimate(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    *,
    share_S: ArrayLike | None = None,
    problem_N: ArrayLike | None = None,
    level: float = 0.9,
) -> tuple[float, tuple[float, float]]:
    """Rate and its interval (logit scale) from wE - b (w - 1), b fitted on the other half of every (problem, span).

    Arguments as for ``mixture_estimate``, but ``log_ratio_NS`` is read on every row (NaN is refused), every (problem,
    span) drawn from needs at least four completions, and each completion its own donor trace. Unbiased: b and the
    completions it serves are independent. Raises InputError. Source: Owen & Zhou 2000, section 3; cross-fitting after
    method.md.
    """
    check_level(level)
    ratio = numbers("log_ratio_NS", log_ratio_NS)
    hit = np.asarray(is_exploit_N)
    read_sample(ratio, hit, span_N, share_S=share_S, problem_N=problem_N)  # refuses what mixture_estimate refuses
    every = read_sample(ratio, np.ones(len(hit), dtype=np.bool_), span_N, share_S=share_S, problem_N=problem_N)
    cell_N = every.problem_N * every.n_span + every.span_N
    size = np.bincount(cell_N)
    if (size[size > 0] < 4).any():
        raise InputError(
            f"span_N has a (problem, span) cell of {int(size[size > 0].min())}: the control variate needs 4"
        )
    w_N = np.exp(every.log_weight_H)
    x_N, y_N = np.where(hit, w_N, 0.0), w_N - 1
    fold_N = _fold(cell_N)
    value, variance = 0.0, 0.0
    for f in (0, 1):
        mine, other = fold_N == f, fold_N != f
        slope = _slope(x_N[other], y_N[other], cell_N[other], every.coef_N[other])
        own_size = np.bincount(cell_N[mine], minlength=len(size))
        # half of the planned weight, spread over this fold's part of each cell
        weight = every.coef_N[mine] * size[cell_N[mine]] / own_size[cell_N[mine]] / 2
        v = x_N[mine] - slope * y_N[mine]
        value += float((weight * v).sum())
        mean = np.bincount(cell_N[mine], weights=v, minlength=len(size)) / np.maximum(own_size, 1)
        free = own_size / np.maximum(own_size - 1, 1)
        variance += float((weight**2 * free[cell_N[mine]] * (v - mean[cell_N[mine]]) ** 2).sum())
    if not 0 < value < 1:
        return value, (0.0, 1.0)
    half = -float(ndtri((1 - level) / 2)) * math.sqrt(variance) / (value * (1 - value))
    center = float(logit(value))
    return value, (float(expit(center - half)), float(expit(center + half)))
