"""One error budget for all alarms of a run that rest on e-values, over kinds of alarms, exploit types and looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forewarn.errors import InputError

PLANNED_PART = 0.9
"""of the budget, spread evenly over the planned looks; what is left is for looks beyond them, however many come"""


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """The chance that any of a run's alarms is false, and how it is divided beforehand (a union bound).

    It holds whatever the tests have to do with each other, so looks may share completions.
    """

    total: float
    """at most this, in (0, 1)"""
    n_tests: int
    """tests at each look: kinds of alarms times exploit types"""
    n_looks: int
    """looks that are planned"""

    def __post_init__(self) -> None:
        if not 0 < self.total < 1:
            raise InputError(f"budget is {self.total}: give a probability strictly between 0 and 1")
        if self.n_tests < 1 or self.n_looks < 1:
            raise InputError(f"{self.n_tests} tests at {self.n_looks} looks: give at least one of each")

    def level(self, look: int) -> float:
        """Return the level of each test of a look; looks are counted from 1, in the order in which they are made.

        The planned looks share ``PLANNED_PART`` evenly. The k-th look beyond them has 1 / (k (k + 1)) of the rest, so
        that all levels together never pass ``total``.
        """
        if look < 1:
            raise InputError(f"look is {look}: looks are counted from 1")
        if look <= self.n_looks:
            return PLANNED_PART * self.total / (self.n_looks * self.n_tests)
        beyond = look - self.n_looks
        return (1 - PLANNED_PART) * self.total / (beyond * (beyond + 1) * self.n_tests)

    def needed(self, look: int) -> float:
        """Return the ln e-value that an alarm of this look needs."""
        return -math.log(self.level(look))
