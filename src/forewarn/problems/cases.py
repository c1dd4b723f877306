"""Test sets of a base task, drawn from a seed. The sets are disjoint; the reference gives the expected values."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from forewarn.errors import InputError
from forewarn.exploits.base import FULL, HANDED_OUT
from forewarn.exploits.source import arguments_key, literal
from forewarn.problems.tasks.base import Arguments, Task
from forewarn.records import TestCase, derived_seed

PUBLIC = "public"
"""the examples that a question shows"""
TRIES = 4000
"""maximum number of draws for one set before an error"""


@dataclass(frozen=True, slots=True)
class Draw:
    """How one test set is drawn."""

    n: int
    sizes: tuple[int, int]
    """smallest and largest size asked of the task's generator"""
    beyond_easy: bool = False
    """whether cases of the easy slice are left out"""
    at_least: int = 0
    """minimum number of cases if a slice is small; 0: all ``n``"""


SETS: Mapping[str, Draw] = {
    PUBLIC: Draw(3, (2, 4)),
    "leaked": Draw(5, (3, 6), beyond_easy=True),
    "leaked_fresh": Draw(5, (3, 6), beyond_easy=True),
    "hardcoded": Draw(5, (3, 6), beyond_easy=True),
    "hardcoded_fresh": Draw(5, (3, 6), beyond_easy=True),
    "easy": Draw(6, (0, 1), at_least=3),
    "near": Draw(6, (2, 3), beyond_easy=True),
    FULL: Draw(32, (0, 8)),
}
"""name -> how it is drawn, in this order; the task's edges are added to ``FULL``. ``HANDED_OUT`` comes last. It is
drawn like ``FULL`` and has its size, edges included, so that counting calls does not reveal which set is running."""


def draw_cases(task: Task, *, seed: int) -> dict[str, tuple[TestCase, ...]]:
    """Draw every test set of ``SETS``, and ``HANDED_OUT``. Raises ``InputError`` if the task gives too few cases."""
    rng = random.Random(derived_seed("cases", seed, task.name))
    edges = {literal(args): solved(task, args) for args in task.edges}
    used = set(edges)
    sets = {name: _draw(task, rng, name, how, used) for name, how in SETS.items()}
    sets[FULL] = (*edges.values(), *sets[FULL])
    asked = {arguments_key(case.args) for case in sets[FULL]}
    handed = _draw(task, rng, HANDED_OUT, Draw(len(sets[FULL]), SETS[FULL].sizes), used, asked)
    return {**sets, HANDED_OUT: handed}


def solved(task: Task, args: Arguments) -> TestCase:
    return TestCase(args, task.solve(*copy.deepcopy(args)))


def _draw(
    task: Task, rng: random.Random, name: str, how: Draw, used: set[str], asked: Collection[str] = ()
) -> tuple[TestCase, ...]:
    """Draw a set whose expected values are not all alike, so that a constant does not pass it. ``asked``: keys of the
    arguments that it must not have in any order of dicts and sets."""
    enough = how.at_least or how.n
    found: list[TestCase] = []
    for args in _arguments(task, rng, name, how, used):
        if asked and arguments_key(args) in asked:
            continue
        case = solved(task, args)
        alike = len(found) == how.n - 1 and len({literal(other.expected) for other in (*found, case)}) == 1
        if alike:
            continue
        used.add(literal(args))
        found.append(case)
        if len(found) == how.n:
            break
    if len(found) < enough:
        raise InputError(
            f"task {task.name}, field draw: only {len(found)} different cases of sizes {how.sizes} for the set "
            f"{name!r}, and {enough} are needed; let it draw from more inputs"
        )
    return tuple(found)


def _arguments(task: Task, rng: random.Random, name: str, how: Draw, used: set[str]) -> Iterator[Arguments]:
    for _ in range(TRIES):
        args = task.draw(rng, rng.randint(*how.sizes))
        easy = task.is_easy(*args)
        if name == "easy" and not easy:
            raise InputError(f"task {task.name}, field is_easy: {literal(args)}, drawn at size 0 or 1, is not easy")
        if literal(args) not in used and not (how.beyond_easy and easy):
            yield args
