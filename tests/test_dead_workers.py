"""Workers that die: their tasks are done in others; what kills every one is left out, said, and tried again."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from forewarn.cli.app import main
from forewarn.cli.exits import EXIT_INCOMPLETE
from forewarn.errors import IncompleteError, InputError, StoreError
from forewarn.study import Machine, Study, estimate_run, read_estimates, read_hits, run_study
from forewarn.study.folder.manifest import MISSING_FILE, Missing, read_missing, write_missing
from forewarn.study.folder.schemas import COMPLETIONS
from tests.study_runner import tiny_study
from tests.tiny_world import THINK, TinyWorld

OTHER_TYPE = "verifier_logic_override"


class Poison(str):
    """A question that ends the process which looks into it, as input does that trips a fault in a tokenizer or kernel.
    The study's own process passes it by, and so does everybody once the antidote is there."""

    __slots__ = ()

    def __contains__(self, part: object) -> bool:
        if multiprocessing.parent_process() is not None and not Path(os.environ["ANTIDOTE"]).exists():
            os._exit(11)
        return super().__contains__(part)  # type: ignore[operator]


def poisoned(world: TinyWorld) -> Study:
    """One checkpoint of the tiny study, and a second exploit type whose question is poison."""
    extra = dataclasses.replace(
        world.problems[0], problem_id="poisoned", exploit_type=OTHER_TYPE, question=Poison(THINK * 3)
    )
    study = tiny_study(world, count=10)
    return dataclasses.replace(study, problems=(*world.problems, extra), checkpoints=study.checkpoints[:1])


def workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def killing(stage: str, number: int, times: int = 1) -> Callable[[str, int, int], None]:
    """Kills every worker, the first ``times`` times that a task of ``stage`` is told as done or begun."""
    left = [times]

    def progress(now: str, _done: int, _total: int) -> None:
        if now == stage and left[0] and workers():
            left[0] -= 1
            for pid in workers():
                os.kill(pid, number)

    return progress


@pytest.fixture(scope="module")
def undisturbed(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "undisturbed"
    study = tiny_study(world)
    more = tuple(dataclasses.replace(c, model_id=f"{c.model_id}-again") for c in study.checkpoints)
    run_study(dataclasses.replace(study, checkpoints=study.checkpoints + more), root)
    return root


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGKILL", "SIGTERM"]
)
def test_tasks_of_killed_workers_are_done_in_others(
    world: TinyWorld, undisturbed: Path, tmp_path: Path, number: int
) -> None:
    study = tiny_study(world)
    more = tuple(dataclasses.replace(c, model_id=f"{c.model_id}-again") for c in study.checkpoints)
    larger = dataclasses.replace(study, checkpoints=study.checkpoints + more)
    root = tmp_path / "run"
    run_study(larger, root, machine=Machine(workers=2), progress=killing("completions", number))
    assert_frame_equal(read_estimates(root), read_estimates(undisturbed))
    assert_frame_equal(read_hits(root), read_hits(undisturbed))
    assert not (root / MISSING_FILE).exists()


def test_what_kills_every_worker_is_left_out_and_tried_again(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, antidote = tmp_path / "run", tmp_path / "antidote"
    monkeypatch.setenv("ANTIDOTE", str(antidote))
    study, machine = poisoned(world), Machine(workers=2, retries=1)
    with pytest.raises(
        IncompleteError, match=f"1 of 2 cells are missing: completions of {OTHER_TYPE} at step-1 "
    ) as at:
        run_study(study, root, machine=machine)
    assert "2 workers died over it, the last ended with status 11" in str(at.value)
    assert "run the study again" in str(at.value)
    estimates = read_estimates(root)
    assert set(estimates["exploit_type"]) == {world.problems[0].exploit_type}
    assert len(at.value.cells) == estimates.height == 1
    assert [(mark.checkpoint_id, mark.exploit_type) for mark in read_missing(root)] == [("step-1", OTHER_TYPE)]

    with pytest.raises(SystemExit) as stop:
        main(["estimate", str(root), "--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == EXIT_INCOMPLETE == 4
    assert len(json.loads(out)) == 1
    assert "1 of 2 cells are missing" in err.splitlines()[-1]

    kept = {path: path.stat().st_mtime_ns for path in root.glob("completions/*.parquet")}
    antidote.touch()
    cells = run_study(study, root)
    assert {cell.exploit_type for cell in cells} == set(study.exploit_types)
    assert not (root / MISSING_FILE).exists()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was there was not done again"
    run_study(study, tmp_path / "whole")
    assert_frame_equal(read_estimates(root), read_estimates(tmp_path / "whole"))


def test_a_mark_counts_only_while_its_cell_is_missing(world: TinyWorld, tmp_path: Path) -> None:
    root = tmp_path / "run"
    study = tiny_study(world)
    run_study(study, root)
    [exploit_type] = study.exploit_types
    marks = [Missing(COMPLETIONS, "step-9", exploit_type, "killed")]
    write_missing(root, marks)  # as where a second run did the cell and was killed before it could say so
    assert len(estimate_run(root)) == 2
    block = json.loads((root / "manifest.json").read_text())["cells"][1]["blocks"][3]
    lost = root / "completions" / f"{block}.parquet"
    lost.rename(root / "elsewhere")
    with pytest.raises(IncompleteError, match=r"1 of 2 cells are missing: .* at step-9 \(killed\)"):
        estimate_run(root)
    write_missing(root, [])  # lost, and never given up
    with pytest.raises(StoreError, match="is missing"):
        estimate_run(root)
    (root / MISSING_FILE).write_text('["x"]')
    with pytest.raises(StoreError, match="is not a list of what is missing"):
        estimate_run(root)


def test_a_scoring_worker_that_dies_leaves_its_cell_out(world: TinyWorld, tmp_path: Path) -> None:
    """Killed when the last completions are judged: their cell is the next to be scored."""
    root = tmp_path / "run"
    study = tiny_study(world)
    kill = killing("verdicts", signal.SIGKILL)

    def progress(stage: str, done: int, total: int) -> None:
        if done == total:
            kill(stage, done, total)

    with pytest.raises(IncompleteError, match=r"cells are missing: scores of .*killed by signal 9, SIGKILL, often for"):
        run_study(study, root, machine=Machine(workers=2, retries=0), progress=progress)
    assert all(mark.stage == "scores" for mark in read_missing(root))
    assert len(run_study(study, root)) == 2


def test_retries_are_a_number_of_times() -> None:
    with pytest.raises(InputError, match="retries is -1: give 0 or more"):
        Machine(retries=-1)
