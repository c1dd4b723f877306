"""What a problem holds that Djinn has no field for: one field of our own in its rows, checked when it is read."""

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
    """What a problem holds that Djinn has no field for, as plain data."""
    return {
        "task_id": problem.task_id,
        "float_tolerance": problem.float_tolerance,
        "named_tests": literal({name: plain(tests) for name, tests in problem.named_tests.items()}),
        "extra": literal({key: value for key, value in problem.extra.items() if key not in (ROW, NOTATION)}),
    }


def with_ours(problem: Problem, text: object, where: str) -> Problem:
    """The problem with what ``ours_of`` told of it, as a literal in ``text``. Raises ``InputError``."""
    try:
        ours = _by_name(text, "it")
        if ours.keys() != ours_of(problem).keys():
            raise ValueError(f"it holds {', '.join(ours) or 'nothing'}")
        check_text(ours["task_id"], "task_id")
        named, extra = _by_name(ours["named_tests"], "named_tests"), _by_name(ours["extra"], "extra")
        if extra.keys() & {ROW, NOTATION}:
            raise ValueError("extra holds a row")
        return replace(
            problem,
            task_id=str(ours["task_id"]),
            float_tolerance=tolerance(ours["float_tolerance"], "float_tolerance"),
            named_tests={name: _tests(pairs, f"named_tests.{name}") for name, pairs in named.items()},
            extra={**problem.extra, **extra},
        )
    except (ValueError, InputError) as error:
        raise InputError(f"{where}: is not what forewarn writes there ({error}); leave the field out") from None


def _by_name(text: object, what: str) -> dict[str, object]:
    if not isinstance(text, str):
        raise ValueError(f"{what} is {shortened(repr(text))}, and no text")
    value = parse_literal(text)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{what} is {shortened(repr(value))}, and has no names")
    return value


def _tests(pairs: object, what: str) -> tuple[TestCase, ...]:
    if not isinstance(pairs, (list, tuple)):
        raise ValueError(f"{what} is {shortened(repr(pairs))}, and no list")
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], tuple):
            raise ValueError(f"{what} holds {shortened(repr(pair))}, and no pair of arguments and expected value")
    return tuple(TestCase(args, expected) for args, expected in pairs)
