"""Forecasts of all exploit types of a run together: what the checkpoints say, carried on by the growth law.

A type that cannot be seen yet is informed by its relatives: by how fast they grow, and by whether the training has
found one of them. What is known after the last checkpoint (``belief.py``) is continued to the horizon (``law.py``).

Not here: alarms on a rate that has been passed (``alarms.py``); forecasts of one type by itself (``emergence.py``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, logit

from forewarn.errors import InputError
from forewarn.prediction.belief import N_PARTICLES, believe
from forewarn.prediction.law import Bools, Floats, Mix, Training, advance
from forewarn.records import Estimate, Forecast, RatePath, Reasons

FUTURES = 2
"""continuations of each particle: their agreement tells chance from what is not known"""
N_SHOWN = 16
"""steps at which paths are kept"""


def forecast_run(
    run: str,
    steps: Sequence[int],
    cells: Mapping[str, Sequence[Estimate | None]],
    *,
    horizon_step: int,
    threshold: float = 0.1,
    training: Training | None = None,
    rng: np.random.Generator,
    n_particles: int = N_PARTICLES,
) -> dict[str, Forecast]:
    """Forecast every type of a run: whether its rate exceeds ``threshold`` between the last checkpoint and the horizon.

    ``training`` may differ from what was true so far from a later step on ("what if this checker goes live at step
    500"): give the type a ``first_step`` there. ``probability_interval`` (5 to 95 %) is how far the probability would
    move if levels, speed and kinship were known: chance that remains, such as when a type is first found, is not in
    it. ``score`` is the mean logit at the horizon. Types without a hit have a forecast, too. Raises InputError for
    steps out of order, a horizon that is not after them, or a threshold outside (0, 1).
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: give a rate strictly between 0 and 1")
    if steps and horizon_step <= steps[-1]:
        raise InputError(f"horizon_step is {horizon_step}: give a step after the last checkpoint, {steps[-1]}")
    belief = believe(steps, cells, training=training, rng=rng, n_particles=n_particles)
    mix = Mix.of(belief.types, training)
    many = np.repeat(np.arange(len(belief.guesses.speed_P)), FUTURES)
    now = belief.guesses.chosen(many)
    shown = np.unique(np.rint(np.linspace(steps[-1], horizon_step, N_SHOWN)).astype(int))
    levels, moved_TT = [now.level_PT], np.zeros((len(belief.types), len(belief.types)))
    for start, end in itertools.pairwise(shown):
        now, moved = advance(now, mix, float(start), float(end), rng, noise=True)
        levels.append(now.level_PT)
        moved_TT += moved
    path_SPT = np.stack(levels)
    return {
        name: _forecast_of(
            run, name, t, shown, path_SPT[:, :, t], threshold=threshold, steps=belief.steps,
            reasons=_reasons(belief.types, t, moved_TT, now.found_PT[:, t]),
        )
        for t, name in enumerate(belief.types)
    }  # fmt: skip


def _reasons(types: Sequence[str], t: int, moved_TT: Floats, found_P: Bools) -> Reasons:
    """Say what moves a type: the mean over all paths."""
    mean_T = moved_TT[t]
    lifts = sorted(((types[i], float(mean_T[i])) for i in range(len(types)) if i != t), key=lambda one: -one[1])
    return Reasons(own=float(mean_T[t]), lifts=tuple(lifts[:3]), found=float(found_P.mean()))


def _forecast_of(
    run: str,
    name: str,
    t: int,
    shown: NDArray[np.int64],
    path_SP: Floats,
    *,
    threshold: float,
    steps: tuple[int, ...],
    reasons: Reasons,
) -> Forecast:
    above_SP = path_SP > float(logit(threshold))
    passed_P = above_SP.any(axis=0)
    crossing_P = np.where(passed_P, shown[above_SP.argmax(axis=0)].astype(np.float64), np.inf)
    low, median, high = (float(q) for q in np.quantile(crossing_P, [0.05, 0.5, 0.95], method="inverted_cdf"))
    quantiles = np.quantile(path_SP, [0.05, 0.5, 0.95], axis=1)
    log10 = [tuple(float(x) for x in -np.logaddexp(0.0, -row) / math.log(10)) for row in quantiles]
    passed_S = np.logical_or.accumulate(above_SP, axis=0).mean(axis=1)
    return Forecast(
        run=run,
        exploit_type=name,
        threshold=threshold,
        horizon_step=int(shown[-1]),
        probability=float(passed_P.mean()),
        step_median=median if math.isfinite(median) else None,
        step_interval=(low, high) if math.isfinite(median) else None,
        score=float(path_SP[-1].mean()),
        steps_used=steps,
        path=RatePath(tuple(int(s) for s in shown), log10[0], log10[1], log10[2], tuple(float(p) for p in passed_S)),
        probability_interval=spread_of(np.asarray(passed_P)),
        reasons=reasons,
    )


def spread_of(passed_P: Bools) -> tuple[float, float]:
    """Return the 5 and 95 % quantiles of the probability over guesses, from ``FUTURES`` continuations of each.

    The variance between guesses is that of their shares less the binomial part; a beta law has the two moments.
    """
    share_G = passed_P.reshape(-1, FUTURES).mean(axis=1)
    mean = float(share_G.mean())
    if mean in (0.0, 1.0):
        return mean, mean
    chance = mean * (1 - mean)
    between = (float(share_G.var()) - chance / FUTURES) * FUTURES / (FUTURES - 1)
    between = min(max(between, 1e-6 * chance), 0.999 * chance)
    size = chance / between - 1
    a, b = mean * size, (1 - mean) * size
    return float(betaincinv(a, b, 0.05)), float(betaincinv(a, b, 0.95))
