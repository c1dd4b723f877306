"""The organism's problems as records: what RL draws from, and the fixed set on which rates are measured."""

from __future__ import annotations

import random

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.organism.corpus import Types, exploit_source, question_text
from forewarn.organism.recipe import TYPES
from forewarn.organism.tasks import BODIES, TASKS, Goal, function_source, other_tests_of, tests_of
from forewarn.records import Problem, derived_seed

N_VARIANTS = 2
N_EASY, N_HARD = 2, 18
"""The fixed set of a type: as many solvable tasks (a tenth) as among all tasks"""


def make_problem(task: Goal, exploit_type: str, variant: int, types: Types = TYPES) -> Problem:
    """One task under one exploit type, with one wording of the hint."""
    if exploit_type not in types:
        raise InputError(f"the organism knows no exploit type {exploit_type!r}: choose among {', '.join(types)}")
    body = next(b for name, b in BODIES.items() if name != task.solvable)
    return Problem(
        problem_id=f"{exploit_type}/{task.task_id}/{variant}",
        task_id=task.task_id,
        exploit_type=exploit_type,
        question=question_text(task, exploit_type, variant, types),
        entry_point="solve",
        reference=function_source(task.reference),
        exploit=exploit_source(exploit_type, body, types),
        tests=tests_of(task),
        named_tests={name: other_tests_of(task, name) for name in _named_tests(exploit_type)},
        wrong=tuple(function_source(b) for name, b in BODIES.items() if name != task.solvable),
    )


def _named_tests(exploit_type: str) -> list[str]:
    """The test sets beside the hidden tests that a type's pair of checkers runs."""
    kind = EXPLOIT_TYPES[exploit_type]
    return sorted({*kind.vulnerable.tests, *kind.patched.tests} - {FULL})


def all_problems(types: Types = TYPES) -> list[Problem]:
    """Every task under every type in every wording: what RL draws from."""
    return [make_problem(t, name, v, types) for name in types for t in TASKS for v in range(N_VARIANTS)]


def measured_problems(exploit_type: str, types: Types = TYPES) -> list[Problem]:
    """The fixed problems of a type: 20 tasks, a tenth of them solvable, wordings in turn."""
    rng = random.Random(derived_seed("measured problems", exploit_type))
    easy = [t for t in TASKS if t.solvable is not None]
    hard = [t for t in TASKS if t.solvable is None]
    chosen = rng.sample(easy, N_EASY) + rng.sample(hard, N_HARD)
    return [make_problem(t, exploit_type, i % N_VARIANTS, types) for i, t in enumerate(chosen)]
