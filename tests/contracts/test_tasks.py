"""The law of every base task: well stated, its test sets are what they are called, its mistakes honest."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping

import pytest

from forewarn.admission.honest import right_answers
from forewarn.admission.law import MIN_MISTAKES
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.exploits.source import literal, parts
from forewarn.judge.compare import same_trees
from forewarn.judge.judge import choose_level
from forewarn.problems.assemble import make_problem
from forewarn.problems.cases import PUBLIC, SETS, draw_cases
from forewarn.problems.tasks import FAMILIES
from forewarn.problems.tasks.base import Task, reference_source, signature_line, with_body, wrong_source
from forewarn.records import Problem, TestCase
from forewarn.sandbox import codec

Sets = Mapping[str, Mapping[str, tuple[TestCase, ...]]]
Counts = Mapping[tuple[str, str], int]
TASKS = {task.name: (family, task) for family, tasks in FAMILIES.items() for task in tasks}
SEED = 0
RESERVED = {"expected_result", "kwargs", "validate", "problem", "TEST_CASES", "TABLE", "solve"}
"""names that a checker or a reference exploit gives a meaning"""


@pytest.fixture(scope="module")
def sets() -> dict[str, dict[str, tuple[TestCase, ...]]]:
    return {name: draw_cases(task, seed=SEED) for name, (_, task) in TASKS.items()}


def problem_of(task: Task, tests: tuple[TestCase, ...]) -> Problem:
    drawn = dict.fromkeys(SETS, tests)
    made = make_problem(task, EXPLOIT_TYPES["error_code_abuse"], "", drawn, seed=SEED)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def counts(sets: Sets) -> dict[tuple[str, str], int]:
    """(task, what) -> right answers, all counted in one batch: "reference", every mistake, and the shortcut's two."""
    items: dict[tuple[str, str], tuple[Problem, str]] = {}
    for name, (_, task) in TASKS.items():
        full = problem_of(task, sets[name][FULL])
        items[name, "reference"] = full, reference_source(task)
        items |= {(name, slip.why): (full, wrong_source(task, slip)) for slip in task.slips}
        for slice_name in ("easy", "near"):
            items[name, slice_name] = problem_of(task, sets[name][slice_name]), with_body(task, task.shortcut)
    found = right_answers(list(items.values()), level=choose_level(None, False, 512))  # type: ignore[arg-type]
    assert None not in found
    return dict(zip(items, (count for count in found if count is not None), strict=True))


def test_there_are_enough_tasks_in_ten_families() -> None:
    assert len(TASKS) == sum(map(len, FAMILIES.values())), "two tasks claim one name"
    assert len(TASKS) >= 60
    assert len(FAMILIES) == 10
    assert {task.level for _, task in TASKS.values()} == {1, 2, 3, 4}


@pytest.mark.parametrize("name", TASKS)
def test_it_is_stated(name: str) -> None:
    _, task = TASKS[name]
    signature = inspect.signature(task.solve)
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.default is inspect.Parameter.empty
    assert signature_line(task).endswith(":"), "the signature has to fit in one line"
    assert not {name, *task.parameters} & RESERVED
    assert len(task.statement.split()) >= 8
    question = problem_of(task, draw_cases(task, seed=SEED)[PUBLIC]).question
    assert name in question
    assert signature_line(task).rstrip(":") in question
    assert task.statement in question


@pytest.mark.parametrize("name", TASKS)
def test_its_sets_are_what_they_are_called(name: str, sets: Sets) -> None:
    _, task = TASKS[name]
    mine = sets[name]
    assert len(mine[FULL]) >= 30
    assert len(mine[PUBLIC]) >= 3
    keys = [literal(case.args) for cases in mine.values() for case in cases]
    assert len(set(keys)) == len(keys), "a case is in two sets"
    assert all(task.is_easy(*case.args) for case in mine["easy"])
    for beyond in ("near", "hardcoded", "hardcoded_fresh", "leaked", "leaked_fresh"):
        assert not any(task.is_easy(*case.args) for case in mine[beyond]), beyond
        assert len({literal(case.expected) for case in mine[beyond]}) > 1, beyond
    assert len(mine["hardcoded"]) == len(mine["hardcoded_fresh"])
    assert len(mine["leaked"]) == len(mine["leaked_fresh"])


@pytest.mark.parametrize("name", TASKS)
def test_its_cases_follow_from_the_seed(name: str, sets: Sets) -> None:
    _, task = TASKS[name]
    assert {n: literal([(c.args, c.expected) for c in cases]) for n, cases in draw_cases(task, seed=SEED).items()} == {
        n: literal([(c.args, c.expected) for c in cases]) for n, cases in sets[name].items()
    }
    assert literal([c.args for c in draw_cases(task, seed=SEED + 1)[FULL]]) != literal(
        [c.args for c in sets[name][FULL]]
    )


@pytest.mark.parametrize("name", TASKS)
def test_its_values_cross_the_sandbox_and_stay(name: str, sets: Sets) -> None:
    _, task = TASKS[name]
    for case in (case for cases in sets[name].values() for case in cases):
        for value in (case.args, case.expected):
            tree = codec.encode(value)
            assert same_trees(tree, codec.loads(codec.dumps(tree))), literal(value)
        args = copy.deepcopy(case.args)
        task.solve(*args)
        assert literal(args) == literal(case.args), "the reference changes its arguments"


@pytest.mark.parametrize("name", TASKS)
def test_its_reference_is_right(name: str, counts: Counts, sets: Sets) -> None:
    assert counts[name, "reference"] == len(sets[name][FULL])


@pytest.mark.parametrize("name", TASKS)
def test_its_mistakes_are_honest(name: str, counts: Counts, sets: Sets) -> None:
    _, task = TASKS[name]
    n = len(sets[name][FULL])
    assert len({slip.why for slip in task.slips}) >= MIN_MISTAKES
    right = {slip.why: counts[name, slip.why] for slip in task.slips}
    assert {why: count for why, count in right.items() if not n / 2 <= count < n} == {}, f"of {n}"


@pytest.mark.parametrize("name", TASKS)
def test_its_shortcut_is_right_on_the_easy_slice_alone(name: str, counts: Counts, sets: Sets) -> None:
    assert counts[name, "easy"] == len(sets[name]["easy"])
    assert counts[name, "near"] < len(sets[name]["near"])


def test_the_values_are_of_every_kind(sets: Sets) -> None:
    seen: set[str] = set()
    for cases in (cases for mine in sets.values() for cases in mine.values()):
        for case in cases:
            for value in (*case.args, case.expected):
                seen |= {kind for part in parts(value) for kind in kinds(part)}
                seen |= {"nested"} if sum(isinstance(part, (list, tuple, dict)) for part in parts(value)) > 2 else set()
    assert seen >= {
        "tuple", "set", "int keys", "None", "float", "large int", "beyond ASCII", "nested", "empty list", "empty dict",
        "empty set", "empty text", "bool", "negative int",
    }  # fmt: skip
    assert any(task.float_tolerance for _, task in TASKS.values())


def kinds(value: object) -> set[str]:
    """What is particular about a value."""
    found = {type(value).__name__ if value is not None else "None"}
    if isinstance(value, (list, dict, set)) and not value:
        found.add(f"empty {type(value).__name__}")
    if isinstance(value, dict) and any(type(key) is int for key in value):
        found.add("int keys")
    if isinstance(value, int) and abs(value) >= 2**64:
        found.add("large int")
    if isinstance(value, int) and value < 0:
        found.add("negative int")
    if isinstance(value, str):
        found |= ({"empty text"} if not value else set()) | ({"beyond ASCII"} if not value.isascii() else set())
    return found
