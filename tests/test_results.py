"""A run folder read at any time: label counts, what a cell waits for, forecasts, first call, first visible step."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import InputError, StoreError
from forewarn.records import Estimate
from forewarn.store import RunFolder, write_json, write_table
from forewarn.study import CellEstimate, read_completions, read_hits, read_results, read_verdicts
from forewarn.study.folder.manifest import Missing, write_missing
from forewarn.study.results.forecasts import by_run, first_visible, run_forecasts, run_name
from forewarn.study.results.read import NO_ANSWER
from tests.tiny_world import TinyWorld


@pytest.fixture
def root(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def relabel(root: Path, label: str) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        write_table(shards.path(key), shards.read(key).with_columns(label=pl.lit(label)))


def test_every_completion_is_counted_once_under_its_own_label(root: Path, world: TinyWorld) -> None:
    results = read_results(root)
    assert (results.study, results.seed, results.waiting) == ("tiny", 7, [])
    by_problem = dict(read_verdicts(root).select("problem_id", "problem_key").iter_rows())
    labels = {
        (p, c): label for p, c, label in read_verdicts(root).select("problem_key", "code_key", "label").iter_rows()
    }
    for cell in results.cells:
        mine = read_completions(root).filter(pl.col("checkpoint_id") == cell.record.checkpoint_id)
        wanted = Counter(
            NO_ANSWER if code is None else labels[by_problem[problem], code]
            for problem, code in mine.select("problem_id", "code_key").iter_rows()
        )
        assert wanted == cell.outcomes
        assert cell.estimate is not None
        assert sum(cell.outcomes.values()) == cell.estimate.estimate.n
        assert cell.outcomes["exploit"] == cell.estimate.estimate.n_hits > 0
        assert NO_ANSWER in cell.outcomes or mine["code"].null_count() == 0
    assert results.hits.equals(read_hits(root))


def test_a_growing_run_says_what_each_cell_waits_for(root: Path) -> None:
    whole = read_results(root)
    run, (first, second) = RunFolder(root), [cell.record for cell in whole.cells]
    for shard in (root / "scores").iterdir():
        shard.unlink()
    assert [cell.waits_for for cell in read_results(root).cells] == ["scores", "scores"]
    assert [cell.outcomes for cell in read_results(root).cells] == [cell.outcomes for cell in whole.cells]
    for shard in (root / "verdicts").iterdir():
        shard.unlink()
    assert [cell.waits_for for cell in read_results(root).cells] == ["verdicts", "verdicts"]
    run.shards("completions").path(second.blocks[2]).unlink()
    (root / "estimates.parquet").unlink()
    write_missing(root, [Missing("completions", second.checkpoint_id, second.exploit_type, "out of memory")])
    found = read_results(root)
    assert [(cell.waits_for, cell.fault) for cell in found.cells] == [
        ("verdicts", None),
        ("completions", "out of memory"),
    ]
    assert (found.estimates, found.hits.height, first.step) == ([], 0, 1)


def test_a_cell_that_waits_does_not_keep_the_others(root: Path) -> None:
    whole = read_results(root)
    RunFolder(root).shards("completions").path(whole.cells[1].record.blocks[0]).unlink()
    found = read_results(root)
    assert found.estimates == whole.estimates[:1]
    (said,) = run_forecasts(found.estimates, study=found.study, seed=found.seed)
    assert (said.forecast, said.steps) == (None, (1,))
    assert said.why_none == "there is 1 checkpoint after step 0: a forecast needs 2 or more"


def test_a_run_without_a_hit_has_results_and_a_forecast(root: Path) -> None:
    relabel(root, "failed")
    found = read_results(root)
    assert [set(cell.outcomes) <= {"failed", NO_ANSWER} for cell in found.cells] == [True, True]
    (said,) = run_forecasts(found.estimates, study=found.study, seed=found.seed)
    assert said.forecast is not None
    assert (said.first_visible_step, said.forecast.steps_used) == (None, (1, 9))
    assert said.forecast.horizon_step == 36


def test_what_broke_is_invalid_and_not_waited_for(root: Path) -> None:
    relabel(root, "invalid")
    found = read_results(root)
    assert found.waiting == []
    assert all(cell.outcomes["invalid"] == cell.estimate.estimate.n_invalid for cell in found.cells if cell.estimate)


def test_a_folder_that_is_not_a_study_is_one_sentence(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is missing"):
        read_results(tmp_path / "nothing")
    write_json(root / "manifest.json", {"level": 0.9, "spans": [], "cells": [], "problem_keys": {}})
    with pytest.raises(StoreError, match="doesn't name its study and seed"):
        read_results(root)


def cell(run: str, step: int, *, hits: tuple[int, int], n: int = 400, log10_p: float | None = None) -> CellEstimate:
    """A cell with so many hits of its own span and of a donor's."""
    estimate = Estimate(
        log10_p=log10_p, interval_log10=None if log10_p is None else (log10_p - 0.2, log10_p + 0.2),
        lower_bound=0.0 if log10_p is None else 10 ** (log10_p - 0.5),
        upper_bound=max(10 ** ((-9 if log10_p is None else log10_p) + 0.5), 0.01),
        level=0.9, n=n, n_hits=sum(hits), hits_by_span=hits, n_invalid=0, n_off_support=0, ess=float(sum(hits)) or None,
        max_share=0.05, khat=0.3, covered_log10_p=log10_p, uncovered_log10_p=None, resolved=True, reason="resolved",
    )  # fmt: skip
    return CellEstimate(f"{run}/{step}" if run else str(step), step, "t", estimate, ("brute", "donor"), (n, n))


RISING = [
    cell("a/b", s, hits=(own, 60), log10_p=p)
    for s, own, p in ((1, 0, -4.0), (4, 0, -3.0), (16, 3, -2.0), (64, 80, -0.7))
]
FLAT = [cell("flat", s, hits=(0, 30), log10_p=-7.0) for s in (1, 4, 16, 64)]


def test_a_type_is_called_before_it_is_common_and_a_flat_one_is_not() -> None:
    rising, flat = run_forecasts([*RISING, *FLAT], study="s", seed=1)
    assert (rising.run, flat.run) == ("a/b", "flat")
    assert rising.forecast is not None
    assert flat.forecast is not None
    assert rising.forecast.probability is not None
    assert flat.forecast.probability is not None
    assert rising.forecast.probability > 0.95
    assert flat.forecast.probability < 0.3
    assert rising.first_call_step in (4, 16)
    assert (rising.first_visible_step, flat.first_call_step, flat.first_visible_step) == (16, None, None)
    assert list(by_run([flat, rising])) == ["flat", "a/b"]


def test_the_horizon_and_the_threshold_are_the_users() -> None:
    near, far = (run_forecasts(RISING[:3], study="s", seed=1, horizon_step=h)[0].forecast for h in (17, 1000))
    assert near is not None
    assert far is not None
    assert (near.horizon_step, far.horizon_step) == (17, 1000)
    assert (near.probability or 0) < (far.probability or 0)
    strict = run_forecasts(RISING[:3], study="s", seed=1, horizon_step=1000, threshold=0.9)[0].forecast
    assert strict is not None
    assert (strict.probability or 0) < (far.probability or 0)
    with pytest.raises(InputError, match="the horizon is step 64, and a/b has been measured up to step 64"):
        run_forecasts(RISING, study="s", seed=1, horizon_step=64)
    with pytest.raises(InputError, match=r"threshold is 1\.5"):
        run_forecasts(RISING, study="s", seed=1, threshold=1.5)


def test_step_0_counts_as_measured_and_not_as_trend() -> None:
    (said,) = run_forecasts([cell("a", 0, hits=(1, 9), log10_p=-3.0), *RISING[:0]], study="s", seed=1)
    assert (said.steps, said.forecast, said.first_visible_step) == ((0,), None, 0)
    (said,) = run_forecasts([cell("a/b", 0, hits=(0, 9), log10_p=-3.0), *RISING], study="s", seed=1)
    assert said.forecast is not None
    assert (said.steps, said.forecast.steps_used) == ((0, 1, 4, 16, 64), (1, 4, 16, 64))


def test_two_checkpoints_at_one_step_are_said_and_not_guessed() -> None:
    (said,) = run_forecasts([cell("a", 5, hits=(0, 9), log10_p=-3.0)] * 2, study="s", seed=1)
    assert said.forecast is None
    assert "two checkpoints are at step 5" in (said.why_none or "")


def test_runs_are_named_by_their_checkpoints() -> None:
    assert run_name("rl/40", "s") == "rl"
    assert run_name("org/run-1/40", "s") == "org/run-1"
    assert run_name("checkpoint-40", "s") == "s"
    assert first_visible(FLAT) is None
