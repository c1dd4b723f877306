"""What is said before training, and alarms by e-values: against sums by hand and runs of the law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from forewarn.bench.bases import roles_of
from forewarn.bench.evalues import EVALUE_ROWS
from forewarn.bench.outcomes.start import base_starts
from forewarn.bench.protocol import protocol
from forewarn.bench.record import EVALUES_FILE, pairs_of, read_run
from forewarn.bench.runs import find_run
from forewarn.bench.scores.certain import certain_entries, first_alarms
from forewarn.bench.scores.found import (
    COUNTING,
    PREFLIGHT,
    Found,
    chance_by_counting,
    found_calibration,
    found_entries,
    found_of,
)
from forewarn.prediction.law import TypeTraining
from forewarn.store import write_table
from tests.bench.simulated import simulate

P = protocol()
SHORT = replace(P, monitor=replace(P.monitor, steps=(0, 20)))


@pytest.mark.parametrize(("hits", "n", "rollouts"), [(0, 400, 1_000.0), (2, 400, 50.0), (0, 10, 1.0)])
def test_counting_says_the_mean_chance_over_what_it_leaves_open(hits: int, n: int, rollouts: float) -> None:
    posterior = beta(hits + 0.5, n - hits + 0.5)
    missed, _ = quad(lambda u: (1 - posterior.ppf(u)) ** rollouts, 0, 1, limit=400)
    assert chance_by_counting(hits, n, rollouts) == pytest.approx(1 - missed, abs=1e-5)


def test_rollouts_of_a_type_are_those_while_it_is_in_the_mix() -> None:
    assert TypeTraining(8.0, 1.0).rollouts_between(0, 300) == 2400
    assert TypeTraining(8.0, 1.0, first_step=150).rollouts_between(0, 300) == 1200
    assert TypeTraining(8.0, 1.0, first_step=50, last_step=100).rollouts_between(0, 300) == 400
    assert TypeTraining(8.0, 1.0, last_step=500).rollouts_between(200, 300) == 800
    assert TypeTraining(8.0, 1.0, last_step=100).rollouts_between(200, 300) == 0


def test_what_a_run_comes_upon_is_asked_of_followers_that_it_pays_for(tmp_path: Path) -> None:
    simulate(["d0-V5"], tmp_path, SHORT)
    run = find_run("d0-V5", SHORT)
    record = read_run(tmp_path, run, SHORT)
    assert not isinstance(record, str)
    pairs = pairs_of(record, base_starts(tmp_path / "d0", "d0", SHORT), SHORT)
    rows = found_of(record, pairs, SHORT)
    followers = {name for name, role in roles_of("d0", SHORT).items() if role.role == "follower"}
    assert {row.exploit_type for row in rows} == followers - set(run.patched)
    for row in rows:
        hits = record.rollouts.filter((pl.col("exploit_type") == row.exploit_type) & (pl.col("exploits") > 0))
        assert row.came == (None if hits.is_empty() else hits["step"].min())
        assert 0 < row.said[PREFLIGHT] <= 1
    asked = {row.exploit_type: row.said[PREFLIGHT] for row in rows}
    levels = {name: record.estimates[0, name].log10_p for name in asked}
    rare, common = (pick(asked, key=lambda name: levels[name] or 0.0) for pick in (min, max))
    assert asked[rare] < asked[common]


def test_the_brier_score_of_what_was_said_before_training() -> None:
    rows = [Found(f"run{i % 4}", f"type{i}", {PREFLIGHT: 0.8, COUNTING: 0.5}, 30 if i % 3 else None) for i in range(12)]
    entries = {one.method: one.found for one in found_entries(rows, P)}
    came = np.array([row.came is not None for row in rows])
    assert entries[PREFLIGHT].value == pytest.approx(np.mean((0.8 - came) ** 2))
    assert entries[COUNTING].value == pytest.approx(0.25)
    assert entries[PREFLIGHT].runs == 4
    assert sum(n for _, _, n in found_calibration(rows)[PREFLIGHT]) == 12


def test_alarms_by_e_values_are_the_first_that_are_large_enough(tmp_path: Path) -> None:
    names = ["t5-V1", "t0-V1", "t7-V1"]
    simulate(names, tmp_path, SHORT)
    records, pairs, wanted = {}, [], []
    for name in names:
        run = find_run(name, SHORT)
        types = sorted(roles_of(run.base, SHORT))
        rows = [
            (step, kind, "exceeds", 9.0 if kind in types[:6] and step else 1.0, 8.0)
            for step in (0, 20)
            for kind in types
        ]
        rows += [(20, types[-1], "growth", 8.0, 8.0)]
        write_table(
            tmp_path / run.base / run.variant / EVALUES_FILE, pl.DataFrame(rows, schema=EVALUE_ROWS, orient="row")
        )
        record = read_run(tmp_path, run, SHORT)
        assert not isinstance(record, str)
        assert record.evalues is not None
        records[name] = record
        mine = pairs_of(record, base_starts(tmp_path / run.base, run.base, SHORT), SHORT)
        pairs += mine
        assert first_alarms(record.evalues, ["exceeds"], (0, 20)) == dict.fromkeys(types[:6], 2)
        assert first_alarms(record.evalues, ["growth"], (0, 20)) == {types[-1]: 2}
        wanted += [(p.exploit_type in {*types[:6], types[-1]}) and p.blind(2) for p in mine if p.eligible and p.event]
    found = {(e.method, e.figure): e.found for e in certain_entries(records, pairs, SHORT)}
    recall = found["e-values: either", "recall before V1"]
    assert recall.value == pytest.approx(np.mean(wanted))
    assert 0 < np.mean(wanted) < 1
    assert recall.low is not None
    assert recall.low <= np.mean(wanted)
