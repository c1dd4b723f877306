"""The growth of one exploit type's rate: slope of ln p on ln step; cells without hits enter by likelihood.

Not here: shared donor traces (``covariance.py``), forecasts (``emergence.py``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaincinv

from forewarn.errors import InputError
from forewarn.records import Estimate, Trend

Floats = NDArray[np.float64]

_MAX_SLOPE = 60.0
"""largest |d ln p / d ln step| of a valid maximum: p would change by 26 decades while the step grows tenfold"""


def check_steps(steps: Sequence[int], estimates: Sequence[Estimate]) -> Floats:
    """Return ln step after checking that steps are positive, increasing, at least two, and have one estimate each."""
    if len(steps) != len(estimates):
        raise InputError(f"steps has {len(steps)} values: there are {len(estimates)} estimates")
    if len(steps) < 2:
        raise InputError(f"steps has {len(steps)} value(s): a trend needs at least two checkpoints")
    if min(steps) < 1:
        raise InputError(f"steps contains {min(steps)}: a trend in ln step needs steps of 1 or more")
    if any(b <= a for a, b in itertools.pairwise(steps)):
        raise InputError(f"steps is {list(steps)}: give checkpoints in increasing order, each once")
    return np.log(np.asarray(steps, dtype=np.float64))


def zero_cell_exposure(estimate: Estimate) -> float:
    """Return n_0 of a cell without hits: its number of brute-force completions, reduced by the invalid ones.

    It is computed from the certified upper bound: without a hit the Clopper-Pearson bound is 1 - delta^(1/n_0).
    """
    if estimate.upper_bound >= 1:
        return 0.0
    return math.log(1 - estimate.level) / math.log1p(-estimate.upper_bound)


def cell_counts(estimates: Sequence[Estimate]) -> tuple[Floats, Floats]:
    """Return effective hits and ln exposure of each cell: ESS and ESS / p_hat, or 0 and n_0 without hits."""
    count_C = np.array([0.0 if e.log10_p is None or e.ess is None else e.ess for e in estimates])
    log_exposure_C = np.array(
        [
            math.log(max(zero_cell_exposure(e), 1e-300))
            if e.log10_p is None or e.ess is None
            else math.log(e.ess) - e.log10_p * math.log(10)
            for e in estimates
        ]
    )
    return count_C, log_exposure_C


def profile(count_C: Floats, log_exposure_C: Floats, x_C: Floats) -> Callable[[float], float]:
    """Return the profile log-likelihood of the slope, which is concave; the intercept has a closed form."""
    total, moment = float(count_C.sum()), float((count_C * x_C).sum())

    def log_likelihood(slope: float) -> float:
        return slope * moment - total * float(np.logaddexp.reduce(log_exposure_C + slope * x_C))

    return log_likelihood


def certified_slopes(x_C: Floats, estimates: Sequence[Estimate]) -> tuple[float, float] | None:
    """Return the range of slopes of lines that pass through every certified interval; None if no line does.

    A line of slope b exists if and only if b (x_j - x_i) <= ln upper_j - ln lower_i for every pair. Each of the 2C
    bounds holds at ``level``, so all of them hold together with probability at least 1 - 2C (1 - level).
    """
    with np.errstate(divide="ignore"):
        low_C = np.log([e.lower_bound for e in estimates])
        high_C = np.log([e.upper_bound for e in estimates])
    most, least = math.inf, -math.inf
    for i in range(len(x_C)):
        for j in range(i + 1, len(x_C)):
            gap = float(x_C[j] - x_C[i])
            most = min(most, float(high_C[j] - low_C[i]) / gap)
            least = max(least, float(low_C[j] - high_C[i]) / gap)
    return (least, most) if least <= most else None


def fit_trend(steps: Sequence[int], estimates: Sequence[Estimate], *, level: float = 0.9) -> Trend:
    """Return the slope of ln p on ln step by scaled-Poisson likelihood.

    A cell with hits enters as ESS effective hits with exposure ESS / p_hat. A cell without hits enters as exp(-n_0 p);
    it is never dropped or counted as half a hit. The interval comes from the profile likelihood. If the data do not
    bound it (all hits are in one cell), that end is infinite and ``slope`` is None. Without any hit both are None.
    Raises InputError for steps below 1, out of order, or of another number than the estimates. Source: method.md,
    "Across checkpoints".
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a value strictly between 0 and 1")
    x_C = check_steps(steps, estimates)
    count_C, log_exposure_C = cell_counts(estimates)
    slope, interval = _slope(count_C, log_exposure_C, x_C - x_C.mean(), level)
    return Trend(
        slope=slope,
        slope_interval=interval,
        level=level,
        steps=tuple(int(s) for s in steps),
        n_zero_cells=int((count_C == 0).sum()),
        certified_slopes=certified_slopes(x_C, estimates),
    )


def _slope(
    count_C: Floats, log_exposure_C: Floats, x_C: Floats, level: float
) -> tuple[float | None, tuple[float, float] | None]:
    if not count_C.any():
        return None, None
    log_likelihood = profile(count_C, log_exposure_C, x_C)
    found = minimize_scalar(lambda b: -log_likelihood(b), bounds=(-_MAX_SLOPE, _MAX_SLOPE), method="bounded")
    best, top = float(found.x), -float(found.fun)
    drop = float(gammaincinv(0.5, level))

    def excess(slope: float) -> float:
        return top - log_likelihood(slope) - drop

    low = float(brentq(excess, -_MAX_SLOPE, best)) if excess(-_MAX_SLOPE) > 0 else -math.inf
    high = float(brentq(excess, best, _MAX_SLOPE)) if excess(_MAX_SLOPE) > 0 else math.inf
    bounded = abs(best) < 0.98 * _MAX_SLOPE and math.isfinite(low) and math.isfinite(high)
    return (best if bounded else None), (low, high)
