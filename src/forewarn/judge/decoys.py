"""Decoys: the values handed to a child in a run whose child side hands out the answers elsewhere.

A run with a leak and a run without one must look alike from inside, or a submission could behave well only in the
second. So the second run also hands out expected values, but those of other tests. They are drawn without looking at
the run's own expected values. Otherwise they would reveal something: with two possible answers, "always the other one"
gives the answer away. The draw is seeded by what a submission can't know, the full tests with their answers: whoever
can repeat the draw knows which test each decoy belongs to, and the twin runs those tests.
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
"""draws to try before the answers of a problem count as all alike"""


def decoys(problem: Problem, expected: Sequence[codec.Tree]) -> list[codec.Tree] | None:
    """Draw one tree per test, the expected value of some test of the set ``HANDED_OUT``; every execution gets the same.

    At least one differs from ``expected``, so a submission that believes the decoys is wrong. Returns None if the
    problem's answers are all alike.
    """
    pool = [codec.encode(test.expected) for test in problem.named_tests.get(HANDED_OUT, ())]
    if not pool:
        return None
    rng = _generator(problem, len(expected))
    same = partial(same_trees, tolerance=problem.float_tolerance)
    for _ in range(_DRAWS):
        drawn = [rng.choice(pool) for _ in expected]
        if not all(map(same, expected, drawn)):
            return drawn
    return None


def _generator(problem: Problem, n: int) -> random.Random:
    """Return the generator of a run with ``n`` tests: the same in every process, and unknown to a submission."""
    secret = [codec.dumps(codec.encode(part)).decode() for test in problem.tests for part in (test.args, test.expected)]
    return random.Random(derived_seed("decoys", problem.problem_id, n, secret))
