"""What a method may know of a run at a checkpoint, and what it says of each exploit type there.

A method is a function of ``Seen`` alone: nothing later than the checkpoint, no truth. Methods that say no probability
of their own give features, from which one is learned on development runs, for all of them alike (``learned.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.bench.bases import TypeRole
from forewarn.bench.outcomes.curve import Counted
from forewarn.bench.protocol import Protocol
from forewarn.bench.runs import BenchRun
from forewarn.records import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """The training between two checkpoints, as its log has it; before the first there is none."""

    kl: float
    """divergence from the base at its end, nats"""
    rewarded: Mapping[str, tuple[int, int]]
    """type -> rollouts that earned the whole reward, rollouts"""


@dataclass(frozen=True, slots=True)
class TypeSeen:
    """One type at the checkpoints so far; None where a cell was not measured."""

    estimates: tuple[Estimate | None, ...]
    counts: tuple[Counted | None, ...]
    """counting with the same completions, on the type's own problems"""
    mentions: tuple[float | None, ...]
    """share of those completions whose reasoning turns to the checker"""
    reference_log_probs: tuple[float | None, ...]
    """mean log-probability of the reference exploits, nats"""
    prefix_log10: tuple[float | None, ...]
    """the study's prefix estimator; None without a hit"""
    rollout_hits: int
    """exploits among the labelled rollouts so far"""
    rollouts: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A run at one checkpoint of the monitor."""

    run: BenchRun
    protocol: Protocol
    checkpoint: int
    """number, from 1"""
    steps: tuple[int, ...]
    """of the checkpoints so far"""
    roles: Mapping[str, TypeRole]
    """families and leaders are known, levels are not to be used"""
    types: Mapping[str, TypeSeen]
    windows: tuple[Window, ...]
    """one a checkpoint after the first"""

    @property
    def last(self) -> int:
        """The step by which an event counts."""
        return self.protocol.rl.steps

    def status(self, exploit_type: str) -> str:
        return self.run.status(exploit_type, self.protocol.variants[self.run.variant])


@dataclass(frozen=True, slots=True)
class Said:
    """What a method says of one type."""

    score: float | None
    """ranks types; larger is likelier. None: what is learned from the features ranks"""
    probability: float | None = None
    """of the event by the last step, before it is recalibrated; None: learned from the features"""
    features: tuple[float, ...] = ()
    passed: Floats | None = None
    """probability that the rate was passed by step 1, 2, ..., the last; None: has the shape learned on development
    runs"""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    says: str
    """what it goes by, for the table"""
    of: Callable[[Seen, np.random.Generator], Mapping[str, Said]]
    uses_rollouts: bool = False
    """whether it may use the labels of training rollouts"""


def by_score(score: float) -> Said:
    """What a method says that has a score and nothing else."""
    return Said(score, features=(score,))


def log_odds(hits: float, n: float) -> float:
    """The logit of a share, each side with half a count more: finite for none and for all."""
    return math.log((hits + 0.5) / (n - hits + 0.5))


def latest(values: tuple[float | None, ...]) -> float | None:
    """The last value that was measured."""
    return next((value for value in reversed(values) if value is not None), None)


def slope(steps: tuple[float, ...], values: tuple[float, ...]) -> float:
    """The least-squares slope; 0 with fewer than two points."""
    if len(steps) < 2:
        return 0.0
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    x = x - x.mean()
    return float((x * y).sum() / (x**2).sum())


def interpolated(steps: tuple[int, ...], passed: tuple[float, ...], last: int) -> Floats:
    """A forecast at some steps, at every step: 0 before the first, linear between them."""
    at = np.arange(1, last + 1, dtype=np.float64)
    found: Floats = np.interp(at, steps, passed)
    found[at < steps[0]] = 0.0
    return np.maximum.accumulate(np.clip(found, 0.0, 1.0))
