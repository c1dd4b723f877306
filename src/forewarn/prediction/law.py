"""The growth law of exploit rates under RL: own selection, lift by relatives, and discovery, for all types of a run.

    d l_t / ds = c [ a_t D_t g(p_t) + r_t sum_i K_ti a_i D_i g(p_i) ] + noise,  l = logit p,  g(p) = sqrt(p (1 - p))

a_t is the selection differential of type t: what an exploit of it earns above the mean completion, 0 while the training
does not pay for it. D_t is 0 until the first rewarded hit, which comes at the hazard N_t p_t per step for N_t rollouts.
K_ti is how much of type i's selection acts on type t: kinship, which is stronger within a family (an intent that the
types share) than across families. c is the run's speed, which wanders. A path's noise has a part in proportion to time,
and one in proportion to how far the law moves it: a type that nothing moves stays where it is. r_t is the room that is
left for lift: relatives lift a type by making a shared intent likely, and an intent that every completion has lifts
nothing more. It falls from 1 to 0 as the lift nears the type's own R_t logits: dr_t / ds = -(lift of t) / R_t. What
sets types apart after that is their own selection. Source: foresight.md, "The forecaster"; room, wandering and
noise, from development runs of the benchmark.

Not here: what is concluded from checkpoints (``joint.py``).
"""

# ruff: noqa: N802, N815 - names carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SPEED, SPEED_SD = 0.22, 1.0
"""median of c, logits a step, and the standard deviation of its logarithm: two measured runs had 0.18 and 0.28, but
the learning rate moves it, and trainings differ"""
UNKNOWN_SPEED_SD = 1.5
"""the same where nothing is known of the training"""
KIN, KIN_SD = 0.75, 0.1
"""kinship within a family, mean and standard deviation over runs; measured 0.7 to 0.8"""
STRANGER, STRANGER_SD = 0.45, 0.12
"""kinship across families; measured 0.4 to 0.5"""
ROOM, ROOM_SD, LEAST_ROOM = 7.0, 1.5, 1.0
"""how far relatives can lift a type, logits: mean and standard deviation over types, and the least. Three types of a
run in which every completion came to share the intent were lifted by about 6 to 7; types outside a mix, by 6 to 10"""
NOISE = 0.08
"""standard deviation of a path's deviation from the law, logits per square root of a step: 0.4 in 25 steps"""
WANDER = 0.1
"""standard deviation of the change of ln c per square root of a step: takeoffs are faster than what led to them"""
SLACK = 0.8
"""variance of a path's deviation from the law for each logit that the law moves it, logits: a type that moves may move
faster or slower than its relatives, and one that nothing moves stays where it is"""
MOST_SUBSTEPS = 40
"""of one call's integration: a training step each where that is enough. A longer substep lags behind fast runs, which
are most of the low probabilities: with substeps that went by the median guess's speed, 0.01 was said where 0.11 came"""
UNKNOWN_ROLLOUTS = (1.0, 1000.0)
"""where nothing is known of the training, rollouts a step for each type are log-uniform between these"""
UNKNOWN_PAID = 0.5
"""and the probability that the training pays for a type"""


@dataclass(frozen=True, slots=True)
class TypeTraining:
    """What the training does with one exploit type."""

    rollouts: float
    """rollouts of it in a step; 0: it is not in the training mix"""
    paid: float = 1.0
    """what an exploit earns above the mean completion, in units of the reward's range; 0: the reward is patched"""
    first_step: int = 0
    """from which step on it is in the mix"""
    last_step: int | None = None
    """until which step; None: to the end"""
    family: str | None = None
    """types of one family share an intent; None: unknown"""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rollouts) and self.rollouts >= 0):
            raise InputError(f"rollouts is {self.rollouts}: give 0 or a positive number of rollouts per step")
        if not 0 <= self.paid <= 1:
            raise InputError(f"paid is {self.paid}: give a share of the reward's range from 0 to 1")
        if self.last_step is not None and self.last_step <= self.first_step:
            raise InputError(
                f"a type is in the mix from step {self.first_step} to step {self.last_step}: give a later end"
            )

    def rollouts_between(self, start: int, end: int) -> float:
        """Return how many rollouts of the type the steps from ``start`` to ``end`` have."""
        last = end if self.last_step is None else min(self.last_step, end)
        return self.rollouts * max(0, last - max(self.first_step, start))


@dataclass(frozen=True, slots=True)
class Training:
    """What is known of a training run: by exploit type. Types that are not named are not in the mix."""

    types: Mapping[str, TypeTraining] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.types and not any(one.rollouts > 0 for one in self.types.values()):
            raise InputError("the training mix sums to no rollouts: give at least one type a positive number")


@dataclass(frozen=True, slots=True)
class Particles:
    """Many guesses of a run at one step: P guesses of T types."""

    level_PT: Floats
    """logit of each rate"""
    found_PT: Bools
    """whether a rewarded hit has come up"""
    speed_P: Floats
    kin_P: Floats
    """kinship within a family"""
    stranger_P: Floats
    """kinship across families"""
    rollouts_PT: Floats
    paid_PT: Floats
    room_PT: Floats
    """logits by which relatives can lift a type in all"""
    left_PT: Floats
    """of which so much is left"""

    def chosen(self, index_P: NDArray[np.int64]) -> Particles:
        """Return the guesses at these places, as resampling does."""
        return Particles(
            self.level_PT[index_P],
            self.found_PT[index_P],
            self.speed_P[index_P],
            self.kin_P[index_P],
            self.stranger_P[index_P],
            self.rollouts_PT[index_P],
            self.paid_PT[index_P],
            self.room_PT[index_P],
            self.left_PT[index_P],
        )


@dataclass(frozen=True, slots=True)
class Mix:
    """When each type is in the training mix, and who is kin, as arrays over types."""

    first_T: Floats
    last_T: Floats
    kin_TT: Floats
    """1 within a family, 0 across, 1/2 where a family is unknown; 0 on the diagonal"""

    @classmethod
    def of(cls, types: Sequence[str], training: Training | None) -> Mix:
        known = [None if training is None else training.types.get(name) for name in types]
        families = [None if one is None else one.family for one in known]
        kin_TT = np.array([[0.5 if a is None or b is None else float(a == b) for b in families] for a in families])
        np.fill_diagonal(kin_TT, 0.0)
        return cls(
            np.array([0.0 if one is None else one.first_step for one in known]),
            np.array([math.inf if one is None or one.last_step is None else one.last_step for one in known]),
            kin_TT,
        )

    def active_T(self, step: float) -> Bools:
        """Return which types are in the mix at a step."""
        active: Bools = (self.first_T <= step) & (step < self.last_T)
        return active


def draw_guesses(types: Sequence[str], training: Training | None, n: int, rng: np.random.Generator) -> Particles:
    """Return ``n`` guesses from the priors, levels and discoveries still unset (0 and False)."""
    known = [TypeTraining(0.0) if training is None else training.types.get(name, TypeTraining(0.0)) for name in types]
    shape = (n, len(types))
    if training is None:
        low, high = np.log(UNKNOWN_ROLLOUTS)
        rollouts_PT = np.exp(rng.uniform(low, high, shape))
        paid_PT = np.where(rng.random(shape) < UNKNOWN_PAID, rng.uniform(0.3, 1.0, shape), 0.0)
    else:
        rollouts_PT = np.broadcast_to([one.rollouts for one in known], shape).astype(np.float64)
        paid_PT = np.broadcast_to([one.paid for one in known], shape).astype(np.float64)
    speed_P = SPEED * np.exp(rng.normal(0.0, UNKNOWN_SPEED_SD if training is None else SPEED_SD, n))
    kin_P = np.clip(rng.normal(KIN, KIN_SD, n), 0.0, 1.0)
    stranger_P = np.clip(rng.normal(STRANGER, STRANGER_SD, n), 0.0, kin_P)
    room_PT = np.maximum(rng.normal(ROOM, ROOM_SD, shape), LEAST_ROOM)
    return Particles(
        np.zeros(shape),
        np.zeros(shape, dtype=bool),
        speed_P,
        kin_P,
        stranger_P,
        rollouts_PT,
        paid_PT,
        room_PT=room_PT,
        left_PT=room_PT,
    )


def selection(guesses: Particles, active_T: Bools) -> Floats:
    """Return a_t D_t g(p_t) of every guess and type, shape [P, T]."""
    p_PT = 1 / (1 + np.exp(-guesses.level_PT))
    acts_PT = (guesses.found_PT & active_T) * (guesses.rollouts_PT > 0)
    own_PT: Floats = guesses.paid_PT * acts_PT * np.sqrt(p_PT * (1 - p_PT))
    return own_PT


def deviation(steps: float, moved_PT: Floats) -> Floats:
    """Return the variance of paths around the law after so many steps in which it moved them so far (logits)."""
    variance: Floats = NOISE**2 * steps + SLACK * moved_PT
    return variance


def advance(
    guesses: Particles, mix: Mix, start: float, end: float, rng: np.random.Generator, *, noise: bool
) -> tuple[Particles, Floats]:
    """Return the guesses at step ``end``, and how far each type moved each type meanwhile, in the mean of all guesses.

    The second array has shape [T, T], logits; [t, i] is the part of type i (i = t: its own). ``noise``: whether paths
    deviate from the law on the way; without it the caller adds the deviation at the end. Discoveries are drawn.
    """
    step, level_PT, found_PT, left_PT = start, guesses.level_PT.copy(), guesses.found_PT.copy(), guesses.left_PT.copy()
    speed_P = guesses.speed_P
    n_types = level_PT.shape[1]
    closer_P = guesses.kin_P - guesses.stranger_P
    moved_TT = np.zeros((n_types, n_types))
    apart_TT = 1.0 - np.eye(n_types)
    substep = max(1.0, (end - start) / MOST_SUBSTEPS)
    while step < end - 1e-9:
        size = min(substep, end - step)
        active_T = mix.active_T(step)
        now = replace(guesses, level_PT=level_PT, found_PT=found_PT)
        push_PT = speed_P[:, None] * selection(now, active_T) * size
        strange_PT, close_PT = guesses.stranger_P[:, None] * push_PT, closer_P[:, None] * push_PT
        hazard_PT = guesses.rollouts_PT * active_T * (guesses.paid_PT > 0) / (1 + np.exp(-level_PT)) * size
        found_PT = found_PT | (rng.random(level_PT.shape) < -np.expm1(-hazard_PT))
        lift_PT = strange_PT @ apart_TT + close_PT @ mix.kin_TT
        lifted_PT = -left_PT * np.expm1(-lift_PT / guesses.room_PT)
        left_PT = left_PT - lifted_PT
        level_PT = level_PT + push_PT + lifted_PT
        if noise:
            spread_PT = np.sqrt(deviation(size, push_PT + lifted_PT))
            level_PT = level_PT + spread_PT * rng.standard_normal(level_PT.shape)
        moved_TT += np.diag(push_PT.mean(axis=0))
        share_TP = np.divide(lifted_PT, lift_PT, out=np.zeros_like(lift_PT), where=lift_PT > 0).T / len(lift_PT)
        moved_TT += apart_TT * (share_TP @ strange_PT) + mix.kin_TT * (share_TP @ close_PT)
        speed_P = speed_P * np.exp(rng.normal(0.0, WANDER * math.sqrt(size), len(speed_P)))
        step += size
    return replace(guesses, speed_P=speed_P, level_PT=level_PT, found_PT=found_PT, left_PT=left_PT), moved_TT
