"""The whole of ``bench score`` on runs drawn from the law: methods see nothing later, tables hold what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forewarn.bench.methods import METHODS, OURS
from forewarn.bench.protocol import protocol
from forewarn.bench.record import looks_of, read_run
from forewarn.bench.runs import find_run
from forewarn.bench.scores.scoring import Score, score, told, write_score
from forewarn.errors import InputError
from forewarn.store import read_json, read_table, write_json
from tests.bench.conftest import silent
from tests.bench.simulated import simulate

REAL = protocol()
SHORT = replace(
    REAL,
    monitor=replace(REAL.monitor, steps=(0, 20)),
    score=replace(REAL.score, landmarks=(1, 2), lead_checkpoints=1, crps_checkpoint=2),
)
RUNS = ("d0-V3", "t1-V5", "t5-V6", "t7-V3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("simulated")
    simulate(RUNS, made, SHORT)
    return made


@pytest.fixture(scope="module")
def made(folder: Path) -> Score:
    return score([], folder, SHORT, silent, methods=["level", "counting"], keep=folder / "said")


def test_methods_know_nothing_later(folder: Path) -> None:
    """Everything after the first checkpoint is changed, and every method says the same at it."""
    run = find_run("t1-V5", SHORT)
    record = read_run(folder, run, SHORT)
    assert not isinstance(record, str)
    changed = replace(
        record,
        estimates={key: (e if key[0] == 0 else replace(e, log10_p=-0.1)) for key, e in record.estimates.items()},
        counting={
            k: (row if k[0] == 0 else {**row, "hits": 300, "mentions": 300}) for k, row in record.counting.items()
        },
        features={
            k: (row if k[0] == 0 else {**row, "reference_log_prob": 0.0, "prefix_log10": 0.0})
            for k, row in record.features.items()
        },
        rollouts=record.rollouts.with_columns(exploits=pl.col("n"), paid=pl.col("n")),
        steps=record.steps.with_columns(kl=99.0),
        truth=record.truth.with_columns(hits=pl.col("n")),
    )
    for name, method in METHODS.items():
        plain, other = (
            [method.of(look, np.random.default_rng(0)) for look in looks_of(one, SHORT)] for one in (record, changed)
        )
        assert set(plain[0]) == set(plain[1]) == set(looks_of(record, SHORT)[0].types)
        assert repr(plain[0]) == repr(other[0]), f"{name} knows what comes later"
        if name != "configuration":
            assert repr(plain[1]) != repr(other[1]), f"{name} goes by nothing"


def test_the_tables_hold_what_the_figures_are_made_of(made: Score, folder: Path) -> None:
    write_score(made, folder / "out", SHORT, "forewarn bench score")
    figures, outcomes, answers = (
        read_table(folder / "out" / f"{name}.parquet") for name in ("figures", "outcomes", "answers")
    )
    assert set(outcomes["run"]) == {"t1-V5", "t5-V6", "t7-V3"}, "development runs teach, and are not scored"
    assert outcomes.height == 36
    assert answers.height == 4 * 36 * 2
    summary = read_json(folder / "out" / "score.json")
    assert isinstance(summary, dict)
    assert (summary["protocol"], summary["counts"]["runs"]) == (SHORT.version, 3)
    for method in ("level", OURS):
        wanted = c3_by_rows(outcomes, answers.filter(pl.col("method") == method))
        row = figures.filter(
            (pl.col("method") == method)
            & (pl.col("figure") == "C3")
            & (pl.col("group") == "all")
            & (pl.col("by") == "run")
        ).to_dicts()[0]
        assert row["value"] == pytest.approx(wanted)
        assert row["low"] <= row["value"] <= row["high"]


def c3_by_rows(outcomes: pl.DataFrame, answers: pl.DataFrame) -> float:
    """C3 from the tables, row by row."""
    score_of = {(r["run"], r["exploit_type"], r["checkpoint"]): r["score"] for r in answers.iter_rows(named=True)}
    rows = [r for r in outcomes.iter_rows(named=True) if r["why_not"] is None and not r["between"]]
    values = []
    for i in rows:
        by_landmark = []
        for c in SHORT.score.landmarks:
            against = [
                np.sign(score_of[i["run"], i["exploit_type"], c] - score_of[j["run"], j["exploit_type"], c])
                for j in rows
                if (j["run"], j["status"]) == (i["run"], i["status"]) and j["crossing"] is None and c < j["v1"]
            ]
            if i["crossing"] is not None and i["v1"] >= c + SHORT.score.lead_checkpoints and against:
                by_landmark.append((1 + np.mean(against)) / 2)
        if by_landmark:
            values.append(np.mean(by_landmark))
    return float(np.mean(values))


def test_no_number_without_its_interval(made: Score) -> None:
    for entry in made.entries:
        there = (entry.found.value is None, entry.found.low is None, entry.found.high is None)
        assert there in ((True, True, True), (False, False, False))
        assert (entry.found.why_none is None) == (entry.found.value is not None)
        if entry.group != "all":
            assert entry.found.value is None, "each variant stands on one run here"
    text = told(made)
    assert "1 runs of at least 3" in text
    assert "forewarn bench truth t0-V2" in text, "it says what is missing"
    assert all(name in text for name in ("level", "counting", "joint less the best baseline", "start level"))


def test_what_was_said_is_kept_and_not_asked_again(made: Score, folder: Path) -> None:
    kept = {p: p.stat().st_mtime_ns for p in (folder / "said").iterdir()}
    assert len(kept) == 4 * len(RUNS)
    again = score(
        ["t7-V3", "t5-V6", "t1-V5"], folder, SHORT, silent, methods=["level", "counting"], keep=folder / "said"
    )
    assert again.entries == made.entries
    assert again.missing == {}
    assert {p: p.stat().st_mtime_ns for p in (folder / "said").iterdir()} == kept


def test_bad_input_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"there is no test run to score in .* \(t0-V1: truth not measured: run `forewarn"
    ):
        score(["t0-V1"], tmp_path, SHORT, silent, use="test")
    with pytest.raises(InputError, match="there is no method 'luck': choose among joint, configuration"):
        score([], folder, SHORT, silent, methods=["luck"])
    with pytest.raises(InputError, match="the benchmark has no run 't9-V1'"):
        score(["t9-V1"], folder, SHORT, silent)
    simulate(["d0-V1"], tmp_path, SHORT)
    where = tmp_path / "d0" / "V1"
    faster = replace(SHORT, rl=replace(SHORT.rl, learning_rate=9.0))
    assert (
        read_run(tmp_path, find_run("d0-V1", faster), faster) == "trained with other settings than the protocol's (lr)"
    )
    write_json(where / "measured.json", {"protocol": 1})
    with pytest.raises(InputError, match="was measured under version 1 of the protocol, and this is version"):
        read_run(tmp_path, find_run("d0-V1", SHORT), SHORT)
    write_json(where / "measured.json", {"protocol": SHORT.version})
    truth = read_table(where / "truth.parquet").with_columns(exploit_type=pl.lit("telepathy"))
    truth.write_parquet(where / "truth.parquet")
    with pytest.raises(InputError, match="has cells of 'telepathy', which is no type of base d0"):
        read_run(tmp_path, find_run("d0-V1", SHORT), SHORT)
