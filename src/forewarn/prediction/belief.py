"""What the checkpoints of a run say of all its exploit types together: a particle filter over the growth law.

Guesses of speed, kinship, levels and discoveries are drawn from priors (``law.py``) and weighed by each checkpoint's
estimates. Estimates enter as in ``emergence.py``, with its doubt about cells whose spans may have missed mass; cells
without hits enter by likelihood.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from forewarn.errors import InputError
from forewarn.prediction.emergence import DOUBT, MISFIT_SD, cell_log_likelihood
from forewarn.prediction.law import Bools, Floats, Mix, Particles, Training, advance, deviation, draw_guesses
from forewarn.prediction.trend import cell_counts
from forewarn.records import Estimate

START_LOGIT, START_SD = math.log(1e-5), 4.0
"""prior of a rate at the first checkpoint, logits"""
MISSED_NATS = 10.0
"""how far below the truth an estimate can be whose spans missed mass: anywhere in so many nats, equally likely"""
N_PARTICLES = 4000
LEAST_PLAIN = 0.05
"""share of guesses that follow their path whatever the estimate says"""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is known of a run after its checkpoints: weighted guesses at the last of them."""

    types: tuple[str, ...]
    steps: tuple[int, ...]
    guesses: Particles
    """equally weighted"""
    log_evidence: float
    """ln of the probability (density) of the estimates under the model"""
    ess: float
    """effective number of guesses at the last checkpoint, before they were drawn anew"""


def check_run(steps: Sequence[int], cells: Mapping[str, Sequence[Estimate | None]]) -> None:
    """Raise InputError unless there are steps in order, from 0 on, with one estimate (or None) of each type."""
    if not steps:
        raise InputError("steps is empty: a forecast needs at least one checkpoint")
    if min(steps) < 0 or any(b <= a for a, b in itertools.pairwise(steps)):
        raise InputError(f"steps is {list(steps)}: give checkpoints in increasing order, each once, from 0 on")
    if not cells:
        raise InputError("there are no exploit types to forecast")
    for name, mine in cells.items():
        if len(mine) != len(steps):
            raise InputError(f"{name} has {len(mine)} estimates: there are {len(steps)} steps")


def believe(
    steps: Sequence[int],
    cells: Mapping[str, Sequence[Estimate | None]],
    *,
    training: Training | None,
    rng: np.random.Generator,
    n_particles: int = N_PARTICLES,
) -> Belief:
    """Filter the estimates of one run, all types together.

    ``cells``: type -> its estimate at each of ``steps``; None where it was not measured. ``training``: what is known
    of the run; None makes the answer wider. Raises InputError for steps out of order or lists of another length.
    """
    check_run(steps, cells)
    types = tuple(cells)
    mix = Mix.of(types, training)
    guesses = draw_guesses(types, training, n_particles, rng)
    mean_PT = np.full(guesses.level_PT.shape, START_LOGIT)
    variance_PT, log_evidence, ess = np.full_like(mean_PT, START_SD**2), 0.0, float(n_particles)
    for place, step in enumerate(steps):
        if place:
            before_PT = guesses.level_PT
            guesses, _ = advance(guesses, mix, steps[place - 1], step, rng, noise=False)
            mean_PT = guesses.level_PT
            variance_PT = deviation(step - steps[place - 1], mean_PT - before_PT)
        level_PT, log_weight_P = _weigh(mean_PT, variance_PT, [cells[name][place] for name in types], rng)
        found_PT = guesses.found_PT
        if not place:  # what may have been found before the first checkpoint
            hazard_PT = guesses.rollouts_PT * (guesses.paid_PT > 0) / (1 + np.exp(-level_PT))
            hazard_PT = hazard_PT * np.maximum(0.0, np.minimum(step, mix.last_T) - mix.first_T)
            found_PT = rng.random(level_PT.shape) < -np.expm1(-hazard_PT)
        guesses = replace(guesses, level_PT=level_PT, found_PT=found_PT)
        top = float(log_weight_P.max())
        weight_P = np.exp(log_weight_P - top)
        log_evidence += top + math.log(weight_P.mean())
        weight_P /= weight_P.sum()
        ess = 1.0 / float((weight_P**2).sum())
        guesses = guesses.chosen(_systematic(weight_P, rng))
    return Belief(types, tuple(int(s) for s in steps), guesses, log_evidence, ess)


def _weigh(
    mean_PT: Floats, variance_PT: Floats, estimates: Sequence[Estimate | None], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw each type's level where both the path and the estimate put it; return levels [P, T] and log weights [P].

    The proposal is a mixture of the path's own law and its product with a normal approximation of the likelihood, so
    that an estimate that is wrong, which the likelihood allows for, does not starve the filter.
    """
    level_PT = np.empty_like(mean_PT)
    log_weight_P = np.zeros(len(mean_PT))
    for t, estimate in enumerate(estimates):
        mean_P, variance_P = mean_PT[:, t], variance_PT[:, t]
        if estimate is None:
            level_PT[:, t] = mean_P + np.sqrt(variance_P) * rng.standard_normal(len(mean_P))
            continue
        count, log_exposure = (float(array[0]) for array in cell_counts([estimate]))
        guided = count > 0
        seen, spread = 0.0, 1.0
        if guided:
            seen = float(logit(min(max(count * math.exp(-log_exposure), 1e-15), 1 - 1e-6)))
            spread = 1.0 / count + MISFIT_SD**2
        both_P = 1.0 / (1.0 / variance_P + 1.0 / spread) if guided else variance_P
        centre_P = both_P * (mean_P / variance_P + seen / spread) if guided else mean_P
        doubt = doubt_of(estimate, count) if guided else 0.0
        plain = max(doubt, LEAST_PLAIN) if guided else 1.0
        own_P: Bools = rng.random(len(mean_P)) < plain
        drawn_P = rng.standard_normal(len(mean_P))
        level_P = np.where(own_P, mean_P + np.sqrt(variance_P) * drawn_P, centre_P + np.sqrt(both_P) * drawn_P)
        log_prior_P = _log_normal(level_P, mean_P, variance_P)
        log_proposal_P = np.logaddexp(
            math.log(plain) + log_prior_P,
            (math.log1p(-plain) if plain < 1 else -math.inf) + _log_normal(level_P, centre_P, both_P),
        )
        log_weight_P += (
            cell_log_likelihood(level_P, estimate, count, log_exposure, doubt=doubt) + log_prior_P - log_proposal_P
        )
        level_PT[:, t] = level_P
    return level_PT, log_weight_P


def doubt_of(estimate: Estimate, count: float) -> float:
    """Return the weight of a wrong interval beside a Poisson likelihood whose largest value is 1.

    An estimate that is right lies close to the truth, with a density of about sqrt(count / 2 pi) per nat; one that
    missed mass lies anywhere below it. An estimate of many hits is therefore seldom explained by missed mass.
    """
    prior = DOUBT[estimate.resolved]
    ratio = 1.0 / (MISSED_NATS * math.sqrt(count / (2 * math.pi)))
    return prior * ratio / (1 - prior + prior * ratio)


def _log_normal(x_P: Floats, mean_P: Floats, variance_P: Floats) -> Floats:
    density: Floats = -0.5 * ((x_P - mean_P) ** 2 / variance_P + np.log(2 * math.pi * variance_P))
    return density


def _systematic(weight_P: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return places drawn by weight with one random number (systematic resampling; Douc & Cappe 2005)."""
    places = (np.arange(len(weight_P)) + rng.random()) / len(weight_P)
    return np.minimum(np.searchsorted(np.cumsum(weight_P), places), len(weight_P) - 1).astype(np.int64)
