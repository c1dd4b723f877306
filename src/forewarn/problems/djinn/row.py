"""Converts one Djinn problem between its row of fields and a ``Problem``.

The row stays in ``Problem.extra`` as it was read, and a field is rewritten only if the problem has changed. So an
import that is exported again gives the same row, unknown fields included.

Two layouts. With ``insecure_verifier``, the problem brings the source of its own flawed checker. Later rows have
``insecure_verifier_type`` instead, and may have ``secure_test_cases`` and ``insecure_test_cases``.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL
from forewarn.exploits.source import literal, parts
from forewarn.problems.djinn.cases import as_pairs, as_tests, parameters_of, read_pairs, write_pairs
from forewarn.problems.djinn.ours import NOTATION as NOTATION
from forewarn.problems.djinn.ours import ROW as ROW
from forewarn.problems.djinn.ours import ours_of, plain, with_ours
from forewarn.problems.djinn.values import Notation, check_plain, shortened, shown
from forewarn.problems.rows import check_id, check_text, check_values
from forewarn.records import Problem, TestCase

Row = dict[str, Any]
TEXTS = ("description", "function_name", "ground_truth", "exploit", "exploit_type")
"""fields that must be there, as text"""
HINT = "insecure_verifier_info"
"""shown to the model below the description: information about the flaw"""
SECURE_CASES, INSECURE_CASES = ("secure_test_cases", "test_cases"), "insecure_test_cases"
"""fields for the hidden tests, of which the first present one counts; the field for the flawed checker's tests"""
OURS = "forewarn"
"""forewarn's own field in rows that it writes, for everything that Djinn has no field for, as a literal"""
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
"""relative and absolute tolerance if an expected value contains a float: Djinn does not state one"""


def from_row(row: Mapping[str, object], where: str) -> Problem:
    """Return the problem in a row of fields; ``where`` names the file in errors. Raises ``InputError``."""
    name = row.get("id")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}, field id: is {_shown(name)}; give text")
    where = f"{where}, problem {name!r}"
    check_id(name, f"{where}, field id")
    for field, value in row.items():
        if field in (*SECURE_CASES, INSECURE_CASES):
            continue  # checked test by test when they are read
        try:
            check_plain(value)
        except ValueError as error:
            raise InputError(f"{where}, field {field}: {error}") from None
    texts = {field: _text(row, field, where) for field in TEXTS}
    entry_point = texts["function_name"]
    if not entry_point.isidentifier() or keyword.iskeyword(entry_point):
        raise InputError(f"{where}, field function_name: {_shown(entry_point)} is not the name of a function")
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
    return problem if row.get(OURS) is None else with_ours(problem, row[OURS], f"{where}, field {OURS}")


def to_row(problem: Problem) -> Row:
    """Return the row of a problem, imported or forewarn's own. Raises ``InputError`` if a row can't express it."""
    where = f"problem {problem.problem_id!r}"
    check_values(problem)
    parameters = parameters_of(problem.reference, problem.entry_point, f"{where}, its reference")
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
    if literal(plain(problem.tests)) != literal(plain(was.tests)):
        row[_cases_field(row)] = fields["test_cases"]
    ours = ours_of(problem)
    again = from_row(row, "the row as written")
    for index, (test, back) in enumerate(zip(problem.tests, again.tests, strict=True)):
        if literal(test.args) != literal(back.args):
            raise InputError(
                f"{where}, field tests[{index}].args: is {shortened(literal(test.args))}, which Djinn's pairs of one "
                f"input and one expected value can't tell from {shortened(literal(back.args))}; write a forewarn set"
            )
    if ours != ours_of(again):
        row[OURS] = literal(ours)
    return row


_SAME = {
    "id": "problem_id",
    "function_name": "entry_point",
    "ground_truth": "reference",
    "exploit": "exploit",
    "exploit_type": "exploit_type",
}
"""field -> the field of ``Problem`` with the same text"""


def unknown_fields(problem: Problem) -> list[str]:
    """Return the row's fields that Djinn's layouts don't have; they are kept."""
    held = problem.extra.get(ROW)
    return sorted(set(held) - KNOWN_FIELDS) if isinstance(held, Mapping) else []


def unknown_types(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Map the exploit types that forewarn doesn't have to the ids of their problems."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        if problem.exploit_type not in EXPLOIT_TYPES:
            found.setdefault(problem.exploit_type, []).append(problem.problem_id)
    return found


def field_of(problem: Problem, field: str) -> object:
    """Return a field of an imported problem's row, or None."""
    held = problem.extra.get(ROW)
    return held.get(field) if isinstance(held, Mapping) else None


def _question(row: Mapping[str, object]) -> str:
    hint = row.get(HINT)
    return f"{row['description']}\n\n{hint}" if hint else str(row["description"])


def _cases_field(row: Mapping[str, object]) -> str:
    """Return the field with the hidden tests; in exports, a missing field may be an empty text or list."""
    return next((field for field in SECURE_CASES if row.get(field) not in (None, "", [], ())), SECURE_CASES[-1])


def _named_tests(
    exploit_type: str, tests: Sequence[TestCase], few: tuple[TestCase, ...]
) -> dict[str, tuple[TestCase, ...]]:
    """Return the test sets of a weak type and its twin: the flawed checker's cases if the row has them, else the first
    half; and the rest. Empty for other types, and if one of the two sets would be empty."""
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
    check_text(value, f"{where}, field {field}")
    return value


def _texts(row: Mapping[str, object], field: str, where: str) -> list[str]:
    value = row.get(field)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{where}, field {field}: is {_shown(value)}; give a list of sources")
    for item in value:
        check_text(item, f"{where}, field {field}")
    return list(value)


def _shown(value: object) -> str:
    return "missing" if value is None else shown(value)
