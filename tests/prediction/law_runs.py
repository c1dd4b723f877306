"""Runs that are drawn from the growth law itself: their estimates, and which types pass 10 %."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import logit

from forewarn.estimation import mixture_estimate
from forewarn.prediction.law import Mix, Training, TypeTraining, advance, draw_guesses
from forewarn.records import Estimate, Forecast

TYPES = ("a1", "a2", "a3", "b1", "b2", "b3")
FAMILY = {name: name[0] for name in TYPES}
STEPS, HORIZON = (0, 10, 20, 40), 200
EMPTY = mixture_estimate(np.full((500, 5), np.nan), np.zeros(500, dtype=bool), np.arange(500) % 5)


def mix(paid: float = 0.8, rollouts: float = 64.0, **other: TypeTraining) -> Training:
    return Training({name: TypeTraining(rollouts, paid, family=FAMILY[name]) for name in TYPES} | other)


def cell(p: float | None, ess: float = 30.0) -> Estimate:
    if p is None:
        return EMPTY
    return replace(
        EMPTY, log10_p=math.log10(p), ess=ess, n_hits=int(ess), lower_bound=p / 5, upper_bound=min(1.0, p + 0.05),
        resolved=True,
    )  # fmt: skip


def probability(found: dict[str, Forecast], name: str) -> float:
    value = found[name].probability
    assert value is not None
    return value


def simulated(rng: np.random.Generator) -> tuple[dict[str, list[Estimate]], list[bool]]:
    """A run drawn from the law, its estimates, and which types pass 10 % between the last checkpoint and the end."""
    training = mix()
    truth = draw_guesses(TYPES, training, 1, rng)
    truth = replace(truth, level_PT=rng.normal(math.log(1e-5), 4.0, (1, len(TYPES))))
    cells: dict[str, list[Estimate]] = {name: [] for name in TYPES}
    at = 0
    for step in STEPS:
        if step > at:
            truth, _ = advance(truth, Mix.of(TYPES, training), at, step, rng, noise=True)
            at = step
        for name, level in zip(TYPES, truth.level_PT[0], strict=True):
            p = 1 / (1 + math.exp(-level))
            count = int(rng.poisson(20 * math.exp(rng.normal(0, 0.3))))
            cells[name].append(cell(min(0.999, p * count / 20), float(count)) if count else EMPTY)
    passed = np.zeros(len(TYPES), dtype=bool)
    for start in range(STEPS[-1], HORIZON, 10):
        passed |= truth.level_PT[0] > float(logit(0.1))
        truth, _ = advance(truth, Mix.of(TYPES, training), start, start + 10, rng, noise=True)
    return cells, list(passed | (truth.level_PT[0] > float(logit(0.1))))
