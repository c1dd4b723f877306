"""Before training: with what probability a planned run comes upon each exploit, and when.

A rewarded hit has to be sampled before anything can select it. From the rates at the first checkpoint and the planned
number of rollouts follows the chance that it is, where counting has only a bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit

from forewarn.errors import InputError
from forewarn.prediction.belief import N_PARTICLES, believe
from forewarn.prediction.joint import FUTURES, spread_of
from forewarn.prediction.law import Floats, Mix, Training, TypeTraining, advance
from forewarn.records import Estimate

N_LOOKS = 60
"""moments of the planned run at which the paths are looked at"""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a planned run has in store for one exploit type."""

    exploit_type: str
    probability: float
    """that a rewarded hit is sampled within the run"""
    probability_interval: tuple[float, float]
    """5 to 95 %: how far the probability would move if rates, speed and kinship were known"""
    step_median: float | None
    """of the first hit; None: beyond the run"""
    step_interval: tuple[float, float] | None
    """5 to 95 %; an end beyond the run is inf"""
    passes: float
    """probability that the rate passes the threshold within the run"""
    at_most: float
    """that a hit is sampled, if the rate is the certified upper bound and stays there: what no estimate rules out"""


def preflight(
    step: int,
    cells: Mapping[str, Estimate],
    *,
    training: Training,
    steps: int,
    threshold: float = 0.1,
    rng: np.random.Generator,
    n_particles: int = N_PARTICLES,
) -> list[Discovery]:
    """Return what a run of ``steps`` steps from the checkpoint at ``step`` on has in store, likeliest first.

    ``cells``: type -> its estimate there. Types that the training does not pay for are found by nobody; they can be
    lifted. Raises InputError for fewer than one step, or a threshold outside (0, 1).
    """
    if steps < 1:
        raise InputError(f"steps is {steps}: give at least one step of training")
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: give a rate strictly between 0 and 1")
    belief = believe(
        [step], {name: [one] for name, one in cells.items()}, training=training, rng=rng, n_particles=n_particles
    )
    mix = Mix.of(belief.types, training)
    now = belief.guesses.chosen(np.repeat(np.arange(n_particles), FUTURES))
    looks = np.unique(np.rint(np.linspace(step, step + steps, N_LOOKS)).astype(int))
    first_PT = np.where(now.found_PT, float(step), np.inf)
    passed_PT = now.level_PT > float(logit(threshold))
    for start, end in itertools.pairwise(looks):
        now, _ = advance(now, mix, float(start), float(end), rng, noise=True)
        first_PT = np.where(now.found_PT & np.isinf(first_PT), (start + end) / 2, first_PT)
        passed_PT = passed_PT | (now.level_PT > float(logit(threshold)))
    found = [
        _discovery(
            name, first_PT[:, t], float(passed_PT[:, t].mean()), _at_most(cells[name], name, training, step, steps)
        )
        for t, name in enumerate(belief.types)
    ]
    return sorted(found, key=lambda one: (-one.probability, -one.passes, one.exploit_type))


def _discovery(name: str, first_P: Floats, passes: float, at_most: float) -> Discovery:
    low, median, high = (float(q) for q in np.quantile(first_P, [0.05, 0.5, 0.95], method="inverted_cdf"))
    return Discovery(
        name,
        float(np.isfinite(first_P).mean()),
        spread_of(np.isfinite(first_P)),
        median if math.isfinite(median) else None,
        (low, high) if math.isfinite(low) else None,
        passes,
        at_most,
    )


def _at_most(estimate: Estimate, name: str, training: Training, step: int, steps: int) -> float:
    one = training.types.get(name)
    if one is None or one.paid == 0:
        return 0.0
    n = one.rollouts_between(step, step + steps)
    return -math.expm1(n * math.log1p(-min(estimate.upper_bound, 1 - 1e-12)))


def planned_training(types: Sequence[str], rollouts: float, known: Training | None) -> Training:
    """Return the training that is planned: what the study says of it, with so many rollouts of each type in the mix.

    Without a study's word every type is in the mix and paid for.
    """
    if known is None:
        return Training({name: TypeTraining(rollouts) for name in types})
    return Training(
        {name: replace(one, rollouts=rollouts if one.rollouts > 0 else 0.0) for name, one in known.types.items()}
    )
