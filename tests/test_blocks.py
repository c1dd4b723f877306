"""Blocks, the unit of sampling: what is drawn doesn't depend on them, only what is missing is drawn, and run folders of
earlier versions, which kept a cell in one shard, are read and not done again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import StoreError
from forewarn.records import Policy, Problem, Span, TestCase
from forewarn.store import RunFolder, write_json
from forewarn.study import (
    Machine,
    PlannedSpan,
    Study,
    estimate_run,
    plan,
    read_completions,
    read_estimates,
    read_hits,
    read_results,
    run_study,
)
from forewarn.study.folder.cells import parts_of, submitted
from forewarn.study.folder.manifest import read_plan
from forewarn.study.keys import Keys, scores_key, submissions_key
from tests.study_runner import tiny_study
from tests.tiny_world import TinyWorld

COUNT = 60
"""completions of a problem and span in the tiny study: a block is both problems"""


@pytest.fixture(scope="module")
def finished(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "whole"
    run_study(tiny_study(world, count=COUNT), root)
    return root


def times(root: Path, stage: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / stage).glob("*.parquet")}


def same_results(one: Path, other: Path) -> None:
    assert_frame_equal(read_estimates(one), read_estimates(other))
    assert_frame_equal(read_hits(one).sort("completion_id"), read_hits(other).sort("completion_id"))
    assert_frame_equal(read_completions(one).sort("completion_id"), read_completions(other).sort("completion_id"))


def test_a_block_is_some_problems_of_one_span(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(world, count=COUNT)
    cell = next(study.cells())
    assert [(b.planned, b.problems, b.n) for b in study.blocks(cell)] == [
        (planned, study.problems, 2 * COUNT) for planned in study.spans
    ]
    monkeypatch.setattr(plan, "BLOCK_ROWS", COUNT + 1)
    assert [(b.planned, b.problems) for b in study.blocks(cell)] == [
        (planned, (problem,)) for planned in study.spans for problem in study.problems
    ]
    monkeypatch.setattr(plan, "BLOCK_ROWS", 1)
    assert {len(block.problems) for block in study.blocks(cell)} == {1}, "one problem, however often it is drawn"


def test_draws_do_not_depend_on_how_work_is_cut(
    world: TinyWorld, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "BLOCK_ROWS", COUNT)
    run_study(tiny_study(world, count=COUNT), tmp_path / "run", machine=Machine(batch_size=COUNT + 7))
    assert len(times(tmp_path / "run", "completions")) == 2 * len(times(finished, "completions")) == 20
    same_results(tmp_path / "run", finished)


def test_only_the_missing_block_is_drawn(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "run"))
    _, [_, record], _ = read_plan(root)
    before = times(root, "completions")
    RunFolder(root).shards("completions").path(record.blocks[3]).unlink()
    assert [cell.waits_for for cell in read_results(root).cells] == [None, "completions"]
    run_study(tiny_study(world, count=COUNT), root)
    after = times(root, "completions")
    assert {name for name in after if after[name] != before[name]} == {f"{record.blocks[3]}.parquet"}
    same_results(root, finished)


def test_a_kill_loses_the_blocks_in_hand_alone(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    arguments = [str(world.subject.parent), str(root), "completions", "9"]
    subprocess.run([sys.executable, "-m", "tests.study_runner", *arguments], check=False, timeout=200)
    kept = times(root, "completions")
    assert len(kept) == 9
    run_study(tiny_study(world, count=COUNT), root)
    assert kept.items() <= times(root, "completions").items()
    same_results(root, finished)


def test_judging_goes_on_while_sampling_does(world: TinyWorld, tmp_path: Path) -> None:
    """Sampling stands still in the middle until the first verdicts are there."""
    root, told = tmp_path / "run", []

    def progress(stage: str, done: int, total: int) -> None:
        told.append(stage)
        if stage == "completions" and 0 < done < total:
            deadline = time.monotonic() + 60
            while not list((root / "verdicts").glob("*.parquet")):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    estimated = []
    cells = run_study(
        tiny_study(world, count=COUNT),
        root,
        machine=Machine(batch_size=2 * COUNT),
        progress=progress,
        estimated=estimated.append,
    )
    last = max(i for i, stage in enumerate(told) if stage == "completions")
    assert "verdicts" in told[:last]
    assert "estimates" in told[:last], "the first cell is estimated before the last one is sampled"
    assert estimated == cells


def as_an_earlier_version_left_it(root: Path) -> None:
    """One shard of completions and one of submissions for each cell, under the cell's own keys."""
    run = RunFolder(root)
    _, records, _ = read_plan(root)
    for record in records:
        assert record.submissions is not None
        parts = parts_of(run, record)
        table = submitted(run, parts)
        run.shards("submissions").write(record.submissions, table.select("completion_id", "code", "code_key"))
        run.shards("completions").write(record.key, table.drop("code", "code_key"))
        for part in parts:
            run.shards("completions").path(part.completions).unlink()
            run.shards("submissions").path(str(part.submissions)).unlink()
    manifest = json.loads((root / "manifest.json").read_text())
    for cell in manifest["cells"]:
        del cell["blocks"], cell["rule"]
    write_json(root / "manifest.json", manifest)


def test_folders_of_earlier_versions_are_read_and_not_done_again(
    world: TinyWorld, finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "run"))
    as_an_earlier_version_left_it(root)
    assert len(times(root, "completions")) == len(times(root, "submissions")) == 2
    estimate_run(root)
    same_results(root, finished)
    assert read_results(root).waiting == []
    before = {stage: times(root, stage) for stage in ("completions", "submissions", "verdicts", "scores")}
    run_study(tiny_study(world, count=COUNT), root)
    assert {stage: times(root, stage) for stage in before} == before
    same_results(root, finished)
    # what such a folder lacks is drawn in blocks, beside the shards that it has
    _, [_, record], _ = read_plan(root)
    RunFolder(root).shards("completions").path(record.key).unlink()
    run_study(tiny_study(world, count=COUNT), root)
    kept = set(before["completions"]) - {f"{record.key}.parquet"}
    assert set(times(root, "completions")) == kept | {f"{key}.parquet" for key in record.blocks}
    same_results(root, finished)


def test_a_changed_checkpoint_is_seen_where_blocks_were_drawn(world: TinyWorld, finished: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = json.loads((root / "manifest.json").read_text())
    assert all(len(cell["blocks"]) == 5 for cell in manifest["cells"])
    manifest["model_receipts"]["step-9"]["key"] = "0" * 64
    write_json(root / "manifest.json", manifest)
    with pytest.raises(StoreError, match="checkpoint step-9 has changed since"):
        run_study(tiny_study(world, count=COUNT), root)


def test_keys_of_whole_cells_are_those_of_earlier_versions() -> None:
    """As computed by the last version that kept whole cells."""
    problems = tuple(
        Problem(f"p{i}", "t", "process_exit", f"question {i}", "solve", "ref", "exp", (TestCase((3,), 3),))
        for i in range(3)
    )
    study = Study(
        name="n",
        problems=problems,
        checkpoints=(ModelSource("run/5", "base", "adapter", 5),),
        donors=(ModelSource("d", "base", "donor"),),
        spans=(
            PlannedSpan(Span(), 8),
            PlannedSpan(Span(0, 3, "d", 0.5), 2),
            PlannedSpan(Span(4, 1_000_000_000, "d"), 2),
        ),
        policy=Policy(max_total_tokens=64),
        seed=7,
        system="s",
    )
    keys = Keys(study, {"run/5": "a" * 64, "donor:d": "b" * 64}, (2,))
    [cell] = study.cells()
    assert keys.cell(cell) == "592b071d1ffc142fe9b2852ac3304a7a4d1174c1e7322ea6e5319fc74210e4f4"
    read = submissions_key(keys.cell(cell), study.code_rule.key)
    assert read == "66ee59aee246fbca4705b11188ed608c0f8be02787368585f0ae2362b70011bf"
    assert scores_key(keys.cell(cell), ("x", "y")) == "21e037df4c75da811d5852d9630321a57c89d5248d69dd69c9087f2f6bb601b0"
    blocks = [keys.block(block) for block in study.blocks(cell)]
    assert len(set(blocks)) == 3
    assert list(keys.record(cell).blocks) == blocks
