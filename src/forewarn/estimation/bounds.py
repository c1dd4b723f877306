"""Certified bounds at fixed N: betting for the lower, Clopper-Pearson or betting on the subject's own span above.

Does not cover sequential use: these hold at a number of completions fixed beforehand (see ``prediction.alarms``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betainccinv, betaincinv, logsumexp

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats
from forewarn.estimation.sample import check_level

_BETS_PER_DECADE = 4


def _check_count(hits: int, n: int) -> None:
    if n < 1:
        raise InputError(f"n is {n}: a rate needs at least one completion")
    if not 0 <= hits <= n:
        raise InputError(f"hits is {hits}: give a count between 0 and n = {n}")


def clopper_pearson(hits: int, n: int, *, level: float = 0.9) -> tuple[float, float]:
    """Exact two-sided interval for a binomial probability (Clopper & Pearson 1934); ``hits`` of ``n``.

    Raises InputError for counts or a level out of range.
    """
    check_level(level)
    _check_count(hits, n)
    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betainccinv(hits + 1, n - hits, tail)) if hits < n else 1.0
    return low, high


def jeffreys(hits: int, n: int, *, level: float = 0.9) -> tuple[float, float]:
    """Jeffreys interval for a binomial probability, 0 and 1 at the extremes (Brown, Cai & DasGupta 2001)."""
    check_level(level)
    _check_count(hits, n)
    tail = (1 - level) / 2
    low = float(betaincinv(hits + 0.5, n - hits + 0.5, tail)) if hits else 0.0
    high = float(betainccinv(hits + 0.5, n - hits + 0.5, tail)) if hits < n else 1.0
    return low, high


def fixed_bets(n_unit: int) -> Floats:
    """The bets c_g of the lower bound: log-spaced from about 1/U to 0.9. A function of the planned U alone."""
    n_bet = max(8, math.ceil(_BETS_PER_DECADE * math.log10(2 * n_unit + 1)))
    return np.geomspace(min(0.3, 0.5 / n_unit), 0.9, n_bet)


def certified_lower(value_H: ArrayLike, n_unit: int, *, level: float = 0.9) -> float:
    """Lower bound, relative to the estimate, for the mean of ``n_unit`` independent non-negative unit totals.

    ``value_H``: totals of the units that hit, any positive scale (the other units' totals are 0). Returns b such that
    b * (sum of value_H / n_unit) is below the average of the units' means with probability at least ``level``.
    K(m) = mean_g prod_u (1 + c_g (X_u/m - 1)) has expectation at most 1 at the true average m for units that are
    independent but not identical, since a product of non-negative numbers is at most the power of their mean (AM-GM);
    the bound is the m at which K = 1/delta (Markov). Construction: betting martingales (Waudby-Smith & Ramdas 2024)
    with a fixed grid of bets, which unlike plug-in bets stays valid on stratified samples.
    """
    check_level(level)
    value = np.asarray(value_H, dtype=np.float64)
    value = value[value > 0]
    if not len(value):
        return 0.0
    if len(value) > n_unit:
        raise InputError(f"n_unit is {n_unit}: there are {len(value)} units with a hit")
    ratio_H = value * (n_unit / float(value.sum()))  # in units of the estimate, so their average over U is 1
    bet_G = fixed_bets(n_unit)
    log_miss_G = (n_unit - len(ratio_H)) * np.log1p(-bet_G)

    def log_capital(log_m: float) -> float:
        factor_GH = np.log1p(bet_G[:, None] * (np.exp(-log_m) * ratio_H[None, :] - 1))
        total: float = float(logsumexp(factor_GH.sum(axis=1) + log_miss_G)) - math.log(len(bet_G))
        return total + math.log(1 - level)

    # capital falls in m, is at most 1 at the estimate itself (concavity) and grows without limit as m goes to 0
    low = -20.0
    while log_capital(low) < 0:
        low *= 2
    return math.exp(float(brentq(log_capital, low, 0.0, xtol=1e-9)))


def certified_upper(value_U: ArrayLike, size_U: ArrayLike, *, level: float = 0.9) -> float:
    """Upper bound for brute force's rate from the subject's own completions, grouped in independent units.

    ``size_U``: each unit's planned weight in the rate (sums to 1); ``value_U``: the part of it that hit or is invalid,
    in [0, size]. Equal units that are all-or-nothing give Clopper-Pearson, valid for unequal rates too (Hoeffding
    1956: a Poisson-binomial is below a binomial of its mean in the tails, for level above 1/2). Otherwise a fixed
    grid of bets against "the rate is at least m".
    """
    check_level(level)
    value, size = np.asarray(value_U, dtype=np.float64), np.asarray(size_U, dtype=np.float64)
    n = len(size)
    if value.shape != size.shape or n == 0:
        raise InputError(f"value_U has shape {value.shape} and size_U {size.shape}: give equal shapes, not empty")
    whole = np.isclose(value, 0, atol=1e-12 / n) | np.isclose(value, size, rtol=1e-9)
    if np.allclose(size, 1 / n, rtol=1e-9) and bool(whole.all()):
        hits = int((value > 0.5 / n).sum())
        return 1.0 if hits == n else float(betainccinv(hits + 1, n - hits, 1 - level))
    top = float(size.max()) * n
    y_U = value * n
    bet_G = np.geomspace(1e-3, 1.0, 16)
    # half of the capital on the full bet, which is best without hits: the usual case
    log_stake_G = np.log(np.where(bet_G == bet_G[-1], 0.5, 0.5 / 15))

    def log_capital(m: float) -> float:
        # full bet m/(top - m): the largest that keeps every factor non-negative for totals up to ``top``
        factor_GU = np.log1p(np.maximum(bet_G[:, None] * ((m - y_U) / (top - m))[None, :], -1 + 1e-15))
        return float(logsumexp(factor_GU.sum(axis=1) + log_stake_G)) + math.log(1 - level)

    high = 1.0 if top > 1 else 1.0 - 1e-12
    if log_capital(high) < 0:
        return 1.0
    return float(brentq(log_capital, 1e-15, high, xtol=1e-15))
