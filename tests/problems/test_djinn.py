"""One Djinn problem: values, cases and rows survive both ways, and what is wrong is said with problem and field."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.source import is_json, literal
from forewarn.problems.djinn.cases import as_pairs, as_tests, parameters_of, read_pairs, write_pairs
from forewarn.problems.djinn.row import ROW, from_row, to_row, unknown_fields, unknown_types
from forewarn.problems.djinn.values import MAX_DEPTH, MAX_TEXT_CHARS, parse, written
from forewarn.records import TestCase
from tests.problems.djinn_samples import EXITING, FILED, LATER, ROWS, SKIPPING
from tests.problems.test_values import VALUES


@settings(max_examples=40)
@given(VALUES)
def test_a_value_survives_in_python(value: object) -> None:
    again, notation = parse(written(value, "python"))
    assert literal(again) == literal(value)
    assert type(again) is type(value)
    assert notation == "python" or is_json(value)


@settings(max_examples=40)
@given(VALUES)
def test_a_value_survives_in_json_or_is_written_in_python(value: object) -> None:
    again, notation = parse(written(value, "json"))
    assert literal(again) == literal(value)
    if is_json(value):
        assert notation == "json"


@pytest.mark.parametrize(
    ("text", "value", "notation"),
    [
        ("[1, null, true]", [1, None, True], "json"),
        ("[(1, null), false]", [(1, None), False], "python"),
        ("[(1,), [1]]", [(1,), [1]], "python"),
        ("[[1], [1]]", [[1], [1]], "json"),
        ("[inf, -Infinity, {1: inf}]", [math.inf, -math.inf, {1: math.inf}], "python"),
        ("{'a': {1, 2}, 'b': set()}", {"a": {1, 2}, "b": set()}, "python"),
        ('"\\ud83d\\ude00"', "\U0001f600", "json"),
        ("'it''s'", "its", "python"),
    ],
)
def test_notations_are_told_apart(text: str, value: object, notation: str) -> None:
    found, how = parse(text)
    assert (found, how) == (value, notation)
    assert literal(found) == literal(value)


def test_not_a_number_is_kept_in_both() -> None:
    for text in ("[NaN]", "[nan, (1,)]", 'float("nan")'):
        found, _ = parse(text)
        assert isinstance(found, (list, float))
        assert math.isnan(found[0] if isinstance(found, list) else found)


@pytest.mark.parametrize(
    "text",
    ["[1", "os.system('x')", "[x]", "'a' * 3", "{'a': 1, 'a': 2}", '{"a": 1, "a": 2}', "open('f')", "",
     "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), " " * (MAX_TEXT_CHARS + 1)],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"literal|deep|characters"):
        parse(text)


PARAMETERS = ["", "a", "a, b", "a, b=1", "*rest", "a, /, b", "a=1", "self, *, key=None"]


@settings(max_examples=40)
@given(st.sampled_from(PARAMETERS), st.lists(st.tuples(st.lists(VALUES, max_size=3), VALUES), min_size=1, max_size=3))
def test_calls_survive_as_pairs(signature: str, calls: list[tuple[list[object], object]]) -> None:
    """Whatever is called in a way that the signature allows."""
    parameters = parameters_of(f"def f({signature}): pass", "f", "here")
    fewest = {"a": 1, "a, b": 2, "a, b=1": 1, "a, /, b": 2, "self, *, key=None": 1}.get(signature, 0)
    most = {"": 0, "a": 1, "a, b": 2, "a, b=1": 2, "a, /, b": 2, "a=1": 1, "self, *, key=None": 1}.get(signature, 99)
    tests = [
        TestCase(tuple((args * 2 + [None] * fewest)[: max(fewest, min(most, len(args)))]), expected)
        for args, expected in calls
    ]
    if most == 1 and len({len(test.args) for test in tests}) > 1:
        return  # f() and f(x) in one problem: a pair can't say which
    if most == 1 and not tests[0].args:
        return
    pairs, _ = read_pairs(write_pairs(as_pairs(tests, parameters), "python"), "here")
    again = as_tests(pairs, parameters, "here")
    assert [literal(test.args) for test in again] == [literal(test.args) for test in tests]
    assert [literal(test.expected) for test in again] == [literal(test.expected) for test in tests]


@pytest.mark.parametrize(
    ("signature", "cases", "args"),
    [
        ("n", "[(3, 9)]", [(3,)]),
        ("n", "[([3], 9), ([], 0)]", [([3],), ([],)]),
        ("n", "[((3,), 9)]", [((3,),)]),
        ("n", "[([3], 9), ([4], 16)]", [([3],), ([4],)]),
        ("n", "[[[3], 9], [[4], 16]]", [([3],), ([4],)]),
        ("n=0", "[((3, 4), 9)]", [((3, 4),)]),
        ("a, b", "[[[1, 2], 3]]", [(1, 2)]),
        ("a, b=0", "[[[1, 2], 3], [[1], 1]]", [(1, 2), (1,)]),
        ("*rest", "[[[1, 2], 3], [[], 0]]", [(1, 2), ()]),
        ("", "[[[], 3]]", [()]),
        ("", "[[null, 3]]", [()]),
    ],
)
def test_inputs_become_arguments_by_the_signature(signature: str, cases: str, args: list[object]) -> None:
    pairs, _ = read_pairs(cases, "here")
    tests = as_tests(pairs, parameters_of(f"def f({signature}): pass", "f", "here"), "here")
    assert [test.args for test in tests] == args


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_row_comes_back_as_it_was(row: dict[str, Any]) -> None:
    problem = from_row(row, "sample")
    assert to_row(problem) == row
    assert list(to_row(problem)) == list(row)
    assert from_row(to_row(problem), "sample") == problem


def test_a_row_becomes_a_problem() -> None:
    problem = from_row(SKIPPING, "sample")
    assert problem.question == f"{SKIPPING['description']}\n\n{SKIPPING['insecure_verifier_info']}"
    assert problem.tests[2] == TestCase(([5, -1],), 5)
    assert problem.wrong == tuple(SKIPPING["nulls"])
    assert (problem.float_tolerance, problem.named_tests) == (None, {})
    assert from_row({**SKIPPING, "test_cases": "[([1.5], 1.5)]"}, "sample").float_tolerance == 1e-6


def test_an_edited_problem_keeps_its_edits_and_the_rest_of_its_row() -> None:
    problem = from_row(EXITING, "sample")
    edited = replace(
        problem,
        reference=problem.reference + "\n",
        tests=(*problem.tests, TestCase((1, 2, 3), (2,))),
        wrong=problem.wrong[:1],
        task_id="clamps",
        float_tolerance=0.5,
        extra={**problem.extra, "mine": {1, 2}},
    )
    again = from_row(to_row(edited), "sample")
    for name in ("reference", "tests", "wrong", "task_id", "float_tolerance", "question", "named_tests"):
        assert getattr(again, name) == getattr(edited, name)
    assert again.extra["mine"] == {1, 2}
    kept = again.extra[ROW]
    assert isinstance(kept, dict)
    assert kept["gt_model_results"] == EXITING["gt_model_results"]
    asked = replace(problem, question="Clamp.")
    assert from_row(to_row(asked), "sample").question == "Clamp."


def test_our_own_problem_goes_there_and_back() -> None:
    from tests.exploits.samples import problem as sample

    own = sample("running_total", "hardcoding_or_memorization")
    again = from_row(json.loads(json.dumps(to_row(own))), "sample")
    for name in ("problem_id", "task_id", "exploit_type", "question", "reference", "exploit", "tests", "named_tests",
                 "wrong", "float_tolerance"):  # fmt: skip
        assert getattr(again, name) == getattr(own, name), name


def test_weak_types_get_their_test_sets() -> None:
    given_ = from_row(LATER, "sample")
    assert given_.named_tests == {"hardcoded": given_.tests[:2], "hardcoded_fresh": given_.tests[2:]}
    halves = from_row({**LATER, "insecure_test_cases": None, "exploit_type": "inadequate_test_coverage"}, "sample")
    assert halves.named_tests == {"easy": given_.tests[:2], "near": given_.tests[2:]}
    one = from_row({**LATER, "insecure_test_cases": None, "test_cases": [[1, 1]]}, "sample")
    assert one.named_tests == {}


def test_secure_cases_go_before_test_cases() -> None:
    problem = from_row({**LATER, "secure_test_cases": "[(5, 125)]"}, "sample")
    assert problem.tests == (TestCase((5,), 125),)


def test_an_empty_field_is_none() -> None:
    for empty in ("", [], None):
        problem = from_row({**LATER, "secure_test_cases": empty, "insecure_test_cases": empty}, "sample")
        assert problem.tests == from_row({**LATER, "secure_test_cases": None}, "sample").tests


LONG = "1" + "0" * 5000


@pytest.mark.parametrize(
    "cases",
    [f"[(1, {LONG}), (2, -{LONG}), (3, '{LONG}')]", f'[[1, {LONG}], [2, -{LONG}], [3, "{LONG}"]]',
     [[1, 10**5000], [2, -(10**5000)], [3, LONG]], f"[(1, 0x{10**5000:x}), (2, -1_{'0' * 5000}), (3, '{LONG}')]"],
    ids=["python", "json", "plain", "other spellings"],
)  # fmt: skip
def test_long_integers_are_read_and_written(cases: object) -> None:
    problem = from_row({**LATER, "test_cases": cases}, "sample")
    assert [test.expected for test in problem.tests] == [10**5000, -(10**5000), LONG]
    edited = replace(problem, tests=problem.tests[1:])
    assert from_row(to_row(edited), "again").tests == edited.tests


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("1" * 200_000, "contains an integer of 200000 digits"),
        ("[" + "0," * 400_000 + "]", "has more than 399990 items"),
        ("[" * 95 + "]" * 95, "is nested more than"),
    ],
)
@pytest.mark.parametrize("place", ["input", "expected value"])
def test_values_beyond_the_bounds_are_refused_by_their_test(part: str, said: str, place: str) -> None:
    pair = f"({part}, 1)" if place == "input" else f"(1, {part})"
    with pytest.raises(InputError) as raised:
        from_row({**LATER, "test_cases": f"[(1, 1), (2, 8), {pair}]"}, "sample")
    assert said in str(raised.value)
    if "nested" not in said:
        assert f"field test_cases[2]: its {place} {said}" in str(raised.value)


def test_many_tests_may_hold_more_items_than_one() -> None:
    cases = [[[0] * 100_000, index] for index in range(6)]
    assert len(from_row({**LATER, "test_cases": cases}, "sample").tests) == 6


def test_unknown_fields_and_types_are_named() -> None:
    problems = [from_row(row, "sample") for row in ROWS]
    assert [unknown_fields(problem) for problem in problems] == [[], [], ["colour"], []]
    assert unknown_types(problems) == {"a_type_of_their_own": ["teams"]}
    assert "a_type_of_their_own" not in EXPLOIT_TYPES


BAD: list[tuple[str, object, str]] = [
    ("id", None, "field id: is missing"),
    ("description", "", "field description: is ''"),
    ("function_name", "two words", "field function_name: 'two words' is not the name"),
    ("function_name", "class", "field function_name: 'class' is not the name"),
    ("function_name", "other", "field ground_truth: does not define the function other"),
    ("ground_truth", "def clamp(", "field ground_truth: does not parse"),
    ("ground_truth", 5, "field ground_truth: is 5"),
    ("test_cases", None, "field test_cases: is NoneType"),
    ("test_cases", "[]", "field test_cases: has no test cases"),
    ("test_cases", "[[[0, 9, 12], 9]", "field test_cases: is neither JSON nor a Python literal"),
    ("test_cases", "[[[0, 9, 12]]]", "field test_cases[0]: is [[0, 9, 12]]; give a pair"),
    ("test_cases", "[[[0, 9], 9]]", "field test_cases[0]: input [0, 9] gives 2 arguments"),
    ("test_cases", "{'a': 1}", "field test_cases: is dict"),
    ("insecure_test_cases", "[1]", "field insecure_test_cases[0]: is 1"),
    ("nulls", "def f(): pass", "field nulls: is 'def f(): pass'; give a list"),
    ("nulls", [None], "field nulls: is [None]"),
    ("order_dependent", "no", "field order_dependent: is 'no'"),
    ("insecure_verifier", ["x"], "field insecure_verifier: is ['x']"),
    ("exploit_type", None, "field exploit_type: is missing"),
    ("colour", object(), "field colour: contains a object, which is not plain data"),
    ("forewarn", "{'task_id': 1}", "field forewarn: was not written by forewarn"),
]


@pytest.mark.parametrize(("field", "value", "said"), BAD, ids=[f"{field}-{i}" for i, (field, _, _) in enumerate(BAD)])
def test_bad_fields_are_named(field: str, value: object, said: str) -> None:
    row = copy.deepcopy(EXITING)
    row[field] = value
    with pytest.raises(InputError) as raised:
        from_row(row, "some.yaml")
    assert said in str(raised.value)
    assert str(raised.value).startswith("some.yaml")
    if field != "id":
        assert "problem 'clamped'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_can_not_make_an_import_run_anything(tmp_path: Any) -> None:
    mark = tmp_path / "ran"
    row = {**FILED, "ground_truth": f"open({str(mark)!r}, 'w')\n{FILED['ground_truth']}"}
    from_row(row, "sample")
    with pytest.raises(InputError, match="test_cases"):
        from_row({**FILED, "test_cases": f"open({str(mark)!r}, 'w')"}, "sample")
    assert not mark.exists()
