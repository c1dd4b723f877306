"""The monitor's cells of a miniature run, by the real study, sandbox and donors: kept, gone on with, and read back."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forewarn.bench import verbs
from forewarn.bench.bases import base_recipe
from forewarn.bench.donors import DONORS, LAST
from forewarn.bench.measure import measure
from forewarn.bench.outcomes.start import base_starts
from forewarn.bench.record import (
    COUNTING_FILE,
    ESTIMATES_FILE,
    EVALUES_FILE,
    FEATURES_FILE,
    looks_of,
    pairs_of,
    read_run,
)
from forewarn.bench.runs import find_run
from forewarn.bench.truth import measure_truth
from forewarn.checkpoints.load import load_model
from forewarn.errors import InputError
from forewarn.organism import truth as organism_truth
from forewarn.organism.chat import OrganismChat
from forewarn.organism.donors import DONOR, donor_settings
from forewarn.organism.problems import measured_problems
from forewarn.records import UNBOUNDED, Span
from forewarn.store import read_table
from forewarn.study import PlannedSpan
from forewarn.training.sft import donor_examples, save, sft
from tests.bench.conftest import TINY, quiet, silent

SMALL = replace(
    TINY,
    monitor=replace(TINY.monitor, steps=(0, 4), counting_every=4, completions=40),
    score=replace(TINY.score, landmarks=(2,), crps_checkpoint=2),
)
SPANS = (PlannedSpan(Span(), 1), PlannedSpan(Span(UNBOUNDED, UNBOUNDED, LAST), 1))


def quick_donors(base: Path, donors: Path) -> None:
    """Donors that have seen two types: enough to be drawn from. What is there whole is not trained again."""
    types = base_recipe("d0", SMALL).types
    problems = [p for name in list(types)[:2] for p in measured_problems(name, types)]
    examples = donor_examples(problems, OrganismChat.from_folder(base).channels)
    settings = donor_settings(2)
    result = sft(load_model(base), examples, settings)
    for name in DONORS:
        save(result, donors / name, settings)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_is_measured_gone_on_with_and_read_back(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bench"
    shutil.copytree(built, folder)
    verbs.train("d0-V5", folder, SMALL, quiet, silent, steps=3)
    with pytest.raises(InputError, match=r"no checkpoint at step 4 to measure yet: run `forewarn bench train d0-V5`"):
        measure("d0-V5", folder, SMALL, silent, spans=SPANS)
    quick_donors(folder / "d0" / "base", folder / "d0" / "donors")
    verbs.train("d0-V5", folder, SMALL, quiet, silent)
    with pytest.raises(InputError, match="the spans draw 60 completions a cell: give 40"):
        measure("d0-V5", folder, SMALL, silent, spans=(*SPANS, PlannedSpan(Span(0, 3, DONOR), 1)))
    where = measure("d0-V5", folder, SMALL, silent, spans=SPANS)
    tables = {name: read_table(where / name) for name in (ESTIMATES_FILE, COUNTING_FILE, FEATURES_FILE)}
    assert {table.height for table in tables.values()} == {24}
    assert set(tables[ESTIMATES_FILE]["n"].to_list()) == {40}
    assert set(tables[COUNTING_FILE]["n"].to_list()) == {40}
    assert (tables[FEATURES_FILE]["reference_log_prob"] < 0).all()
    evalues = read_table(where / EVALUES_FILE)
    assert sorted(evalues.select("step", "kind").unique().rows()) == [(0, "exceeds"), (4, "exceeds"), (4, "growth")]
    hits = dict(tables[ESTIMATES_FILE].filter(pl.col("step") == 4).select("exploit_type", "n_hits").rows())
    needed = -math.log(0.9 * SMALL.evalues.budget / (2 * 12 * len(SMALL.monitor.steps)))
    for row in evalues.filter(pl.col("step") == 4).iter_rows(named=True):
        assert row["log_e"] < 0 or hits[row["exploit_type"]], "without a hit nothing speaks for an alarm"
        assert row["needed"] == pytest.approx(needed)
    by_step = tables[FEATURES_FILE].sort("exploit_type").partition_by("step", as_dict=True)
    moved = by_step[4,]["reference_log_prob"] - by_step[0,]["reference_log_prob"]
    assert (moved.abs() > 0).all(), "each step is scored by its own weights"

    before = {p: p.stat().st_mtime_ns for p in where.rglob("*.parquet")}
    measure("d0-V5", folder, SMALL, silent, spans=SPANS)
    after = {p: p.stat().st_mtime_ns for p in where.rglob("*.parquet")}
    assert {p for p in before if before[p] != after[p] and p.parent != where} == set(), "nothing is drawn again"

    monkeypatch.setattr(organism_truth, "PER_PROBLEM", 2)
    measure_truth("d0-V5", folder, SMALL, silent)
    record = read_run(folder, find_run("d0-V5", SMALL), SMALL)
    assert not isinstance(record, str)
    pairs = pairs_of(record, base_starts(folder / "d0", "d0", SMALL), SMALL)
    assert len(pairs) == 12
    assert {p.why_not for p in pairs} == {"leader", "truth measured up to step 4 of 6"}
    first, second = looks_of(record, SMALL)
    assert (first.steps, second.steps) == ((0,), (0, 4))
    assert first.windows == ()
    assert sum(n for _, n in second.windows[0].rewarded.values()) == 4 * 192
    rollouts = record.rollouts.filter(pl.col("step") <= 4)
    assert sum(t.rollouts for t in second.types.values()) == rollouts["n"].sum()
