"""Djinn's layouts on disk and on a hub: every one is read, what is written is read back, and bad files are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from forewarn.errors import InputError, MissingExtraError
from forewarn.problems.djinn.files import SPLIT, export, load, load_hub
from forewarn.problems.djinn.row import ROW, from_row, to_row
from forewarn.problems.one import read_problem_file, read_problems
from forewarn.records import Problem
from tests.problems.djinn_samples import EXITING, FILED, LATER, ROWS, SHARED, SKIPPING

PROBLEMS = [from_row(row, "sample") for row in ROWS]
EMBEDDED = PROBLEMS[:3]


def by_id(problems: list[Problem]) -> dict[str, Problem]:
    return {problem.problem_id: problem for problem in problems}


@pytest.mark.parametrize("name", ["set.jsonl", "folder"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    export(PROBLEMS, tmp_path / name)
    assert by_id(load(tmp_path / name)) == by_id(PROBLEMS)


def test_one_problem_in_yaml(tmp_path: Path) -> None:
    export([PROBLEMS[2]], tmp_path / "teams.yaml")
    assert load(tmp_path / "teams.yaml") == [PROBLEMS[2]]
    assert yaml.safe_load((tmp_path / "teams.yaml").read_text()) == FILED
    with pytest.raises(InputError, match=r"can't store 4 problems"):
        export(PROBLEMS, tmp_path / "all.yaml")
    with pytest.raises(InputError, match=r"would be empty"):
        export([], tmp_path / "none.jsonl")


def test_parquet_holds_one_type_a_field(tmp_path: Path) -> None:
    export(EMBEDDED, tmp_path / "set.parquet")
    again = load(tmp_path / "set.parquet")
    for problem, original in zip(again, EMBEDDED, strict=True):
        held, kept = problem.extra[ROW], original.extra[ROW]
        assert isinstance(held, dict)
        assert isinstance(kept, dict)
        assert {name: value for name, value in held.items() if value is not None or name in kept} == kept
        assert problem.tests == original.tests
    with pytest.raises(InputError, match=r"field test_cases: has several types, but Parquet"):
        export(PROBLEMS, tmp_path / "mixed.parquet")  # LATER has lists where the others have text


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A local copy of a hub data set's layout."""
    root = tmp_path / "hub"
    (root / "data").mkdir(parents=True)
    for split, rows in {"train_alternate": [SKIPPING, EXITING], "test_alternate": [FILED]}.items():
        table = pl.DataFrame([{k: v for k, v in row.items() if k != "colour"} for row in rows])
        table.write_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    head = "".join(f"  - split: {s}\n    path: data/{s}-*\n" for s in ("train_alternate", "test_alternate"))
    (root / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{head}---\n")
    return root


def test_a_hub_repository_on_disk(repository: Path) -> None:
    problems = load(repository)
    assert [(p.problem_id, p.extra[SPLIT]) for p in problems] == [
        ("teams", "test_alternate"),
        ("wet_week", "train_alternate"),
        ("clamped", "train_alternate"),
    ]
    assert [p.problem_id for p in load(repository, split="test_alternate")] == ["teams"]
    with pytest.raises(InputError, match=r"no problems of split 'train'"):
        load(repository, split="train")


def test_a_hub_by_name(repository: Path, tmp_path: Path) -> None:
    """The library takes a folder for a name, so the same call is tried without a hub."""
    problems = load_hub(str(repository), split="train_alternate", cache=tmp_path / "cache")
    assert [problem.problem_id for problem in problems] == ["wet_week", "clamped"]
    assert problems[0].tests == PROBLEMS[0].tests
    assert problems[0].extra[SPLIT] == "train_alternate"
    with pytest.raises(InputError, match=r"split 'nowhere'"):
        load_hub(str(repository), split="nowhere", cache=tmp_path / "cache")
    with pytest.raises(InputError, match=r"can't load .*check name, split and network"):
        load_hub(str(tmp_path / "no such folder"), split="train", cache=tmp_path / "cache")


def test_a_folder_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    rows = [{k: v for k, v in row.items() if k != "colour"} for row in (SKIPPING, EXITING)]
    datasets.DatasetDict({"eval": datasets.Dataset.from_list(rows)}).save_to_disk(str(tmp_path / "saved"))
    problems = load(tmp_path / "saved")
    assert [(p.problem_id, p.extra[SPLIT]) for p in problems] == [("wet_week", "eval"), ("clamped", "eval")]
    assert problems[1].tests == PROBLEMS[1].tests


def test_the_layout_with_files_beside(tmp_path: Path) -> None:
    folder = tmp_path / "cubes_problem"
    folder.mkdir()
    row = {name: value for name, value in LATER.items() if name != "id"}
    row |= {"ground_truth": "ground_truth.py", "nulls": ["null.py", "def cube(n):\n    return n\n"]}
    (folder / "problem.yaml").write_text(yaml.safe_dump(row))
    (folder / "ground_truth.py").write_text(LATER["ground_truth"])
    (folder / "null.py").write_text(LATER["nulls"][0])
    for path in (tmp_path, folder, folder / "problem.yaml"):
        (problem,) = load(path)
        assert problem.problem_id == "cubes_problem"
        assert problem.reference == LATER["ground_truth"]
        assert problem.wrong == (LATER["nulls"][0], "def cube(n):\n    return n\n")
    outside = {**row, "exploit": "../secret.py"}
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    (folder / "problem.yaml").write_text(yaml.safe_dump(outside))
    with pytest.raises(InputError, match=r"names '../secret.py', which is not in its folder"):
        load(folder)


def test_yaml_keeps_what_other_readers_change(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump(LATER) + "made: 2031-05-04\nlost: null\nratio: .nan\nplain: 'null'\nyes_: yes\n")
    (problem,) = load(path)
    held = problem.extra[ROW]
    assert isinstance(held, dict)
    assert (held["made"], held["lost"], held["plain"], held["yes_"]) == ("2031-05-04", None, "null", True)
    assert held["ratio"] != held["ratio"]
    export([problem], tmp_path / "again.yaml")
    (again,) = load(tmp_path / "again.yaml")
    assert repr(again.extra) == repr(problem.extra)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
FILES = [
    ("x.yaml", "id: [", "is not YAML of plain data"),
    ("x.yaml", "id: a\nid: b\n", "'id' occurs twice"),
    ("x.yaml", "!!python/object/apply:os.system ['true']", "is not YAML of plain data"),
    ("x.yaml", "- 1\n- 2\n", "problem 1: is int; give fields by name"),
    ("x.yaml", "1: 2\n", "give fields by name"),
    ("x.yaml", BOMB + yaml.safe_dump(LATER), "field f: has more than 400000 items"),
    ("x.yaml", yaml.safe_dump(LATER) + "loop: &l [*l]\n", "field loop: is nested more than"),
    ("x.jsonl", '{"id": "a", "id": "b"}\n', "line 1: is not JSON: 'id' occurs twice"),
    ("x.jsonl", json.dumps(LATER) + "\n{\n", "line 2: is not JSON"),
    ("x.jsonl", json.dumps(LATER) + "\n" + json.dumps(LATER), "problem 'cubes', field id: occurs twice"),
    ("x.json", "[1]", "problem 1: is int"),
    ("x.jsonl", "\n", "has no problems"),
    ("x.toml", "a = 1", "is of an unsupported kind"),
]


@pytest.mark.parametrize(("name", "text", "said"), FILES, ids=[str(i) for i in range(len(FILES))])
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        load(tmp_path / name)
    assert said in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["yaml", "json", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, suffix: str) -> None:
    text = yaml.safe_dump(LATER) if suffix == "yaml" else json.dumps(LATER)
    path = tmp_path / f"marked.{suffix}"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode().replace(b"\n", b"\r\n"))
    assert [problem.tests for problem in load(path)] == [PROBLEMS[3].tests]
    assert read_problem_file(path).tests == PROBLEMS[3].tests


@pytest.mark.parametrize(("suffix", "layout"), [("yaml", "score: {}\n"), ("jsonl", ', "score": {}}}')])
def test_a_long_integer_in_any_field(tmp_path: Path, suffix: str, layout: str) -> None:
    text = yaml.safe_dump(LATER) if suffix == "yaml" else json.dumps(LATER)[:-1]
    path = tmp_path / f"long.{suffix}"
    path.write_text(text + layout.format("1" + "0" * 5000))
    (problem,) = load(path)
    held = problem.extra[ROW]
    assert isinstance(held, dict)
    assert held["score"] == 10**5000
    with pytest.raises(InputError, match="can't store it"):
        export([problem], tmp_path / f"again.{suffix}")
    path.write_text(text + layout.format("1" + "0" * 200_000))
    with pytest.raises(InputError, match=r"problem 'cubes', field score: contains an integer of 200001 digits"):
        load(path)


def test_other_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing: give a \.yaml"):
        load(tmp_path / "nothing.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no problems"):
        load(tmp_path / "empty")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"can't read"):
        load(tmp_path / "bytes.yaml")


def test_one_problem_of_any_file(tmp_path: Path) -> None:
    from forewarn.problems import files as ours
    from forewarn.problems.rows import to_row as our_row
    from tests.exploits.samples import problem as sample

    own = sample("running_total", "process_exit")
    ours.export([own], tmp_path / "ours.jsonl")
    (tmp_path / "ours.json").write_text(json.dumps(our_row(own)))
    export(PROBLEMS, tmp_path / "theirs.jsonl")
    (tmp_path / "one.json").write_text(json.dumps(to_row(PROBLEMS[1])))
    assert read_problem_file(tmp_path / "ours.jsonl") == own
    assert read_problem_file(tmp_path / "ours.json") == own
    assert read_problem_file(tmp_path / "one.json") == PROBLEMS[1]
    assert read_problem_file(tmp_path / "theirs.jsonl", "cubes") == PROBLEMS[3]
    assert len(read_problems(tmp_path / "theirs.jsonl")) == 4
    with pytest.raises(
        InputError, match=r"contains 4 problems \(wet_week, clamped, teams, cubes\): choose one with --id"
    ):
        read_problem_file(tmp_path / "theirs.jsonl")
    with pytest.raises(InputError, match=r"does not contain problem 'cube'; it contains wet_week"):
        read_problem_file(tmp_path / "theirs.jsonl", "cube")
    with pytest.raises(InputError, match=r"is missing"):
        read_problem_file(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text('"text"')
    with pytest.raises(InputError, match=r"is str; give the fields"):
        read_problem_file(tmp_path / "text.json")


@pytest.mark.skipif(not SHARED.exists(), reason="the real problems are not on this machine")
def test_the_real_files_are_read_and_come_back(tmp_path: Path) -> None:
    paths = sorted(SHARED.glob("*.yaml"))
    problems = [load(path)[0] for path in paths]
    assert len(problems) == len(load(SHARED)) == 42
    for path, problem in zip(paths, problems, strict=True):
        assert to_row(problem) == yaml.safe_load(path.read_text())
    for name in ("set.jsonl", "folder"):
        export(problems, tmp_path / name)
        assert by_id(load(tmp_path / name)) == by_id(problems)


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "state.json").write_text("{}")
    for call in (lambda: load_hub("some/set", split="train"), lambda: load(tmp_path)):
        with pytest.raises(MissingExtraError, match=r"pip install 'forewarn\[datasets\]'"):
            call()
