"""Donors age: on exact worlds, one that the subject has moved away from is found, and one that it grows with is not."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forewarn.estimation import mixture_estimate
from forewarn.estimation.reach import reach_of
from forewarn.estimation.sample import read_sample
from forewarn.records import Span
from forewarn.study import CellEstimate, CellResult, PlannedSpan, RunResults
from forewarn.study.folder.schemas import HIT_ROWS
from forewarn.study.keys import CellRecord
from forewarn.study.results.reach import donor_reaches, lost_now
from forewarn.worlds import World
from forewarn.worlds.catalogue import Habits
from forewarn.worlds.catalogue import simple as build
from forewarn.worlds.draw import draw

simple = functools.cache(build)
COUNT = np.array([800] + [320] * 9)
NEAR = Habits(intent=2e-3, slip=1e-4)
GROWN = Habits(intent=4e-2, slip=1e-3)
MOVED = Habits(intent=2e-5, sly=2e-3, slip=1e-4)
"""the subject exploits in a way that the donor does not know"""


def results_of(worlds: dict[int, World], seed: int) -> RunResults:
    """What a run folder would hold of a run whose subject is at these worlds, by step."""
    cells, hits = [], []
    for step, world in worlds.items():
        d = draw(world, COUNT, np.random.default_rng([seed, step]))
        spans = tuple(PlannedSpan(span, int(n)) for span, n in zip(world.spans, COUNT, strict=True))
        record = CellRecord(f"at-{step}", step, "t", "key", spans)
        estimate = mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N)
        names = tuple(span.name for span in world.spans)
        cell = CellEstimate(f"at-{step}", step, "t", estimate, names, tuple(map(int, COUNT)))
        cells.append(CellResult(record, cell, {}, None))
        sample = read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N)
        rows = [
            {
                "checkpoint_id": f"at-{step}", "step": step, "exploit_type": "t", "log_weight": float(weight),
                "log_ratios": ratios.tolist(),
            }
            for ratios, weight in zip(d.log_ratio_NS[sample.hit_H], sample.log_weight_H, strict=True)
        ]  # fmt: skip
        hits.append(pl.DataFrame(rows, schema=HIT_ROWS))
    return RunResults(Path(), "run", 0, 0.9, tuple(cells), pl.concat(hits))


def test_responsibilities_are_chances_that_sum_to_one() -> None:
    world = simple("near", NEAR)
    d = draw(world, COUNT, np.random.default_rng(1))
    sample = read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N)
    share = COUNT / COUNT.sum()
    writers = [span.donor if i % 2 else "other" for i, span in enumerate(world.spans)]
    found = reach_of(d.log_ratio_NS[sample.hit_H], sample.log_weight_H, share, writers)
    assert found is not None
    assert sum(one.responsibility for one in found.values()) == pytest.approx(1.0)
    alone = reach_of(d.log_ratio_NS[sample.hit_H], sample.log_weight_H, share, ["all"] * len(share))
    assert alone is not None
    estimate = mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N)
    assert estimate.ess is not None
    assert alone["all"].ess == pytest.approx(estimate.ess)
    assert reach_of(np.zeros((1, 2)), np.array([-np.inf]), np.array([0.5, 0.5]), ["a", "b"]) is None


def test_a_donor_that_the_subject_moved_away_from_is_found_once_a_completion_shows_it() -> None:
    shown = 0
    for seed in range(8):
        results = results_of({1: simple("near", NEAR), 10: simple("moved", MOVED)}, seed)
        lost = lost_now(donor_reaches(results))
        # a completion whose weight is that of brute force: only such ones show the new way
        new = results.hits.filter((pl.col("step") == 10) & (pl.col("log_weight") > np.log(0.01)))
        assert bool(lost) >= bool(new.height)
        shown += bool(new.height)
    assert shown >= 2
    assert "donor no longer reaches t of run at step 10: its part rests on" in (
        lost_now(donor_reaches(results_of({1: simple("near", NEAR), 10: simple("moved", MOVED)}, 0)))[0].lost or ""
    )


def test_a_donor_that_the_subject_grows_with_is_left_alone() -> None:
    for seed in range(8):
        worlds = {1: simple("near", NEAR), 10: simple("near", NEAR), 40: simple("grown", GROWN)}
        assert lost_now(donor_reaches(results_of(worlds, seed))) == []


def test_reach_reads_as_a_story_of_steps() -> None:
    """A donor that lost and was replaced is judged no more, and its successor has no past."""
    near, moved = simple("near", NEAR), simple("moved", MOVED)
    results = results_of({1: near, 10: moved, 20: moved}, 0)
    last = results.cells[-1].record
    renamed = tuple(
        PlannedSpan(one.span if not one.span.writes else _by(one.span, "new"), one.count) for one in last.spans
    )
    cells = (*results.cells[:-1], _with(results.cells[-1], renamed))
    again = RunResults(results.root, "run", 0, 0.9, cells, results.hits)
    assert [one.donor for one in donor_reaches(again)] == ["donor", "donor", "new"]
    assert lost_now(donor_reaches(again)) == []


def _by(span: Span, donor: str) -> Span:
    return Span(span.k, span.m, donor)


def _with(cell: CellResult, spans: tuple[PlannedSpan, ...]) -> CellResult:
    record = CellRecord(cell.record.checkpoint_id, cell.record.step, "t", "key", spans)
    return CellResult(record, cell.estimate, {}, None)
