"""A problem as a flat row of plain columns, and back, with every field checked. The layout of all file formats.

Columns: the fields of ``Problem``; values of tests and ``extra`` as literals (``values.py``); ``named_tests`` as a list
of {name, tests}; and ``split``, which follows from the exploit type and is there for readers.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.exploits.source import literal
from forewarn.problems.values import parse
from forewarn.records import Problem, TestCase

Row = dict[str, Any]
TEXTS = ("problem_id", "task_id", "exploit_type", "question", "entry_point", "reference", "exploit")
"""columns of text, all of them needed"""


def to_row(problem: Problem) -> Row:
    kind = EXPLOIT_TYPES.get(problem.exploit_type)
    return {
        **{name: getattr(problem, name) for name in TEXTS},
        "split": kind.split if kind else "",
        "tests": _rows_of(problem.tests),
        "named_tests": [{"name": name, "tests": _rows_of(tests)} for name, tests in problem.named_tests.items()],
        "wrong": list(problem.wrong),
        "float_tolerance": problem.float_tolerance,
        "extra": literal(dict(problem.extra)),
    }


def from_row(row: Mapping[str, Any], where: str) -> Problem:
    """The problem in a row. ``where`` says in errors where the row stands. Raises ``InputError``."""
    for name in TEXTS:
        if not isinstance(row.get(name), str):
            raise InputError(f"{where}, field {name}: is {_shown(row.get(name))}; give text")
    where = f"problem {row['problem_id']!r} ({where})"
    problem = Problem(
        **{name: row[name] for name in TEXTS},
        tests=_tests(row.get("tests"), f"{where}, field tests"),
        named_tests=_named_tests(row.get("named_tests") or [], f"{where}, field named_tests"),
        wrong=tuple(_texts(row.get("wrong") or [], f"{where}, field wrong")),
        float_tolerance=_tolerance(row.get("float_tolerance"), f"{where}, field float_tolerance"),
        extra=_extra(row.get("extra"), f"{where}, field extra"),
    )
    check(problem, where)
    return problem


def check(problem: Problem, where: str = "") -> None:
    """Raise ``InputError`` naming problem and field where a problem can't be judged."""
    where = where or f"problem {problem.problem_id!r}"
    kind = EXPLOIT_TYPES.get(problem.exploit_type)
    if kind is None:
        known = ", ".join(EXPLOIT_TYPES)
        raise InputError(f"{where}, field exploit_type: {problem.exploit_type!r} is unknown; use one of {known}")
    if not problem.entry_point.isidentifier():
        raise InputError(f"{where}, field entry_point: {problem.entry_point!r} is no name of a function")
    if not problem.tests:
        raise InputError(f"{where}, field tests: there are none; give at least one")
    for name in {*kind.vulnerable.tests, *kind.patched.tests} - {FULL}:
        if not problem.named_tests.get(name):
            raise InputError(f"{where}, field named_tests: {problem.exploit_type} needs tests named {name!r}")
    for field in ("reference", "exploit"):
        check_source(getattr(problem, field), f"{where}, field {field}")


def check_source(source: str, where: str) -> None:
    """Raise ``InputError`` where source is no Python. Nothing of it is run."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: does not parse: {type(error).__name__}: {error}") from None


def check_ids(problems: Iterable[Problem]) -> None:
    """Raise ``InputError`` where two problems have one id."""
    seen: set[str] = set()
    for problem in problems:
        if problem.problem_id in seen:
            raise InputError(f"problem {problem.problem_id!r}, field problem_id: is there twice; give each its own")
        seen.add(problem.problem_id)


def _rows_of(tests: Iterable[TestCase]) -> list[dict[str, str]]:
    return [{"args": literal(test.args), "expected": literal(test.expected)} for test in tests]


def _tests(rows: object, where: str) -> tuple[TestCase, ...]:
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise InputError(f"{where}: is {_shown(rows)}; give a list of tests")
    tests = []
    for index, row in enumerate(rows):
        at = f"{where}[{index}]"
        if not isinstance(row, Mapping) or not row.keys() >= {"args", "expected"}:
            raise InputError(f"{at}: is {_shown(row)}; give args and expected")
        args = _literal(row["args"], f"{at}.args")
        if not isinstance(args, tuple):
            raise InputError(f"{at}.args: is {_shown(args)}; give a tuple of the positional arguments")
        tests.append(TestCase(args, _literal(row["expected"], f"{at}.expected")))
    return tuple(tests)


def _named_tests(rows: object, where: str) -> dict[str, tuple[TestCase, ...]]:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) and "name" in row for row in rows):
        raise InputError(f"{where}: is {_shown(rows)}; give a list of name and tests")
    return {row["name"]: _tests(row.get("tests"), f"{where}.{row['name']}") for row in rows}


def _literal(text: object, where: str) -> object:
    if not isinstance(text, str):
        raise InputError(f"{where}: is {_shown(text)}; give a Python literal as text")
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}; give a Python literal of plain data") from None


def _texts(values: object, where: str) -> list[str]:
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(isinstance(v, str) for v in values):
        raise InputError(f"{where}: is {_shown(values)}; give a list of sources")
    return list(values)


def _tolerance(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value >= 0 and math.isfinite(value)):
        raise InputError(f"{where}: is {_shown(value)}; give a number of at least 0, or none")
    return float(value)


def _extra(text: object, where: str) -> dict[str, object]:
    value = _literal(text if text is not None else "{}", where)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where}: is {_shown(value)}; give a dict with names as keys")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
