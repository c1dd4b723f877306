"""The price of leaving the subject: beta, of each problem, adapted so that a donor's hit rate stays within a band.

The policy that maximises E - beta log(q/p) in the mean is q ~ p exp(E/beta). Its hit rate h follows from the subject's
p by logit h = logit p + 1/beta, so that one beta for problems of different p would leave some without hits and let
others collapse onto their first hits. p is estimated from the rollouts themselves, which are draws from q and weighted
by p/q. Needs no torch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.errors import InputError

FADES = 0.8
"""what is left of a type's earlier rollouts, in its present hit rate, each time those of a problem come"""
GAIN, MOST_STEP, MOST_CORRECTION = 0.2, 0.4, 4.0
"""of the correction to 1/beta, nats: its part of the distance in logit h, its most at once, its most altogether"""
FIRST_CORRECTION = 2.0
"""nats: at the beginning exploits weigh more, so that a start that exploits does not lose them to the pull towards the
subject before it has learnt; a hit rate above the band takes it back"""
LEAST_INVERSE, MOST_INVERSE = 1.0, 50.0
"""of 1/beta, nats: e**50 reaches a rate of 1e-22"""


@dataclass(slots=True)
class _Record:
    n: int = 0
    weights: float = 0.0
    """sum of p/q over the paid rollouts"""
    recent_n: float = 0.0
    recent_paid: float = 0.0
    correction: float = FIRST_CORRECTION
    """added to 1/beta, nats: training lags behind the optimum that the formula is of. A type's: one problem is seen too
    seldom"""


class BetaControl:
    """``band``: the hit rates that are left alone. ``start``: beta until the first rollout of an exploit type is paid.

    What it gives is a function of what it learnt, in order: a training that goes on shows it the rollouts so far.
    Raises InputError for a band or a start that can't be meant.
    """

    def __init__(self, *, band: tuple[float, float] = (0.2, 0.5), start: float = 0.1) -> None:
        low, high = band
        if not 0 < low < high < 1:
            raise InputError(f"hit_rate is {list(band)}: give two rates between 0 and 1, the lower one first")
        if not 1 / MOST_INVERSE <= start <= 1 / LEAST_INVERSE:
            raise InputError(f"beta is {start}: give a value from {1 / MOST_INVERSE:g} to {1 / LEAST_INVERSE:g}")
        self._low, self._high, self._start = low, high, start
        self._goal = (_logit(low) + _logit(high)) / 2
        self._problems: dict[str, _Record] = defaultdict(_Record)
        self._types: dict[str, _Record] = defaultdict(_Record)

    def beta(self, problem_id: str, exploit_type: str) -> float:
        """Beta of a problem now."""
        own, shared = self._problems.get(problem_id, _Record()), self._types.get(exploit_type, _Record())
        known = own if own.weights > 0 else shared
        if known.weights > 0:
            inverse = self._goal - _logit(min(known.weights / known.n, 0.99))
        else:
            inverse = 1 / self._start - FIRST_CORRECTION
        return 1 / min(max(inverse + shared.correction, LEAST_INVERSE), MOST_INVERSE)

    def learn(
        self, problem_id: str, exploit_type: str, paid: Sequence[bool | None], log_ratios: Sequence[float]
    ) -> None:
        """Take in rollouts of one problem at one step: whether each was paid (None: can't be told) and log(q/p)."""
        judged = [(one, ratio) for one, ratio in zip(paid, log_ratios, strict=True) if one is not None]
        if not judged:
            return
        weights = sum(math.exp(min(-ratio, MOST_INVERSE)) for one, ratio in judged if one)
        shared = self._types[exploit_type]
        for record in (self._problems[problem_id], shared):
            record.n += len(judged)
            record.weights += weights
        shared.recent_n = FADES * shared.recent_n + len(judged)
        shared.recent_paid = FADES * shared.recent_paid + sum(one is True for one, _ in judged)
        rate = (shared.recent_paid + 0.5) / (shared.recent_n + 1)
        if not self._low <= rate <= self._high:
            step = min(max(GAIN * (self._goal - _logit(rate)), -MOST_STEP), MOST_STEP)
            shared.correction = min(max(shared.correction + step, -MOST_CORRECTION), MOST_CORRECTION)


def _logit(p: float) -> float:
    p = max(p, 1e-300)
    return math.log(p) - math.log1p(-p)
