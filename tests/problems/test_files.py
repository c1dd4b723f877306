"""Problem sets in files: nothing changes on the way, and what is wrong with a file is said with problem and field."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.problems.assemble import assemble
from forewarn.problems.files import export, load
from forewarn.problems.rows import to_row
from forewarn.records import Problem, TestCase

NAMES = ("set.jsonl", "set.parquet", "folder")
ODD = (
    TestCase((math.nan, math.inf, -0.0), [math.nan, None]),
    TestCase(({1: "a", "1": (2,)}, set(), frozenset({1})), {(): []}),
    TestCase((10**50, "ünï\u2028cödé\n\x85", b"\x00"), ((),)),
)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    chosen = ("process_exit", "test_case_leak", "type_confusion", "hardcoding_or_memorization")
    made = assemble(types={name: EXPLOIT_TYPES[name] for name in chosen})
    odd = replace(made[0], problem_id="odd", tests=ODD, extra={"source": {"nulls": [None, (1, 2)]}, "n": 3})
    return [made[70], odd, *made[::9]]


def rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [to_row(problem) for problem in problems]


@pytest.mark.parametrize("name", NAMES)
def test_a_round_trip_changes_nothing(problems: list[Problem], tmp_path: Path, name: str) -> None:
    export(problems, tmp_path / name)
    again = load(tmp_path / name)
    assert rows(again) == rows(problems)
    without_nan = [i for i, problem in enumerate(problems) if problem.problem_id != "odd"]
    assert [again[i] for i in without_nan] == [problems[i] for i in without_nan]
    odd = again[1].tests
    assert [[type(value) for value in test.args] for test in odd] == [[type(v) for v in test.args] for test in ODD]
    assert math.isnan(odd[0].args[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("start", NAMES)
def test_formats_turn_into_each_other(problems: list[Problem], tmp_path: Path, start: str) -> None:
    export(problems, tmp_path / start)
    for name in NAMES:
        export(load(tmp_path / start), tmp_path / "next" / name)
        assert rows(load(tmp_path / "next" / name)) == rows(problems)


def test_datasets_loads_the_folder(problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    export(problems, tmp_path / "folder")
    loaded = datasets.load_dataset(str(tmp_path / "folder"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"held_out", "train", "spare"}
    assert sum(map(len, loaded.values())) == len(problems)
    loaded.save_to_disk(str(tmp_path / "saved"))
    assert rows(load(tmp_path / "saved")) == rows(problems)


def change(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {**row, **fields}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (change(tests=[]), "field tests: is empty"),
        (without("tests"), "field tests: is None"),
        (change(tests=[{"args": "(1,", "expected": "1"}]), r"field tests\[0\].args: is not a literal"),
        (change(tests=[{"args": "(1,)", "expected": "open('x')"}]), r"field tests\[0\].expected: is not a literal"),
        (change(tests=[{"args": "[1]", "expected": "1"}]), r"field tests\[0\].args: is \[1\]; give a tuple"),
        (change(tests=[{"args": "(1,)"}]), r"field tests\[0\]: is .*; give args and expected"),
        (change(tests=["x"]), r"field tests\[0\]: is 'x'"),
        (change(tests=[{"args": 3, "expected": "1"}]), r"field tests\[0\].args: is 3; give a Python literal as text"),
        (change(named_tests=[]), "field named_tests: test_case_leak needs tests named 'leaked"),
        (change(named_tests="x"), "field named_tests: is 'x'"),
        (change(exploit_type="nonsense"), "field exploit_type: 'nonsense' is unknown; use one of argument_injection"),
        (change(entry_point="two words"), "field entry_point: 'two words' is not the name"),
        (change(reference="def f(:"), "field reference: does not parse: SyntaxError"),
        (change(exploit="x = ="), "field exploit: does not parse"),
        (change(wrong="def f(): pass"), "field wrong: is 'def f"),
        (change(float_tolerance=-1.0), "field float_tolerance: is -1.0"),
        (change(float_tolerance="x"), "field float_tolerance: is 'x'"),
        (change(extra="[1]"), "field extra: is"),
    ],
)
def test_what_is_wrong_is_said_with_problem_and_field(
    problems: list[Problem], tmp_path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    leak = next(problem for problem in problems if problem.exploit_type == "test_case_leak")
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(to_row(problems[0])) + "\n" + json.dumps(edit(to_row(leak))) + "\n")
    with pytest.raises(InputError, match=rf"problem '{leak.problem_id}' .*problem 2\), {says}"):
        load(path)


@pytest.mark.parametrize("name", ["problem_id", "question", "reference"])
def test_a_missing_text_is_named(problems: list[Problem], tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(without(name)(to_row(problems[0]))))
    with pytest.raises(InputError, match=f"problem 1, field {name}: is None; give text"):
        load(path)


def test_ids_have_to_differ(problems: list[Problem], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"problem '{problems[0].problem_id}', field problem_id: occurs twice"):
        export([problems[0], problems[0]], tmp_path / "set.jsonl")
    path = tmp_path / "twice.jsonl"
    path.write_text(2 * (json.dumps(to_row(problems[0])) + "\n"))
    with pytest.raises(InputError, match="field problem_id: occurs twice"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", "{", "line 1: is not JSON"),
        ("a.jsonl", "\n3\n", "line 2: is int; give an object"),
        ("a.jsonl", "", "has no problems"),
        ("a.csv", "x", "names no format"),
        ("a.parquet", "x", "can't read"),
    ],
)
def test_a_file_that_is_no_set_is_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Exception, match=says) as raised:
        load(tmp_path / name)
    assert type(raised.value).__module__ == "forewarn.errors"


def test_a_missing_set_is_refused(tmp_path: Path, problems: list[Problem]) -> None:
    with pytest.raises(InputError, match="is missing"):
        load(tmp_path / "no.jsonl")
    with pytest.raises(InputError, match="has no data"):
        load(tmp_path)
    with pytest.raises(InputError, match="names no format"):
        export(problems, tmp_path / "a.csv")
    with pytest.raises(InputError, match="would be empty"):
        export([], tmp_path / "a.jsonl")
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is not empty"):
        export(problems, tmp_path)
