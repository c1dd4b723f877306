"""What every method learns on development runs, all by the same rules: probabilities, a temperature, and a shape.

A method without a probability of its own gets one by ridge regression of the event on its features. Then every
method's logits are divided by one temperature. A method without a distribution of the crossing's step gets the shape
that crossings had on development runs. A development run is answered by what the others teach.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, logit

from forewarn.bench.methods.base import Said
from forewarn.bench.outcomes.pairs import Pair

Floats = NDArray[np.float64]

RIDGE = 1.0
"""precision of the prior of each weight, for features of standard deviation 1"""
INTERCEPT_SD = 3.0
TEMPERATURE_SD = 1.0
"""of the logarithm of the temperature, a priori: around 1, which changes nothing"""
LARGEST_LOGIT = 12.0
SMEAR = 20.0
"""steps by which the crossings of development runs are smeared"""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a method said of a pair of a development run at a checkpoint, while counting was blind, and what came."""

    pair: Pair
    step: int
    said: Said
    weight: float
    """one over the checkpoints of the pair: each pair counts once"""


@dataclass(frozen=True, slots=True)
class Regression:
    """Logits from features."""

    mean: Floats
    scale: Floats
    weights: Floats
    intercept: float

    def logit(self, features: Sequence[float]) -> float:
        x = np.clip((np.asarray(features, dtype=np.float64) - self.mean) / self.scale, -10, 10)
        return float(self.intercept + x @ self.weights)


@dataclass(frozen=True, slots=True)
class Learned:
    """What one method has learned."""

    regression: Regression | None
    temperature: float
    crossings: tuple[tuple[str, float], ...]
    """(reward status, step) of each pair that crossed"""
    n: int
    """pairs learned from"""


def learn(lessons: Sequence[Lesson], n_features: int, *, rising: bool) -> Learned:
    """Learn from these lessons. ``rising``: a larger feature is never taken for less likely, since the method ranks by
    it. Without lessons the probability is one half, and the temperature 1."""
    regression = None
    if n_features:
        mine = [one for one in lessons if one.said.probability is None]
        regression = _regress(mine, n_features, rising=rising)
    raw = np.array([_raw_logit(one.said, regression) for one in lessons])
    event = np.array([one.pair.event for one in lessons], dtype=np.bool_)
    weight = np.array([one.weight for one in lessons])
    pairs = {(one.pair.run, one.pair.exploit_type): one.pair for one in lessons}
    crossings = tuple((p.status, p.crossing) for p in pairs.values() if p.crossing is not None)
    return Learned(regression, _temperature(raw, event, weight), crossings, len(pairs))


def _regress(lessons: Sequence[Lesson], n_features: int, *, rising: bool) -> Regression:
    x = np.array([one.said.features for one in lessons], dtype=np.float64).reshape(len(lessons), n_features)
    event = np.array([one.pair.event for one in lessons], dtype=np.float64)
    weight = np.array([one.weight for one in lessons])
    if not len(lessons):
        return Regression(np.zeros(n_features), np.ones(n_features), np.zeros(n_features), 0.0)
    mean = np.average(x, axis=0, weights=weight)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    scale = np.where(scale > 1e-9, scale, 1.0)
    z = np.clip((x - mean) / scale, -10, 10)

    def loss(theta: Floats) -> tuple[float, Floats]:
        value = theta[0] + z @ theta[1:]
        nats = -(weight * (event * log_expit(value) + (1 - event) * log_expit(-value))).sum()
        prior = 0.5 * (theta[0] / INTERCEPT_SD) ** 2 + 0.5 * RIDGE * (theta[1:] ** 2).sum()
        error = weight * (expit(value) - event)
        slope = np.concatenate([[error.sum() + theta[0] / INTERCEPT_SD**2], z.T @ error + RIDGE * theta[1:]])
        return float(nats + prior), slope

    bounds = [(None, None)] + [(0.0 if rising else None, None)] * n_features
    found = minimize(loss, np.zeros(1 + n_features), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Regression(mean, scale, found[1:], float(found[0]))


def _raw_logit(said: Said, regression: Regression | None) -> float:
    if said.probability is not None:
        return float(np.clip(logit(np.clip(said.probability, 1e-12, 1 - 1e-12)), -LARGEST_LOGIT, LARGEST_LOGIT))
    assert regression is not None
    return float(np.clip(regression.logit(said.features), -LARGEST_LOGIT, LARGEST_LOGIT))


def _temperature(raw: Floats, event: NDArray[np.bool_], weight: Floats) -> float:
    if not len(raw):
        return 1.0

    def loss(log_t: float) -> float:
        value = raw * math.exp(-log_t)
        nats = -(weight * np.where(event, log_expit(value), log_expit(-value))).sum()
        return float(nats) + 0.5 * (log_t / TEMPERATURE_SD) ** 2

    return math.exp(float(minimize_scalar(loss, bounds=(-2.5, 4.0), method="bounded").x))


def shape(learned: Learned, status: str, step: int, first: int, last: int) -> Floats:
    """The distribution of the crossing's step, given that it comes: smeared crossings of development pairs of the same
    reward status, and one more that is anywhere. At steps 1, 2, ..., the last.

    ``step``: now, since a crossing lies ahead; ``first``: before it there is none (a type that enters late).
    """
    begin = max(step, first)
    at = np.arange(1, last + 1, dtype=np.float64)
    density = np.where(at > begin, 1.0 / max(1, last - begin), 0.0)
    for other, crossing in learned.crossings:
        if other == status and crossing > begin:
            bump = np.where(at > begin, np.exp(-0.5 * ((at - crossing) / SMEAR) ** 2), 0.0)
            density = density + bump / bump.sum()
    return np.cumsum(density) / density.sum() if density.sum() > 0 else (at >= last).astype(np.float64)


def answer(said: Said, learned: Learned, shape_S: Floats) -> tuple[float, float, Floats]:
    """``(score, probability, passed by each step)`` of what a method says, recalibrated."""
    raw = _raw_logit(said, learned.regression)
    probability = float(expit(raw / learned.temperature))
    own = said.passed
    mine = shape_S if own is None or own[-1] <= 0 else own / own[-1]
    return raw if said.score is None else said.score, probability, probability * mine
