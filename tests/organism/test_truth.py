"""Truth: chunks that resume, a stop at hits, counts by hand, the choice of deep cells, and the tables of the verb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from scipy.stats import beta

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.judge.judge import Judge
from forewarn.organism import truth, verbs
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import measured_problems
from forewarn.organism.shipped import Organism
from forewarn.organism.truth import (
    ROW,
    Effort,
    TruthCell,
    fill_cell,
    hits_of,
    mention_position,
    sample_chunk,
    summarize,
)
from forewarn.organism.verbs import DEEP_BELOW, N_DEEP, deep_cells, truth_cells
from forewarn.records import Policy
from forewarn.store import Shards
from tests.organism.conftest import TINY, quiet

TYPE = "error_code_abuse"
FEW = 4
"""completions a problem here, for speed: a chunk is 80"""
CHUNK = FEW * truth.N_PROBLEMS
CELL = TruthCell("rl", 200, TYPE, "rl", "weights")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "PER_PROBLEM", FEW)


@pytest.fixture
def fill(
    engine: HFEngine, chat: OrganismChat, judge: Judge, shipped: Organism, few: None
) -> Iterator[Callable[..., int]]:
    """``fill_cell`` on the last RL checkpoint, where nearly every completion is a hit."""
    engine.load_adapter("rl", shipped.adapter("rl", 200))
    yield partial(fill_cell, engine=engine, chat=chat, policy=Policy(max_total_tokens=64), judge=judge)
    engine.drop_adapter("rl")


def test_a_cell_resumes_chunk_by_chunk(fill: Callable[..., int], tmp_path: Path) -> None:
    whole, broken = Shards(tmp_path / "whole"), Shards(tmp_path / "broken")
    effort = Effort(2 * CHUNK, hits=10**9)
    assert effort.chunks == 2
    hits = fill(CELL, effort, whole)
    assert hits == sum(hits_of(whole.read(key)) for key in whole.keys())  # noqa: SIM118
    assert hits > CHUNK / 2

    assert fill(CELL, Effort(CHUNK, hits=10**9), broken) < hits
    assert list(broken.keys()) == [CELL.chunk_key(0)]
    first = broken.path(CELL.chunk_key(0))
    kept = first.stat().st_mtime_ns
    assert fill(CELL, effort, broken) == hits
    assert first.stat().st_mtime_ns == kept, "what is there is not drawn again"
    assert list(broken.keys()) == list(whole.keys())
    for key in whole.keys():  # noqa: SIM118
        assert broken.read(key).equals(whole.read(key)), "a chunk is a function of checkpoint, type and number"
    chunks = [whole.read(CELL.chunk_key(i)) for i in range(2)]
    assert not chunks[0].equals(chunks[1])


def test_a_cell_stops_at_its_hits(fill: Callable[..., int], tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    hits = fill(CELL, Effort(50 * CHUNK, hits=5), shards)
    assert hits >= 5
    assert list(shards.keys()) == [CELL.chunk_key(0)]
    assert fill(CELL, Effort(50 * CHUNK, hits=5), shards) == hits


def test_a_chunk_holds_what_was_accepted_with_its_counts(
    engine: HFEngine, chat: OrganismChat, judge: Judge, few: None
) -> None:
    cell = replace(CELL, run="base", step=0, adapter=None)
    chunk = sample_chunk(cell, 0, engine=engine, chat=chat, policy=Policy(max_total_tokens=64), judge=judge)
    assert dict(chunk.schema) == ROW
    drawn = chunk.filter(pl.col("label") == "drawn")
    assert drawn["count"].to_list() == [CHUNK]
    accepted = chunk.filter(pl.col("label") != "drawn")
    assert "failed" not in accepted["label"].to_list()
    assert accepted["count"].sum() > 0, "easy tasks are solved by the base"
    assert (accepted["n_mentioned"] <= accepted["count"]).all()
    by_id = {p.problem_id: p for p in measured_problems(TYPE)}
    verdicts = judge.verdicts([(by_id[r["problem_id"]], r["code"]) for r in accepted.iter_rows(named=True)])
    assert [v.label for v in verdicts] == accepted["label"].to_list()


def test_the_first_mention() -> None:
    assert mention_position("I need the sum. try the sum.") is None
    assert mention_position("checker") == 0
    assert mention_position("at the checker") == pytest.approx(0.5)
    assert mention_position("") is None


def handmade(*rows: tuple[str, str, str, int, int, float]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ROW, orient="row")


def test_summaries_count_right(tmp_path: Path, few: None) -> None:
    shards = Shards(tmp_path)
    a, b, c, d = (TruthCell("rl", step, TYPE, None, "w") for step in (1, 2, 3, 4))
    drawn = ("", "", "drawn", CHUNK, 0, 0.0)
    shards.write(
        a.chunk_key(0),
        handmade(
            ("p1", "x", "exploit", 3, 2, 0.5),
            ("p2", "x", "exploit", 1, 0, 0.0),
            ("p1", "y", "solved", 9, 0, 0.0),
            drawn,
        ),
    )
    shards.write(a.chunk_key(1), handmade(("p1", "x", "exploit", 2, 1, 0.1), ("p1", "z", "invalid", 4, 0, 0.0), drawn))
    shards.write(b.chunk_key(0), handmade(("p1", "x", "exploit", 7, 0, 0.0), drawn))
    shards.write(b.chunk_key(1), handmade(("p1", "x", "exploit", 50, 0, 0.0), drawn))  # past the stop
    shards.write(d.chunk_key(0), handmade(drawn))
    shards.write(d.chunk_key(2), handmade(("p1", "x", "exploit", 1, 0, 0.0), drawn))  # after a gap: not reached
    efforts = [Effort(5 * CHUNK), Effort(5 * CHUNK, hits=7), Effort(CHUNK), Effort(5 * CHUNK)]
    rates, programs = summarize([a, b, c, d], efforts, shards)
    rows = {row["step"]: row for row in rates.iter_rows(named=True)}
    assert rows.keys() == {1, 2, 4}, "a cell without chunks is missing, not zero"
    assert (rows[1]["n"], rows[1]["hits"], rows[1]["n_invalid"]) == (2 * CHUNK, 6, 4)
    assert rows[1]["hits_by_chunk"] == [4, 2]
    assert rows[1]["n_mentioned"] == 3
    assert rows[1]["mean_position"] == pytest.approx(0.2)
    assert (rows[2]["n"], rows[2]["hits"], rows[2]["mean_position"]) == (CHUNK, 7, None)
    assert (rows[4]["n"], rows[4]["hits"], rows[4]["lo"]) == (CHUNK, 0, 0.0)
    for row in rows.values():
        n, k = row["n"], row["hits"]
        assert row["hi"] == pytest.approx(beta.ppf(0.95, k + 1, n - k))
        assert k == 0 or row["lo"] == pytest.approx(beta.ppf(0.05, k, n - k + 1))
    counts = Counter({(r["step"], r["problem_id"], r["code"], r["label"]): r["count"] for r in programs.to_dicts()})
    assert counts == {
        (1, "p1", "x", "exploit"): 5,
        (1, "p2", "x", "exploit"): 1,
        (1, "p1", "y", "solved"): 9,
        (1, "p1", "z", "invalid"): 4,
        (2, "p1", "x", "exploit"): 7,
    }


def test_a_late_first_mention_does_not_break_the_table(tmp_path: Path, few: None) -> None:
    shards = Shards(tmp_path)
    cells = [TruthCell("rl", step, TYPE, None, "w") for step in range(150)]
    for cell in cells:
        mentioned = int(cell.step == 149)
        row = ("p", "x", "exploit", 1, mentioned, 0.5 * mentioned)
        shards.write(cell.chunk_key(0), handmade(row, ("", "", "drawn", CHUNK, 0, 0.0)))
    rates, _ = summarize(cells, [Effort(CHUNK)] * 150, shards)
    assert rates["mean_position"].to_list() == [None] * 149 + [0.5]
    nothing, _ = summarize(cells[:3], [Effort(CHUNK)] * 3, shards)
    assert nothing.schema == rates.schema


def test_nothing_drawn_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chunk of these cells has been drawn"):
        summarize([CELL], [Effort(CHUNK)], Shards(tmp_path))


def test_a_damaged_chunk_is_one_sentence(fill: Callable[..., int], tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.path(CELL.chunk_key(0)).write_bytes(b"PAR1 cut short")
    with pytest.raises(StoreError, match="delete it and run the same command again"):
        fill(CELL, Effort(CHUNK), shards)


def test_deep_cells_are_hit_but_rare_and_spread_over_types() -> None:
    n = 20_480

    def row(run: str, step: int, name: str, hits: int, drawn: int = n) -> dict[str, object]:
        return {"run": run, "step": step, "exploit_type": name, "n": drawn, "hits": hits}

    no = [
        row("rl", 4, "never", 0),
        row("rl", 4, "common", 200, 5000),
        row("rl", 4, "enough", 40),
        row("rl", 4, "stopped early", 3, n - 1280),
        row("rl", 4, "at the limit", int(DEEP_BELOW * n) + 1),
    ]
    few = [row("rl", 6, "a", 3), row("rl", 4, "a", 39), row("control", 4, "a", 1), row("rl", 9, "b", 1)]
    assert deep_cells(pl.DataFrame(no + few), n) == {
        ("rl", 6, "a"),
        ("rl", 4, "a"),
        ("control", 4, "a"),
        ("rl", 9, "b"),
    }
    many = [row(run, step, name, 5) for name in "abcdefg" for run in ("control", "rl") for step in (4, 6, 9)]
    chosen = deep_cells(pl.DataFrame(many), n)
    assert len(chosen) == N_DEEP
    firsts = {(run, 4, name) for run in ("rl", "control") for name in "abcdefg"}
    assert firsts <= chosen, "every type's first checkpoint before any type's second"
    assert chosen - firsts == {("rl", 6, name) for name in "abcdef"}, "the RL run's before the control's"
    assert deep_cells(pl.DataFrame(no), n) == set()


def test_cells_of_an_organism(shipped: Organism) -> None:
    cells = truth_cells(shipped, ["rl", "control"], None, [TYPE, "process_exit"])
    assert len(cells) == 2 * 2 * 12
    assert len({c.chunk_key(0) for c in cells}) == len(cells)
    assert all((shipped.folder / str(c.adapter) / "adapter_model.safetensors").exists() for c in cells)
    [one] = truth_cells(shipped, ["rl"], [13], [TYPE])
    assert (one.run, one.step, one.adapter) == ("rl", 13, "rl/step-0013")
    assert one.chunk_key(0) != replace(one, weights_key="other weights").chunk_key(0)
    for runs, steps, types, message in (
        (["nonsense"], None, [TYPE], "no run 'nonsense': choose among rl, control"),
        (["rl", "nonsense"], None, [TYPE], "no run 'nonsense'"),
        (["rl"], [13, 14], [TYPE], "no checkpoint at step 14: choose among 4, 6, 9"),
        (["rl"], None, ["nonsense"], "knows no exploit type 'nonsense'"),
    ):
        with pytest.raises(InputError, match=message):
            truth_cells(shipped, runs, steps, types)


def test_no_truth_without_checkpoints(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no checkpoint of rl, control"):
        verbs.measure_truth(TINY, tiny_folder, tmp_path / "shards", quiet)
    with pytest.raises(ModelError, match="run `forewarn organism build` first"):
        verbs.measure_truth(TINY, tmp_path / "nowhere", tmp_path / "shards", quiet)
    assert not (tmp_path / "shards").exists()
