"""Pareto tail index of the weighted hits, by our own small module.

The generalised Pareto fit of Zhang & Stephens (Technometrics 2009) with the weak prior of Vehtari, Simpson, Gelman,
Yao & Gabry (JMLR 2024, appendix G). Takes the values themselves, not their logs and not negated: what is given is
fitted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats

MIN_TAIL = 5
"""fewer exceedances give no index"""


def fit_generalised_pareto(exceedance_N: ArrayLike) -> tuple[float, float]:
    """Shape k and scale sigma of positive exceedances (k > 0: heavy tail); the shape is shrunk to 0.5 by 10 draws.

    Raises InputError for fewer than five exceedances, or any that is not positive and finite.
    """
    x = np.sort(np.asarray(exceedance_N, dtype=np.float64))
    n = len(x)
    if n < MIN_TAIL:
        raise InputError(f"exceedance_N has {n} values: a tail fit needs at least {MIN_TAIL}")
    if not (np.isfinite(x).all() and x[0] >= 0 and x[-1] > 0):
        raise InputError(
            "exceedance_N holds a value that is negative or not finite: give exceedances above a threshold"
        )
    n_grid = 30 + int(math.sqrt(n))
    quartile = float(x[int(n / 4 + 0.5) - 1]) or float(x[x > 0][0])
    theta_G = 1 / x[-1] + (1 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))) / (3 * quartile)
    shape_G: Floats = np.log1p(-theta_G[:, None] * x[None, :]).mean(axis=1)
    ratio_G = np.where(theta_G == 0, np.nan, -theta_G / np.where(shape_G == 0, np.nan, shape_G))
    log_lik_G = n * (np.log(ratio_G) - shape_G - 1)
    log_lik_G = np.where(np.isnan(log_lik_G), -np.inf, log_lik_G)
    weight_G = np.exp(log_lik_G - log_lik_G.max())
    theta = float((weight_G * theta_G).sum() / weight_G.sum())
    shape = float(np.log1p(-theta * x).mean())
    scale = -shape / theta
    return (n * shape + 10 * 0.5) / (n + 10), scale


def pareto_khat(value_H: ArrayLike) -> float | None:
    """Tail index of positive values (w*E of the hits, zeros left out, any scale).

    The tail is the largest min(H/5, 3 sqrt(H)) values, as in PSIS. None where that is fewer than five, or where the
    tail holds a single value (constant weights have no tail to fit).
    """
    value = np.sort(np.asarray(value_H, dtype=np.float64))
    value = value[value > 0]
    n = len(value)
    n_tail = int(min(n / 5, 3 * math.sqrt(n)))
    if n_tail < MIN_TAIL:
        return None
    value = value / value[-1]
    threshold = float(value[n - n_tail - 1])
    exceedance = value[n - n_tail :] - threshold
    if exceedance[-1] <= 1e-12 or np.count_nonzero(exceedance > 0) < MIN_TAIL:
        return None
    return fit_generalised_pareto(exceedance[exceedance > 0])[0]
