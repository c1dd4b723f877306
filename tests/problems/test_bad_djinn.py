"""Djinn files and problems that are odd or damaged: one sentence that names file, problem and field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from forewarn.errors import InputError
from forewarn.exploits.source import literal
from forewarn.problems.djinn.files import SPLIT, export, load
from forewarn.problems.djinn.row import from_row, to_row
from forewarn.problems.one import read_problems
from forewarn.problems.rows import to_row as our_row
from forewarn.records import Problem, TestCase
from tests.problems.djinn_samples import LATER, ROWS, SKIPPING

CUBES = from_row(LATER, "sample")


def one(error: BaseException) -> str:
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def defaulted(*args: tuple[object, ...], signature: str = "x=1") -> Problem:
    source = f"def f({signature}):\n    return x\n"
    return Problem("a", "a", "process_exit", "q", "f", source, source, tuple(TestCase(a, 1) for a in args))


@pytest.mark.parametrize("args", [[(), (3,)], [()], [((),), ()], [((3,),), ()]])
def test_arguments_that_pairs_can_not_tell_are_refused(tmp_path: Path, args: list[tuple[object, ...]]) -> None:
    with pytest.raises(InputError, match=r"problem 'a', field tests\[\d\].args: is .* can't tell from") as raised:
        export([defaulted(*args)], tmp_path / "set.jsonl")
    one(raised.value)
    assert not (tmp_path / "set.jsonl").exists()


@pytest.mark.parametrize("args", [[((),), (3,)], [((3,),)], [([3],), ([4],)], [(3,)]])
@pytest.mark.parametrize("signature", ["x=1", "x", "x, y=2", "*x"])
def test_arguments_that_pairs_tell_come_back(tmp_path: Path, args: list[tuple[object, ...]], signature: str) -> None:
    problem = defaulted(*args, signature=signature)
    export([problem], tmp_path / "set.jsonl")
    assert load(tmp_path / "set.jsonl")[0].tests == problem.tests


def test_a_value_that_is_no_plain_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"problem 'cubes', field tests\[0\]: contains a range"):
        export([replace(CUBES, tests=(TestCase((range(3),), 1),))], tmp_path / "set.jsonl")


def test_a_split_is_asked_of_single_files_too(tmp_path: Path) -> None:
    parted = [replace(CUBES, extra={**CUBES.extra, SPLIT: "eval"}), from_row(SKIPPING, "sample")]
    for name in ("set.jsonl", "folder"):
        export(parted, tmp_path / name)
        assert [problem.problem_id for problem in load(tmp_path / name, split="eval")] == ["cubes"]
        with pytest.raises(InputError, match=r"has no problems of split 'nosuch': give one of eval"):
            load(tmp_path / name, split="nosuch")
    export(parted[1:], tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"has no problems of split 'nosuch': its problems do not name a split"):
        load(tmp_path / "none.jsonl", split="nosuch")


@pytest.mark.parametrize(
    "text",
    ["!!bool foo", "!!timestamp x", '!!int ""', '!!float ""', "!!float x", "!!map x", "!!binary é", "!!set x", "!!x y",
     "!!omap x", "!!int 0x", "!!null {a: 1}", "{[1]: 2}", "!!timestamp 2031-99-99"],
)  # fmt: skip
def test_a_tag_that_does_not_fit(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"zz: {text}\n" + yaml.safe_dump(LATER))
    try:
        (problem,) = load(path)
    except InputError as error:
        assert str(path) in one(error)  # noqa: PT017 - some are read as null
        assert "line 1, column 5" in str(error)  # noqa: PT017
    else:
        assert text.startswith("!!null")
        assert problem == from_row({**LATER, "zz": None}, "sample")


def test_files_beside_that_are_no_source(tmp_path: Path) -> None:
    path = tmp_path / "problem.yaml"
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")

    def nulls(*texts: str) -> tuple[str, ...]:
        path.write_text(yaml.safe_dump({**LATER, "nulls": list(texts)}))
        return load(path)[0].wrong

    long = "x" * 400 + ".py"
    assert nulls(long, "absent.py") == (long, "absent.py")
    for name, said in (("latin.py", "can't read"), ("a\0.py", r"'a\x00.py' is neither the name of a file nor source")):
        with pytest.raises(InputError) as raised:
            nulls(name)
        assert one(raised.value).startswith(f"{path}, problem 'cubes', field nulls: ")
        assert said in str(raised.value)


OURS = {"task_id": "t", "float_tolerance": None, "named_tests": "{}", "extra": "{}"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"float_tolerance": "abc"}, "float_tolerance: is 'abc'; give a number"),
        ({"float_tolerance": -1}, "float_tolerance: is -1"),
        ({"float_tolerance": True}, "float_tolerance: is True"),
        ({"task_id": 1}, "task_id: is of type int"),
        ({"named_tests": "{1: [((1,), 2)]}"}, "named_tests is {1: "),
        ({"named_tests": "{'a': [(1, 2)]}"}, "named_tests.a contains (1, 2)"),
        ({"named_tests": "{'a': [((1,), 2, 3)]}"}, "named_tests.a contains ((1,), 2, 3)"),
        ({"named_tests": "{'a': 3}"}, "named_tests.a is 3"),
        ({"named_tests": {}}, "named_tests is {}, not text"),
        ({"named_tests": "["}, "is neither JSON nor a Python literal"),
        ({"extra": "[]"}, "extra is [], not a dict with names"),
        ({"extra": "{'djinn': 1}"}, "extra contains a row"),
        ({"more": 1}, "it has task_id, "),
    ],
)
def test_our_own_field_is_checked(changes: dict[str, Any], said: str) -> None:
    assert from_row({**LATER, "forewarn": literal(OURS)}, "here").task_id == "t"
    with pytest.raises(InputError) as raised:
        from_row({**LATER, "forewarn": literal(OURS | changes)}, "here")
    assert one(raised.value).startswith("here, problem 'cubes', field forewarn: was not written by forewarn (")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("id", "a\nb", "field id: is 'a\\nb'; give printable text"),
        ("id", "a\0b", "field id: is"),
        ("description", "\ud800", "field description: contains half a character"),
        ("nulls", ["\ud800"], "field nulls: contains half a character"),
        ("forewarn", 5, "field forewarn: was not written by forewarn (it is 5, not text)"),
    ],
)
def test_bad_fields_are_named(field: str, value: object, said: str) -> None:
    with pytest.raises(InputError) as raised:
        from_row({**LATER, field: value}, "here")
    assert said in one(raised.value)


@pytest.mark.parametrize("split", [None, "train"])
def test_what_datasets_saved_is_told_by_its_fields(tmp_path: Path, split: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    theirs = datasets.Dataset.from_list([{k: v for k, v in row.items() if k != "colour"} for row in ROWS[:2]])
    mine = datasets.Dataset.from_list([our_row(replace(CUBES, extra={}))])
    for name, rows in (("theirs", theirs), ("mine", mine)):
        (datasets.DatasetDict({split: rows}) if split else rows).save_to_disk(str(tmp_path / name))
    assert [problem.problem_id for problem in read_problems(tmp_path / "theirs")] == ["wet_week", "clamped"]
    assert read_problems(tmp_path / "mine") == [replace(CUBES, extra={})]
    assert to_row(read_problems(tmp_path / "theirs")[0])["id"] == "wet_week"
