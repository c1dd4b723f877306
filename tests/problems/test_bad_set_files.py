"""Files and folders of problem sets that are odd or damaged, or can't be written: one sentence, and nothing lost."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from forewarn import store
from forewarn.errors import ForewarnError, InputError, StoreError
from forewarn.problems.files import check_target, export, load
from forewarn.problems.one import read_problem_file, read_problems
from forewarn.problems.rows import to_row
from forewarn.records import Problem
from tests.exploits.samples import problem as sample
from tests.problems.bad import OWN, one_sentence

NAMES = ("set.jsonl", "set.parquet", "folder")


LINE = json.dumps(to_row(OWN))
TWICE = LINE[:-1] + ', "entry_point": "zzz"}'
FILES = [
    ("a.jsonl", TWICE, "line 1: is not JSON: 'entry_point' occurs twice"),
    ("a.jsonl", "[3]", "line 1: is list; give an object"),
    ("a.json", TWICE, "'entry_point' occurs twice"),
    ("a.json", "[]", "has no problems"),
    ("a.json", "[1]", "problem 1: is int; give the fields"),
    ("a.json", f"[{LINE}, {LINE}]", "field problem_id: occurs twice"),
    ("a.json", "{}", "field problem_id: is None; give text"),
]


@pytest.mark.parametrize(("name", "text", "said"), FILES, ids=[str(i) for i in range(len(FILES))])
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as raised:
        read_problems(tmp_path / name)
    assert said in one_sentence(raised.value)
    if name.endswith("l"):
        with pytest.raises(InputError):
            load(tmp_path / name)


def test_a_list_of_our_rows_in_json(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(f"[{LINE}]")
    assert read_problem_file(tmp_path / "list.json") == OWN


@pytest.mark.parametrize("name", ["fifo.jsonl", "fifo.parquet", "fifo.json", "fifo.yaml", "data/fifo.parquet"])
def test_a_named_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / name)
    reads = [read_problems] if name.endswith(("json", "yaml")) else [read_problems, load]
    for read in reads:
        with pytest.raises(InputError, match="is not a regular file"):
            read(tmp_path if "/" in name else tmp_path / name)


@pytest.mark.parametrize("write", [lambda path: export([OWN], path), check_target], ids=["export", "check"])
def test_a_place_that_can_not_be_written(tmp_path: Path, write: Any) -> None:
    (tmp_path / "noext").write_text("mine")
    (tmp_path / "dir.jsonl").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("noext", "noext/x.jsonl", "noext/folder", "dir.jsonl", "full", "pipe.jsonl", "x" * 300, "a.csv"):
        with pytest.raises(ForewarnError) as raised:
            write(tmp_path / name)
        assert str(tmp_path / name)[:250] in one_sentence(raised.value)
    assert (tmp_path / "noext").read_text() == "mine"
    assert (tmp_path / "pipe.jsonl").is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dir.jsonl", "full", "noext", "pipe.jsonl"]


def test_check_target_leaves_nothing(tmp_path: Path) -> None:
    for name in NAMES:
        check_target(tmp_path / name)
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")
    assert [p.name for p in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("read", [load, read_problems])
def test_a_name_too_long_is_missing(tmp_path: Path, read: Any) -> None:
    with pytest.raises(InputError, match="is missing"):
        read(tmp_path / ("x" * 300 + ".jsonl"))


def test_columns_of_two_types_in_a_folder(tmp_path: Path) -> None:
    for name, place in (("a", 1), ("b", "x")):
        table = pl.DataFrame([{"problem_id": name, "place": place}])
        store.write_table(tmp_path / "data" / f"{name}.parquet", table)
    with pytest.raises(InputError, match="field place: is 'x'; give whole numbers"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("dataset_dict.json", "{}"), ("state.json", "x"), ("state.json", "{}")])
@pytest.mark.parametrize("read", [load, read_problems])
def test_a_damaged_folder_of_datasets(tmp_path: Path, name: str, text: str, read: Any) -> None:
    pytest.importorskip("datasets")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"can't read .*give a folder as `save_to_disk` wrote it") as raised:
        read(tmp_path)
    one_sentence(raised.value)


def test_a_damaged_table_of_the_users_is_not_to_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(StoreError, match="give a whole Parquet file") as raised:
        load(tmp_path / "a.parquet")
    assert "delete" not in one_sentence(raised.value)
    with pytest.raises(StoreError, match="delete it and run the same command again"):
        store.read_table(tmp_path / "a.parquet")


def test_an_interrupted_export_leaves_no_part_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: Sequence[Problem] = (OWN, replace(sample("running_total", "type_confusion"), problem_id="other"))
    write = store.write_table

    def interrupted(path: Path, table: pl.DataFrame) -> None:
        if "spare" in path.name:
            raise KeyboardInterrupt
        write(path, table)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export(problems, tmp_path / "set")
    assert list((tmp_path / "set").rglob("*.parquet")) == []
    with pytest.raises(InputError, match="has no data"):
        load(tmp_path / "set")
    export(problems, tmp_path / "set")  # the same command again
    assert len(load(tmp_path / "set")) == 2
