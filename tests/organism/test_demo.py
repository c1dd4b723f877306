"""The demo refuses, before any work, what it can't use: one sentence, nothing written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import StoreError
from forewarn.organism.demo import DemoPlan, _lead, run_demo
from forewarn.organism.shipped import shipped_folder
from forewarn.store import RunFolder


def no_work(stage: str, done: int, total: int) -> None:
    raise AssertionError(f"{stage} was begun")


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("mine")
    with pytest.raises(StoreError, match="does not contain a study; give a new folder"):
        run_demo(shipped_folder(), tmp_path / "run", tmp_path / "report", no_work)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["letter.txt"]


def test_a_run_of_another_seed_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").claim({"name": "demo", "seed": 1, "organism": "another"})
    with pytest.raises(StoreError, match="contains another study"):
        run_demo(shipped_folder(), tmp_path / "run", tmp_path / "report", no_work, DemoPlan(seed=0))


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreError):
        run_demo(shipped_folder(), tmp_path / "run", tmp_path / "report", no_work)


def test_the_report_says_at_which_level_was_judged() -> None:
    assert "in the sandbox at level weak. " in " ".join(_lead(pl.DataFrame({"n": [7]}), ("weak",)))
    assert "at level strict and weak. " in " ".join(_lead(pl.DataFrame({"n": [7]}), ("strict", "weak")))
