"""The parts of a problem that Djinn has no field for: one field of forewarn's in its rows, checked when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forewarn.errors import InputError
from forewarn.exploits.source import literal
from forewarn.problems.djinn.values import parse_literal, shortened
from forewarn.problems.rows import check_text, tolerance
from forewarn.records import Problem, TestCase

ROW = "djinn"
"""the key of ``Problem.extra`` under which the row is kept"""
NOTATION = "djinn_notation"
"""the key of ``Problem.extra`` that says how the test cases were written"""


def plain(tests: Sequence[TestCase]) -> list[tuple[object, object]]:
    return [(test.args, test.expected) for test in tests]


def ours_of(problem: Problem) -> dict[str, object]:
    """Return the parts of a problem that Djinn has no field for, as plain data."""
    return {
        "task_id": problem.task_id,
        "float_tolerance": problem.float_tolerance,
        "named_tests": literal({name: plain(tests) for name, tests in problem.named_tests.items()}),
        "extra": literal({key: value for key, value in problem.extra.items() if key not in (ROW, NOTATION)}),
    }


def with_ours(problem: Problem, text: object, where: str) -> Problem:
    """Return the problem with the result of ``ours_of``, a literal in ``text``. Raises ``InputError``."""
    try:
        ours = _by_name(text, "it")
        if ours.keys() != ours_of(problem).keys():
            raise ValueError(f"it has {', '.join(ours) or 'nothing'}")
        check_text(ours["task_id"], "task_id")
        named, extra = _by_name(ours["named_tests"], "named_tests"), _by_name(ours["extra"], "extra")
        if extra.keys() & {ROW, NOTATION}:
            raise ValueError("extra contains a row")
        return replace(
            problem,
            task_id=str(ours["task_id"]),
            float_tolerance=tolerance(ours["float_tolerance"], "float_tolerance"),
            named_tests={name: _tests(pairs, f"named_tests.{name}") for name, pairs in named.items()},
            extra={**problem.extra, **extra},
        )
    except (ValueError, InputError) as error:
        raise InputError(f"{where}: was not written by forewarn ({error}); leave the field out") from None


def _by_name(text: object, what: str) -> dict[str, object]:
    if not isinstance(text, str):
        raise ValueError(f"{what} is {shortened(repr(text))}, not text")
    value = parse_literal(text)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{what} is {shortened(repr(value))}, not a dict with names as keys")
    return value


def _tests(pairs: object, what: str) -> tuple[TestCase, ...]:
    if not isinstance(pairs, (list, tuple)):
        raise ValueError(f"{what} is {shortened(repr(pairs))}, not a list")
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], tuple):
            raise ValueError(f"{what} contains {shortened(repr(pair))}, not a pair of arguments and expected value")
    return tuple(TestCase(args, expected) for args, expected in pairs)
