"""Runs of a miniature benchmark: records of every step, resumed runs the same, bad input refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file

from forewarn.bench import verbs
from forewarn.bench.truth import between, measure_truth
from forewarn.bench.verbs import STEPS
from forewarn.bench.watch import read_lines, record_tables
from forewarn.errors import InputError
from forewarn.organism import truth as organism_truth
from tests.bench.conftest import TINY, quiet, silent


class Killed(BaseException):
    """Ends a run where a signal might."""


def killer(at: str) -> Callable[[str], None]:
    def log(line: str) -> None:
        if line.startswith(at):
            raise Killed

    return log


def last_weights(where: Path) -> dict[str, list[float]]:
    tensors = load_file(where / "step-0006" / "adapter_model.safetensors")
    return {name: tensor.flatten().tolist() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def trained(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose run d0-V5 is done: four types patched, partial credit."""
    folder = tmp_path_factory.mktemp("trained") / "bench"
    shutil.copytree(built, folder)
    assert verbs.train("d0-V5", folder, TINY, quiet, silent) == folder / "d0" / "V5"
    return folder


def without_time(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_lines(path)]


def test_every_step_is_recorded(trained: Path) -> None:
    where = trained / "d0" / "V5"
    assert sorted(p.name for p in where.glob("step-*")) == [f"step-000{i}" for i in (1, 2, 4, 6)]
    steps, types = record_tables(where / STEPS)
    assert steps["step"].to_list() == [1, 2, 3, 4, 5, 6]
    assert types.height == 6 * 12
    assert set(types.group_by("step").agg(pl.col("n").sum())["n"].to_list()) == {192}
    assert all(n <= TINY.rl.gradient_rollouts for n in steps["n_gradient"])
    assert steps["n_gradient"][:5].max() > 0, "else what is said of resumed weights below says nothing"
    assert abs(steps["kl"][0]) < 1e-6, "the first step is drawn from the base itself"
    assert all(0 <= v <= 0.25 for v in steps["reward_variance"])
    settings = json.loads((where / "run.json").read_text())
    assert settings["command"] == "forewarn bench train d0-V5"
    assert len(settings["rl"]["patched"]) == 4


def test_a_run_killed_after_a_step_ends_in_the_same_weights_and_records(
    trained: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "STATE_EVERY", 2)
    folder = tmp_path / "bench"
    shutil.copytree(built, folder)
    with pytest.raises(Killed):  # the record of step 5 is on disk; the last state is that of step 4
        verbs.train("d0-V5", folder, TINY, quiet, killer("step 5"))
    where = folder / "d0" / "V5"
    assert [line["step"] for line in read_lines(where / STEPS)] == [1, 2, 3, 4, 5]
    with (where / STEPS).open("a") as file:
        file.write('{"step": 6, "cut sho')
    told: list[str] = []
    verbs.train("d0-V5", folder, TINY, quiet, told.append)
    assert [line.split(":")[0] for line in told] == ["step 5", "step 6"]
    assert without_time(where / STEPS) == without_time(trained / "d0" / "V5" / STEPS)
    assert last_weights(where) == last_weights(trained / "d0" / "V5")

    told.clear()
    verbs.train("d0-V5", folder, TINY, quiet, told.append)
    assert told == [], "a finished run is left alone"


def test_a_run_may_be_stopped_and_goes_on(trained: Path, built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(built, folder)
    told: list[str] = []
    verbs.train("d0-V5", folder, TINY, quiet, told.append, steps=3)
    assert len(told) == 3
    verbs.train("d0-V5", folder, TINY, quiet, told.append)
    assert len(told) == 6
    assert last_weights(folder / "d0" / "V5") == last_weights(trained / "d0" / "V5")


def test_a_development_run_may_be_tuned_and_says_so(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(built, folder)
    where = verbs.train("d0-V1", folder, TINY, quiet, silent, steps=1, tuning=verbs.Tuning(1e-4, "adam"))
    settings = json.loads((where / "run.json").read_text())
    assert settings["command"] == "forewarn bench train d0-V1 --learning-rate 0.0001 --optimizer adam"
    assert (settings["rl"]["lr"], settings["rl"]["optimizer"]) == (1e-4, "adam")


def test_the_truth_is_drawn_once(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organism_truth, "PER_PROBLEM", 2)  # a miniature model's programs are all distinct
    told: list[str] = []
    table = measure_truth("d0-V5", trained, TINY, told.append)
    assert table["step"].unique().to_list() == [4]
    assert table.height == 12
    assert set(table["n"].to_list()) == {40}
    shards = {p: p.stat().st_mtime_ns for p in (trained / "d0" / "V5" / "truth").iterdir()}
    assert len(shards) >= 12
    assert measure_truth("d0-V5", trained, TINY, silent).equals(table)
    assert {p: p.stat().st_mtime_ns for p in (trained / "d0" / "V5" / "truth").iterdir()} == shards


def test_what_lies_between_two_sides_of_a_level_is_measured_too() -> None:
    rates = {"a": {20: 0.001, 40: 0.03, 60: 0.04, 80: 0.2}, "b": {20: 0.0, 40: 0.0, 60: 0.0, 80: 0.019}}
    assert between(rates, [10, 20, 30, 40, 50, 60, 70, 80], [0.02, 0.1]) == {30: ["a"], 70: ["a"]}


def test_bad_input_is_refused_in_one_sentence(built: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the benchmark has no base 'x9': choose among t0, t1"):
        verbs.build("x9", tmp_path, TINY, quiet)
    with pytest.raises(InputError, match="the benchmark has no run 'd0-V9': choose among"):
        verbs.train("d0-V9", built, TINY, quiet, silent)
    with pytest.raises(InputError, match="has no base model of run d1-V2: run `forewarn bench build d1` first"):
        verbs.train("d1-V2", built, TINY, quiet, silent)
    with pytest.raises(InputError, match="steps is 7: give 1 to 6, the length of a run"):
        verbs.train("d0-V1", built, TINY, quiet, silent, steps=7)
    with pytest.raises(InputError, match=r"run d0-V1 has no checkpoint to measure yet: run `forewarn bench train"):
        measure_truth("d0-V1", built, TINY, silent)
    with pytest.raises(InputError, match=r"holds a run with other settings \(rl\); give another folder, or delete it"):
        verbs.train("d0-V5", trained, TINY, quiet, silent, tuning=verbs.Tuning(learning_rate=5.0))
    other_levels = replace(TINY, leader=replace(TINY.leader, high=0.5))
    with pytest.raises(InputError, match="holds an organism of other exploit types, or with other rates of them"):
        verbs.train("d0-V5", trained, other_levels, quiet, silent)
