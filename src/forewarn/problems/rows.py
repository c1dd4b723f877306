"""Converts a problem to a flat row of plain columns and back, and checks every field. All file formats use this layout.

Columns: the fields of ``Problem``; values of tests and ``extra`` as literals (``values.py``); ``named_tests`` as a list
of {name, tests}; and ``split``, which follows from the exploit type and helps readers. Any other column is kept in
``extra``.
"""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.exploits.source import literal
from forewarn.problems.values import check_writable, parse
from forewarn.records import Problem, TestCase

Row = dict[str, Any]
TEXTS = ("problem_id", "task_id", "exploit_type", "question", "entry_point", "reference", "exploit")
"""columns of text, all of them required"""
COLUMNS = (*TEXTS, "split", "tests", "named_tests", "wrong", "float_tolerance", "extra")


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
    """Return the problem in a row. ``where``: the row's place, for errors. Raises ``InputError``."""
    for name in TEXTS:
        if not isinstance(row.get(name), str):
            raise InputError(f"{where}, field {name}: is {_shown(row.get(name))}; give text")
    where = f"problem {row['problem_id']!r} ({where})"
    problem = Problem(
        **{name: row[name] for name in TEXTS},
        tests=_tests(row.get("tests"), f"{where}, field tests"),
        named_tests=_named_tests(row.get("named_tests") or [], f"{where}, field named_tests"),
        wrong=tuple(_texts(row.get("wrong") or [], f"{where}, field wrong")),
        float_tolerance=tolerance(row.get("float_tolerance"), f"{where}, field float_tolerance"),
        extra=_with_unknown(_extra(row.get("extra"), f"{where}, field extra"), row, where),
    )
    check(problem, where)
    return problem


def check(problem: Problem, where: str = "") -> None:
    """Raise ``InputError`` naming problem and field if a problem can't be judged."""
    where = where or f"problem {problem.problem_id!r}"
    kind = EXPLOIT_TYPES.get(problem.exploit_type)
    if kind is None:
        known = ", ".join(EXPLOIT_TYPES)
        raise InputError(f"{where}, field exploit_type: {problem.exploit_type!r} is unknown; use one of {known}")
    check_id(problem.problem_id, f"{where}, field problem_id")
    for name in TEXTS:
        check_text(getattr(problem, name), f"{where}, field {name}")
    for text in (*problem.wrong, *problem.named_tests):
        check_text(text, f"{where}, field {'wrong' if text in problem.wrong else 'named_tests'}")
    if not problem.entry_point.isidentifier() or keyword.iskeyword(problem.entry_point):
        raise InputError(f"{where}, field entry_point: {problem.entry_point!r} is not the name of a function")
    if not problem.tests:
        raise InputError(f"{where}, field tests: is empty; give at least one test")
    for name in {*kind.vulnerable.tests, *kind.patched.tests} - {FULL}:
        if not problem.named_tests.get(name):
            raise InputError(f"{where}, field named_tests: {problem.exploit_type} needs tests named {name!r}")
    tolerance(problem.float_tolerance, f"{where}, field float_tolerance")
    for field in ("reference", "exploit"):
        check_source(getattr(problem, field), f"{where}, field {field}")


def check_writable_problem(problem: Problem) -> None:
    """Raise ``InputError`` naming problem and field if the problem would not survive a file."""
    where = f"problem {problem.problem_id!r}"
    if problem.exploit_type not in EXPLOIT_TYPES:
        raise InputError(
            f"{where}, field exploit_type: {problem.exploit_type!r} is not one of forewarn's own types, and a file "
            f"can't contain its rewards or checkers; make the problem in Python where it is used"
        )
    check(problem)
    check_values(problem)


def check_values(problem: Problem) -> None:
    """Raise ``InputError`` naming problem and field if a value would not survive as text."""
    values: dict[str, object] = {f"tests[{i}]": (test.args, test.expected) for i, test in enumerate(problem.tests)}
    for name, tests in problem.named_tests.items():
        values |= {f"named_tests.{name}[{i}]": (test.args, test.expected) for i, test in enumerate(tests)}
    values |= {"float_tolerance": problem.float_tolerance, "extra": dict(problem.extra)}
    for field, value in values.items():
        where = f"problem {problem.problem_id!r}, field {field}"
        if field == "extra":
            _check_names(value, where)
        elif isinstance(value, tuple) and type(value[0]) is not tuple:
            raise InputError(f"{where}.args: is {_shown(value[0])}; give a tuple of the positional arguments")
        try:
            check_writable(value)
        except ValueError as error:
            raise InputError(f"{where}: {error}; give plain data") from None


def check_id(name: str, where: str) -> None:
    """Raise ``InputError`` unless a problem's id is printable text on one line."""
    if not name.strip() or not name.isprintable():
        raise InputError(f"{where}: is {_shown(name)}; give printable text on one line")


def check_text(text: object, where: str) -> None:
    """Raise ``InputError`` unless ``text`` is text that UTF-8 can encode."""
    if type(text) is not str:
        raise InputError(f"{where}: is of type {type(text).__name__}; give text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        said = ascii(text[error.start])
        raise InputError(f"{where}: contains half a character ({said}), which UTF-8 can't encode; remove it") from None


def check_source(source: str, where: str) -> None:
    """Raise ``InputError`` if source is not valid Python; it is parsed but not run."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: does not parse: {type(error).__name__}: {error}") from None


def check_ids(problems: Iterable[Problem]) -> None:
    """Raise ``InputError`` if two problems have the same id."""
    seen: set[str] = set()
    for problem in problems:
        if problem.problem_id in seen:
            raise InputError(f"problem {problem.problem_id!r}, field problem_id: occurs twice; give each its own id")
        seen.add(problem.problem_id)


def _rows_of(tests: Iterable[TestCase]) -> list[dict[str, str]]:
    return [{"args": literal(test.args), "expected": literal(test.expected)} for test in tests]


def _tests(rows: object, where: str) -> tuple[TestCase, ...]:
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise InputError(f"{where}: is {_shown(rows)}; give a list of tests")
    tests = []
    for index, row in enumerate(rows):
        at = f"{where}[{index}]"
        if not isinstance(row, Mapping) or row.keys() != {"args", "expected"}:
            raise InputError(f"{at}: is {_shown(row)}; give args and expected only")
        args = _literal(row["args"], f"{at}.args")
        if not isinstance(args, tuple):
            raise InputError(f"{at}.args: is {_shown(args)}; give a tuple of the positional arguments")
        tests.append(TestCase(args, _literal(row["expected"], f"{at}.expected")))
    return tuple(tests)


def _named_tests(rows: object, where: str) -> dict[str, tuple[TestCase, ...]]:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) and "name" in row for row in rows):
        raise InputError(f"{where}: is {_shown(rows)}; give a list of name and tests")
    found: dict[str, tuple[TestCase, ...]] = {}
    for row in rows:
        name = row["name"]
        if not isinstance(name, str):
            raise InputError(f"{where}: the name {_shown(name)} is not text; give text")
        if name in found:
            raise InputError(f"{where}: the name {_shown(name)} occurs twice; give each set its own name")
        if not row.keys() <= {"name", "tests"}:
            raise InputError(f"{where}.{name}: is {_shown(dict(row))}; give name and tests only")
        found[name] = _tests(row.get("tests"), f"{where}.{name}")
    return found


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


def tolerance(value: object, where: str) -> float | None:
    """Return the tolerance in a field. Raises ``InputError``."""
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not (number >= 0 and math.isfinite(number)):
        raise InputError(f"{where}: is {_shown(value)}; give a number of at least 0, or none")
    return number


def _extra(text: object, where: str) -> dict[str, object]:
    return _check_names(_literal(text if text is not None else "{}", where), where)


def _check_names(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where}: is {_shown(value)}; give a dict with names as keys")
    return value


def _with_unknown(extra: dict[str, object], row: Mapping[str, Any], where: str) -> dict[str, object]:
    """Return ``extra`` together with the row's unknown columns."""
    unknown = {name: value for name, value in row.items() if name not in COLUMNS}
    for name, value in unknown.items():
        if name in extra:
            raise InputError(f"{where}, field {_shown(name)}: is also in extra; leave one of the two out")
        try:
            check_writable(value)
        except ValueError as error:
            raise InputError(f"{where}, field {_shown(name)}: is unknown and {error}; leave it out") from None
    return {**extra, **unknown}


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than the interpreter writes
        text = f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= 80 else f"{text[:80]}..."
