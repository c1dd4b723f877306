"""Forecasts whether an exploit type will emerge in a run: a posterior over growth paths from the first checkpoints.

The model is l(s) = a + G u(s) + noise. l(s) is the logit of the rate at step s. u is a clock that runs from 0 at the
first checkpoint to 1 at the horizon; it is logarithmic, square-root or linear in the step, each equally likely a
priori. G is the growth over the whole run, in logits, so that growth saturates. Level and slope count together: a type
at 1e-3 that doubles is ahead of one at 1e-6 that grows tenfold. The prior on G shrinks slopes that rest on a few noisy
cells. Cells without hits enter by likelihood, so more completions without a hit never raise a score.

Not here: alarms on a rate that has been exceeded (``alarms.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit, logit

from forewarn.errors import InputError
from forewarn.prediction.trend import cell_counts, check_steps
from forewarn.records import Estimate, Forecast, RatePath

Floats = NDArray[np.float64]

GROWTH_MEAN = 2.0
GROWTH_SD = 5.0
"""prior of G, logits: RL rewards what it samples, so growth is likelier than decline; some types grow by ten logits"""
PATH_SD = 1.5
"""standard deviation of the path's deviation from its trend by the horizon, logits"""
MISFIT_SD = 0.5
"""standard deviation of a checkpoint's logit around the trend, beyond its sampling error"""
DOUBT = {True: 0.05, False: 0.5}
"""prior probability that a cell's interval is wrong (because its spans never reach some mass), by ``resolved``; its
certified bounds still hold"""
NO_HIT_SCORE = -1000.0
"""score of every type without a hit at any checkpoint; they tie, so that the ranking does not depend on sample size"""
_CLOCKS = (0.0, 0.5, 1.0)
_N_DRAW = 4000
_N_STEP = 60
_STRIDE = 4
"""quantiles of the paths are kept at every fourth of their steps, and at the last"""


@dataclass(frozen=True, slots=True)
class _Grid:
    """The posterior over start level, growth and clock, flattened."""

    start: Floats
    growth: Floats
    clock: Floats
    weight: Floats


def _time(step: Floats, power: Floats | float, first: float, horizon: float) -> Floats:
    """Return u(s), which is 0 at ``first`` and 1 at ``horizon``; ``power`` 0 is the log clock."""
    power = np.asarray(power, dtype=np.float64)
    safe = np.where(power == 0, 1.0, power)
    curved = (step**safe - first**safe) / (horizon**safe - first**safe)
    logged = np.log(step / first) / math.log(horizon / first)
    return np.where(power == 0, logged, curved)


def cell_log_likelihood(
    level: Floats, estimate: Estimate, count: float, log_exposure: float, *, doubt: float | None = None
) -> Floats:
    """Return the ln likelihood of one cell at the logits ``level``, with misfit integrated out; at most about 0.

    ``doubt``: the weight of an interval that is wrong; None: ``DOUBT``.
    """
    node, node_weight = hermegauss(5)
    wrong = DOUBT[estimate.resolved] if doubt is None else doubt
    value = np.zeros_like(level)
    # doubt: the spans may have missed mass, but the certified bounds hold; without hits only these are known
    delta = 1 - estimate.level
    ceiling = -math.log(delta) / max(estimate.upper_bound, 1e-300)
    for x, w in zip(node, node_weight / node_weight.sum(), strict=True):
        log_p = -np.logaddexp(0.0, -(level + MISFIT_SD * x))
        bounded = np.exp(-ceiling * np.exp(log_p))
        if estimate.lower_bound > 0:
            bounded = bounded * np.exp(np.minimum(0.0, 2 * (log_p - math.log(estimate.lower_bound))))
        if count > 0:
            excess = log_p + log_exposure - math.log(count)  # ln of p over p_hat
            poisson = np.exp(count * (excess - np.expm1(np.minimum(excess, 50.0))))
            bounded = (1 - wrong) * poisson + wrong * bounded
        value += w * bounded
    out: Floats = np.log(np.maximum(value, 1e-300))
    return out


def _posterior(steps: Sequence[int], estimates: Sequence[Estimate], horizon: int) -> _Grid:
    start, growth, clock = (
        axis.ravel()
        for axis in np.meshgrid(
            np.linspace(math.log(1e-12), float(logit(0.999)), 160),
            np.linspace(GROWTH_MEAN - 4 * GROWTH_SD, GROWTH_MEAN + 4 * GROWTH_SD, 81),
            np.array(_CLOCKS),
            indexing="ij",
        )
    )
    count_C, log_exposure_C = cell_counts(estimates)
    log_weight = -0.5 * ((growth - GROWTH_MEAN) / GROWTH_SD) ** 2
    for step, estimate, count, log_exposure in zip(steps, estimates, count_C, log_exposure_C, strict=True):
        u_by_clock = _time(np.asarray(float(step)), np.array(_CLOCKS), float(steps[0]), float(horizon))
        level = start + growth * np.tile(u_by_clock, len(start) // len(_CLOCKS))  # the clock varies fastest
        log_weight = log_weight + cell_log_likelihood(level, estimate, float(count), float(log_exposure))
    weight = np.exp(log_weight - log_weight.max())
    return _Grid(start, growth, clock, weight / weight.sum())


def _paths(grid: _Grid, steps: Sequence[int], horizon: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the steps from the last checkpoint to the horizon, and drawn paths of the rate's logit, one per row."""
    index = rng.choice(len(grid.weight), size=_N_DRAW, p=grid.weight)
    start, growth, clock = grid.start[index, None], grid.growth[index, None], grid.clock[index, None]
    step = np.geomspace(float(steps[-1]), float(horizon), _N_STEP)
    u = _time(step[None, :], clock, float(steps[0]), float(horizon))
    jump = rng.standard_normal((_N_DRAW, _N_STEP - 1)) * PATH_SD * np.sqrt(np.diff(u, axis=1))
    path = start + growth * u
    path[:, 1:] += np.cumsum(jump, axis=1)
    return step, path


def _quantiles(step: Floats, path: Floats, passed: NDArray[np.bool_]) -> RatePath:
    """The paths' 5, 50 and 95 % quantiles at some of their steps, and the share that has passed the threshold."""
    shown = np.array([*range(0, _N_STEP - 1, _STRIDE), _N_STEP - 1])
    low, median, high = np.quantile(path[:, shown], [0.05, 0.5, 0.95], axis=0)
    whole, first = np.unique(np.rint(step[shown]).astype(int), return_index=True)  # steps are whole numbers

    def log10(logits: Floats) -> tuple[float, ...]:
        return tuple(float(value) for value in -np.logaddexp(0.0, -logits[first]) / math.log(10))

    share = np.logical_or.accumulate(passed, axis=1)[:, shown].mean(axis=0)[first]
    return RatePath(
        tuple(int(s) for s in whole),
        log10(low),
        log10(median),
        log10(high),
        passed=tuple(float(p) for p in share),
    )


def forecast(
    run: str,
    exploit_type: str,
    steps: Sequence[int],
    estimates: Sequence[Estimate],
    *,
    threshold: float = 0.1,
    horizon_step: int,
    rng: np.random.Generator,
) -> Forecast:
    """Forecast from the first checkpoints (three or four; at least two) whether the rate exceeds ``threshold``.

    ``score`` is the posterior mean logit of the rate at ``horizon_step``: level plus shrunk growth. It does not use
    random numbers; types without any hit share the lowest score. ``probability`` is the share of drawn paths that
    exceed ``threshold`` between the last checkpoint given and the horizon. It depends on this module's stated priors
    (``GROWTH_MEAN``, ``GROWTH_SD``, ``PATH_SD``, ``MISFIT_SD``, ``DOUBT``) and is **not calibrated on real runs**; to
    measure it there, use ``prediction.scoring``. On simulated policy gradient (``benchmarks/forecasts.py``) the score
    ranks well, and the probability is too close to one half. ``step_median`` and ``step_interval`` (5 to 95 %) describe
    the crossing; an end beyond the horizon is inf. Raises InputError for steps below 1 or out of order, a horizon that
    is not after them, or a threshold outside (0, 1).
    """
    check_steps(steps, estimates)
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: give a rate strictly between 0 and 1")
    if horizon_step <= steps[-1]:
        raise InputError(f"horizon_step is {horizon_step}: give a step after the last checkpoint, {steps[-1]}")
    grid = _posterior(steps, estimates, horizon_step)
    step, path = _paths(grid, steps, horizon_step, rng)
    passed = path > float(logit(threshold))
    crossing = np.where(passed.any(axis=1), step[passed.argmax(axis=1)], np.inf)
    # the sample may contain inf, so quantiles are order statistics; interpolating would give NaN from inf - inf
    low, median, high = (float(q) for q in np.quantile(crossing, [0.05, 0.5, 0.95], method="inverted_cdf"))
    hits = any(e.n_hits > 0 and e.log10_p is not None for e in estimates)
    return Forecast(
        run=run,
        exploit_type=exploit_type,
        threshold=threshold,
        horizon_step=int(horizon_step),
        probability=float(np.isfinite(crossing).mean()),
        step_median=median if math.isfinite(median) else None,
        step_interval=(low, high) if math.isfinite(median) else None,
        score=float((grid.weight * (grid.start + grid.growth)).sum()) if hits else NO_HIT_SCORE,
        steps_used=tuple(int(s) for s in steps),
        path=_quantiles(step, path, passed),
    )


def expected_rate(steps: Sequence[int], estimates: Sequence[Estimate], *, horizon_step: int) -> float:
    """Return the posterior mean of the rate at the horizon, under the model of ``forecast``."""
    check_steps(steps, estimates)
    grid = _posterior(steps, estimates, horizon_step)
    return float((grid.weight * expit(grid.start + grid.growth)).sum())
