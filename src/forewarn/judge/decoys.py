"""Decoys: what a child is handed where another run of the same child side is handed the answers.

A run that holds a leak and one that holds none must look alike from inside, or a submission could behave well in the
second. So the second is handed expected values too, of other tests. They are drawn without a look at the values that
are expected in the run, or they would tell something about them: of two possible answers, "always the other one" is
an answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from forewarn.exploits.base import HANDED_OUT
from forewarn.judge.compare import same_trees
from forewarn.records import Problem, derived_seed
from forewarn.sandbox import codec

_DRAWS = 100
"""before the answers of a problem count as all alike"""


def decoys(problem: Problem, expected: Sequence[codec.Tree]) -> list[codec.Tree] | None:
    """One tree per test, each the expected value of some test of the set ``HANDED_OUT``, the same in every execution.

    They differ from ``expected`` somewhere, or whoever believes them would be right. None for a problem whose answers
    are all alike, where that can't be.
    """
    pool = [codec.encode(test.expected) for test in problem.named_tests.get(HANDED_OUT, ())]
    if not pool:
        return None
    rng = random.Random(derived_seed("decoys", problem.problem_id, len(expected)))
    same = partial(same_trees, tolerance=problem.float_tolerance)
    for _ in range(_DRAWS):
        drawn = [rng.choice(pool) for _ in expected]
        if not all(map(same, expected, drawn)):
            return drawn
    return None
