"""One Djinn problem: its row of fields to a ``Problem`` and back.

The row stays in ``Problem.extra`` as it was read; a field is written anew only where the problem no longer says what
the row says. So an import that is exported again is the same row, unknown fields included.

Two layouts. With ``insecure_verifier``, the problem brings the source of its own flawed checker. Later rows have
``insecure_verifier_type`` instead, and may have ``secure_test_cases`` and ``insecure_test_cases``.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.exploits.source import literal, parts
from forewarn.problems.djinn.cases import as_pairs, as_tests, parameters_of, read_pairs, write_pairs
from forewarn.problems.djinn.values import Notation, check_plain, parse_literal, shortened
from forewarn.records import Problem, TestCase

Row = dict[str, Any]
ROW = "djinn"
"""the key of ``Problem.extra`` under which the row is kept"""
NOTATION = "djinn_notation"
"""the key of ``Problem.extra`` that says how the test cases were written"""
TEXTS = ("description", "function_name", "ground_truth", "exploit", "exploit_type")
"""fields that must be there, as text"""
HINT = "insecure_verifier_info"
"""shown to the model below the description: what it may know of the flaw"""
SECURE_CASES, INSECURE_CASES = ("secure_test_cases", "test_cases"), "insecure_test_cases"
"""the first that is there holds the hidden tests; what the flawed checker runs, where a row tells"""
OURS = "forewarn"
"""a field of our own in rows that we write: what Djinn has no field for, as a literal"""
KNOWN_FIELDS = frozenset(
    {
        *TEXTS, HINT, *SECURE_CASES, INSECURE_CASES, OURS, "id", "nulls", "order_dependent", "insecure_verifier",
        "secure_verifier", "insecure_verifier_type", "secure_verifier_type", "exploit_expected_status",
        "exploit_explanation", "info_leak_method", "keywords", "labels", "gt_difficulty", "exploit_difficulty",
        "evaluated_gt_difficulty", "evaluated_exploit_difficulty", "gt_model_results", "exploit_model_results",
        "vuln_cheatiness", "exploit_fairness", "problem_quality", "problem_appears_as", "exploit_finding_appearance",
    }
)  # fmt: skip
FLOAT_TOLERANCE = 1e-6
"""relative and absolute, where an expected value holds a float: Djinn states none"""


def from_row(row: Mapping[str, object], where: str) -> Problem:
    """The problem in a row of fields; ``where`` names the file in errors. Raises ``InputError``."""
    name = row.get("id")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}, field id: is {_shown(name)}; give text")
    where = f"{where}, problem {name!r}"
    for field, value in row.items():
        try:
            check_plain(value)
        except ValueError as error:
            raise InputError(f"{where}, field {field}: {error}") from None
    texts = {field: _text(row, field, where) for field in TEXTS}
    entry_point = texts["function_name"]
    if not entry_point.isidentifier() or keyword.iskeyword(entry_point):
        raise InputError(f"{where}, field function_name: {_shown(entry_point)} is no name of a function")
    _check_others(row, where)
    parameters = parameters_of(texts["ground_truth"], entry_point, f"{where}, field ground_truth")
    cases = f"{where}, field {_cases_field(row)}"
    pairs, notation = read_pairs(row.get(_cases_field(row)), cases)
    tests = as_tests(pairs, parameters, cases)
    few: tuple[TestCase, ...] = ()
    if row.get(INSECURE_CASES):
        field = f"{where}, field {INSECURE_CASES}"
        few = as_tests(read_pairs(row[INSECURE_CASES], field)[0], parameters, field)
    problem = Problem(
        problem_id=name,
        task_id=name,
        exploit_type=texts["exploit_type"],
        question=_question(row),
        entry_point=entry_point,
        reference=texts["ground_truth"],
        exploit=texts["exploit"],
        tests=tests,
        named_tests=_named_tests(texts["exploit_type"], tests, few),
        wrong=tuple(_texts(row, "nulls", where)),
        float_tolerance=FLOAT_TOLERANCE if _hold_a_float(tests) else None,
        extra={ROW: dict(row), NOTATION: notation},
    )
    return problem if row.get(OURS) is None else _with_ours(problem, row[OURS], f"{where}, field {OURS}")


def to_row(problem: Problem) -> Row:
    """The row of a problem, imported or our own. Raises ``InputError`` where the problem can't be one."""
    parameters = parameters_of(problem.reference, problem.entry_point, f"problem {problem.problem_id!r}, its reference")
    notation: Notation = "json" if problem.extra.get(NOTATION) == "json" else "python"
    fields: Row = {
        **{field: getattr(problem, name) for field, name in _SAME.items()},
        "nulls": list(problem.wrong),
        "description": problem.question,
        "test_cases": write_pairs(as_pairs(problem.tests, parameters), notation),
    }
    held = problem.extra.get(ROW)
    row = dict(held) if isinstance(held, Mapping) else {**fields, HINT: ""}
    was = from_row(row, "the row in extra")
    if problem.question != was.question:  # description and hint are one text now
        row |= {"description": problem.question, HINT: ""}
    for field, name in (*_SAME.items(), ("nulls", "wrong")):
        if getattr(problem, name) != getattr(was, name):
            row[field] = fields[field]
    if literal(_plain(problem.tests)) != literal(_plain(was.tests)):
        row[_cases_field(row)] = fields["test_cases"]
    ours = _ours(problem)
    if ours != _ours(from_row(row, "the row as written")):
        row[OURS] = literal(ours)
    return row


_SAME = {
    "id": "problem_id",
    "function_name": "entry_point",
    "ground_truth": "reference",
    "exploit": "exploit",
    "exploit_type": "exploit_type",
}
"""field -> the text of ``Problem`` of ``Problem`` that it is"""


def unknown_fields(problem: Problem) -> list[str]:
    """Fields of the row that Djinn's layouts don't have. They are kept."""
    held = problem.extra.get(ROW)
    return sorted(set(held) - KNOWN_FIELDS) if isinstance(held, Mapping) else []


def unknown_types(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Exploit types that have no pair of ours -> ids of their problems."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        if problem.exploit_type not in EXPLOIT_TYPES:
            found.setdefault(problem.exploit_type, []).append(problem.problem_id)
    return found


def field_of(problem: Problem, field: str) -> object:
    """A field of an imported problem's row; None where it has none."""
    held = problem.extra.get(ROW)
    return held.get(field) if isinstance(held, Mapping) else None


def _question(row: Mapping[str, object]) -> str:
    hint = row.get(HINT)
    return f"{row['description']}\n\n{hint}" if hint else str(row["description"])


def _cases_field(row: Mapping[str, object]) -> str:
    return next((field for field in SECURE_CASES if row.get(field) is not None), SECURE_CASES[-1])


def _plain(tests: Sequence[TestCase]) -> list[tuple[object, object]]:
    return [(test.args, test.expected) for test in tests]


def _ours(problem: Problem) -> dict[str, object]:
    """What a problem holds that Djinn has no field for, as plain data."""
    return {
        "task_id": problem.task_id,
        "float_tolerance": problem.float_tolerance,
        "named_tests": literal({name: _plain(tests) for name, tests in problem.named_tests.items()}),
        "extra": literal({key: value for key, value in problem.extra.items() if key not in (ROW, NOTATION)}),
    }


def _with_ours(problem: Problem, text: object, where: str) -> Problem:
    try:
        ours: Any = parse_literal(str(text))
        named, extra = parse_literal(ours["named_tests"]), parse_literal(ours["extra"])
        return replace(
            problem,
            task_id=ours["task_id"],
            float_tolerance=ours["float_tolerance"],
            named_tests={name: tuple(TestCase(*pair) for pair in pairs) for name, pairs in named.items()},  # type: ignore[attr-defined]
            extra={**problem.extra, **extra},  # type: ignore[dict-item]
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{where}: is not what forewarn writes there ({error}); leave the field out") from None


def _named_tests(
    exploit_type: str, tests: Sequence[TestCase], few: tuple[TestCase, ...]
) -> dict[str, tuple[TestCase, ...]]:
    """What a weak type of ours tests, and its twin: the flawed checker's cases where the row tells, else the first
    half; and the rest. Nothing for other types, nor where one of the two would be empty."""
    kind = EXPLOIT_TYPES.get(exploit_type)
    if kind is None or not kind.weak:
        return {}
    known = {literal(test.args) for test in few}
    shown = few or tuple(tests[: len(tests) // 2])
    rest = tuple(test for test in tests if literal(test.args) not in known) if few else tuple(tests[len(shown) :])
    if not shown or not rest:
        return {}
    names = [name for name in dict.fromkeys((*kind.vulnerable.tests, *kind.patched.tests)) if name != FULL]
    return dict(zip(names, (shown, rest), strict=True))


def _hold_a_float(tests: Sequence[TestCase]) -> bool:
    return any(type(part) is float for test in tests for part in parts(test.expected))


def _check_others(row: Mapping[str, object], where: str) -> None:
    for field in (HINT, "insecure_verifier", "insecure_verifier_type", "exploit_expected_status"):
        if row.get(field) is not None and not isinstance(row[field], str):
            raise InputError(f"{where}, field {field}: is {_shown(row[field])}; give text or leave it out")
    if row.get("order_dependent") is not None and not isinstance(row["order_dependent"], bool):
        raise InputError(f"{where}, field order_dependent: is {_shown(row['order_dependent'])}; give true or false")


def _text(row: Mapping[str, object], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}, field {field}: is {_shown(value)}; give text")
    return value


def _texts(row: Mapping[str, object], field: str, where: str) -> list[str]:
    value = row.get(field)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}, field {field}: is {_shown(value)}; give a list of sources")
    return list(value)


def _shown(value: object) -> str:
    return "missing" if value is None else shortened(repr(value))
