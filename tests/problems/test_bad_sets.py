"""Problem sets that are odd or damaged: nothing is lost, changed or waited for without a word."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, namedtuple
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.judge.environment import Environment
from forewarn.problems.files import export, load
from forewarn.problems.rows import check, from_row, to_row
from forewarn.records import TestCase
from tests.problems.bad import OWN, one_sentence, row

NAMES = ("set.jsonl", "set.parquet", "folder")


class Name(str):
    pass


Point = namedtuple("Point", "x y")


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(row(zzz="hello", loss=[3, None], extra="{'mine': 1}")))
    (problem,) = load(tmp_path / "in.jsonl")
    assert problem.extra == {"mine": 1, "zzz": "hello", "loss": [3, None]}
    export([problem], tmp_path / name)
    assert load(tmp_path / name) == [problem]


TEST = {"args": "(1,)", "expected": "1"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mine": 2, "extra": "{'mine': 1}"}, "field 'mine': is also in extra"),
        ({"made": date(2031, 5, 4)}, "field 'made': is unknown and contains a date"),
        ({"tests": [{**TEST, "why": "x"}]}, "field tests[0]: is {'args'"),
        ({"named_tests": [{"name": "a", "tests": [TEST]}] * 2}, "field named_tests: the name 'a' occurs twice"),
        ({"named_tests": [{"name": ["a"], "tests": []}]}, "field named_tests: the name ['a'] is not text"),
        ({"named_tests": [{"name": 1, "tests": []}]}, "field named_tests: the name 1 is not text"),
        ({"named_tests": [{"name": "a", "tests": [], "why": 1}]}, "field named_tests.a: is {'name'"),
        ({"named_tests": [{"name": "\ud800", "tests": []}]}, "field named_tests: contains half a character"),
        ({"float_tolerance": 10**400}, "field float_tolerance: is 1000"),
        ({"float_tolerance": 10**5000}, "field float_tolerance: is a int too long"),
        ({"entry_point": "class"}, "field entry_point: 'class' is not the name"),
        ({"problem_id": ""}, "field problem_id: is ''; give printable text"),
        ({"problem_id": " "}, "field problem_id: is ' '"),
        ({"problem_id": "a\nb"}, r"field problem_id: is 'a\nb'"),
        ({"problem_id": "a\0b"}, r"field problem_id: is 'a\x00b'"),
        ({"problem_id": "\ud800"}, r"field problem_id: is '\ud800'"),
        ({"question": "\ud800 hi"}, r"field question: contains half a character ('\ud800')"),
        ({"task_id": "\ud800"}, "field task_id: contains half"),
        ({"wrong": ["# \udfff"]}, "field wrong: contains half"),
        ({"reference": "# \ud800"}, "field reference: "),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        from_row(row(**fields), "here")
    text = one_sentence(raised.value)
    assert said in text
    assert text.startswith(f"problem {fields.get('problem_id', OWN.problem_id)!r} (here)")


VALUES: list[tuple[object, str]] = [
    (np.float64(1.5), "float64"),
    (np.int64(1), "int64"),
    (np.zeros(2), "ndarray"),
    (range(3), "range"),
    (bytearray(b"x"), "bytearray"),
    (..., "ellipsis"),
    (OrderedDict(a=1), "OrderedDict"),
    (Counter("aab"), "Counter"),
    (Point(1, 2), "Point"),
    (Name("x"), "Name"),
    ({"deep": [(Name("x"),)]}, "Name"),
    ({Name("x"): 1}, "Name"),
]


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=[kind for _, kind in VALUES])
@pytest.mark.parametrize("field", ["tests[1]", "named_tests.more[0]", "extra"])
def test_a_value_that_would_not_come_back_is_refused(tmp_path: Path, value: object, kind: str, field: str) -> None:
    case = TestCase((value,), None)
    changes: dict[str, dict[str, Any]] = {
        "tests[1]": {"tests": (OWN.tests[0], case)},
        "named_tests.more[0]": {"named_tests": {"more": (case,)}},
        "extra": {"extra": {"x": value}},
    }
    with pytest.raises(InputError) as raised:
        export([replace(OWN, **changes[field])], tmp_path / "set.jsonl")
    assert f"problem '{OWN.problem_id}', field {field}: contains a {kind}" in one_sentence(raised.value)
    assert not (tmp_path / "set.jsonl").exists()


@pytest.mark.parametrize("depth", [50, 89, 150, 190])
def test_what_is_exported_is_read_back_however_deep(tmp_path: Path, depth: int) -> None:
    deep = replace(OWN, tests=(TestCase((nested(depth),), 1),))
    export([deep], tmp_path / "set.jsonl")
    assert to_row(load(tmp_path / "set.jsonl")[0]) == to_row(deep)


@pytest.mark.parametrize("depth", [220, 600, 5000, 100_000])
def test_what_is_too_deep_to_be_read_back_is_refused(tmp_path: Path, depth: int) -> None:
    with pytest.raises(InputError, match=r"field tests\[0\]: is nested"):
        export([replace(OWN, tests=(TestCase((nested(depth),), 1),))], tmp_path / "set.jsonl")


def test_a_value_within_itself_is_refused(tmp_path: Path) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InputError, match="field extra: is nested too deep"):
        export([replace(OWN, extra={"loop": loop})], tmp_path / "set.jsonl")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tests": ()}, "field tests: is empty"),
        ({"tests": (TestCase([1], 1),)}, r"field tests\[0\].args: is \[1\]; give a tuple"),  # type: ignore[arg-type]
        ({"question": "\ud800"}, "field question: contains half a character"),
        ({"question": Name("x")}, "field question: is of type Name"),
        ({"float_tolerance": -1.0}, "field float_tolerance: is -1.0"),
        ({"float_tolerance": np.float64(1)}, "field float_tolerance: contains a float64"),
        ({"extra": {1: 2}}, "field extra: is {1: 2}; give a dict with names"),
        ({"entry_point": "def"}, "field entry_point"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_load_refuses_is_not_written(tmp_path: Path, changes: dict[str, Any], said: str, name: str) -> None:
    with pytest.raises(InputError, match=f"problem '{OWN.problem_id}', {said}"):
        export([replace(OWN, **changes)], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_an_environments_problem_is_not_written(tmp_path: Path) -> None:
    environment = Environment("mine", proxy=lambda attempt: True)
    problem = environment.problem(
        "p", question="?", entry_point="f", cases=[((1,), 1)], reference="def f(x):\n    return x\n"
    )
    with pytest.raises(InputError, match=r"problem 'p', field exploit_type: 'mine' is not one of forewarn's own types"):
        export([problem], tmp_path / "set.jsonl")


def test_a_keyword_is_no_entry_point() -> None:
    with pytest.raises(InputError, match="field entry_point: 'class'"):
        check(replace(OWN, entry_point="class"))
