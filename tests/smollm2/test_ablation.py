"""The tables on SmolLM2 are those of the data that the repository keeps, and that data is what a study measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from forewarn.estimation.bounds import clopper_pearson
from forewarn.store import write_json
from forewarn.study import read_results, run_study
from tests.study_runner import tiny_study
from tests.tiny_world import TinyWorld

ROOT = Path(__file__).parents[2]
HERE = ROOT / "benchmarks" / "smollm2"


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(HERE))
    import ablation
    import kept

    yield ablation
    for held in (kept.truths, kept.cells, kept.plan):
        held.cache_clear()


@pytest.mark.parametrize("name", ["cells", "families", "distance", "classic"])
def test_the_page_shows_the_tables(ablation: ModuleType, name: str) -> None:
    table = "\n".join(ablation.TABLES[name]())
    assert table in (ROOT / "docs" / "real-model.md").read_text(), f"python benchmarks/smollm2/ablation.py {name}"


def test_what_donors_reach_of_the_truths_own_exploits(ablation: ModuleType) -> None:
    import reach

    page = (ROOT / "docs" / "real-model.md").read_text()
    donors = [name for name in reach.FOLDERS if (HERE / "data" / f"reach-{name}.json").exists()]
    assert "\n".join(reach.table(*donors)) in page, f"python benchmarks/smollm2/reach.py --table {' '.join(donors)}"
    for name in donors:
        held = json.loads((HERE / "data" / f"reach-{name}.json").read_text())
        for cell in reach.ORDER:
            own = [row for row in held if (row["checkpoint"], row["type"]) == cell]
            assert sum(row["count"] for row in own) == ablation.truths()[cell].hits, "every exploit of the truth, once"
            for mixture in reach.MIXTURES if name != "soft" else ("windows",):
                ratio_NS = reach.mixed(own, mixture)
                assert ratio_NS.shape == (ablation.truths()[cell].hits, len(reach.MIXTURES[mixture]))
                assert not ratio_NS[:, 0].any(), "the subject against itself"


def test_a_donors_whole_completion_weighs_all_its_tokens(ablation: ModuleType) -> None:
    import reach

    rows = [
        {"count": 2, "gaps": [0.5, -1.0, 2.0], "n_reasoning": 1},
        {"count": 1, "gaps": [-0.25, 0.75], "n_reasoning": 2},
    ]
    found = reach.mixed(rows, "both")
    assert found[:, 1] == pytest.approx([1.5, 1.5, 0.5])
    assert found[2, 2] == 0.0, "there is no answer to write a window of"
    assert found[:, 3].min() >= math.log(45 / 48), "a window that would begin behind the end is the subject's own"
    assert reach.answer(rows[0]) == (-1.0, 2)


def test_the_first_half_is_half_of_each_problem_and_span(ablation: ModuleType) -> None:
    for cell in ablation.cells():
        whole = ablation.estimate(cell, (0, 6, 7)).estimate
        half = ablation.estimate(cell, (0, 6, 7), half=True).estimate
        assert (half.n, whole.n) == (16 * 12, 16 * 24)
        assert half.n_hits <= whole.n_hits


def test_the_full_table_is_kept(ablation: ModuleType) -> None:
    assert "\n".join(ablation.full_table()) + "\n" == (HERE / "data" / "ablation.md").read_text()


def test_an_estimate_is_the_sum_of_its_weights(ablation: ModuleType) -> None:
    for cell, table in ablation.cells().items():
        spans = ablation.FAMILIES["windows alone"]
        mine = table.filter(pl.col("span").is_in(spans))
        share = np.array([8, 10, 6]) / 24
        total = 0.0
        for ratios in mine.filter(pl.col("label") == "exploit")["log_ratios"]:
            total += 1 / float(share @ np.exp([ratios[s] for s in spans]))
        found = ablation.estimate(cell, spans).estimate.log10_p
        assert mine.height == 16 * 24
        assert (found is None) == (total == 0)
        if found is not None:
            assert 10**found == pytest.approx(total / mine.height, rel=1e-9)


def test_the_counts_are_those_of_the_listed_programs(ablation: ModuleType) -> None:
    listed: dict[tuple[str, str], int] = {}
    for line in (HERE / "data" / "programs.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["label"] == "exploit":
            key = row["checkpoint"], row["type"]
            listed[key] = listed.get(key, 0) + row["count"]
    rare = {cell: truth.hits for cell, truth in ablation.truths().items() if truth.rate <= 0.1 and truth.hits}
    assert listed == rare
    for truth in ablation.truths().values():
        assert (truth.low, truth.high) == pytest.approx(clopper_pearson(truth.hits, truth.n, level=0.9), rel=1e-9)


def test_no_certificate_is_contradicted(ablation: ModuleType) -> None:
    for cell in ablation.cells():
        for spans in ablation.FAMILIES.values():
            assert not ablation.estimate(cell, spans).contradicted, (cell, spans)


def test_the_error_of_counting_is_the_median_over_counts(ablation: ModuleType) -> None:
    # mean 1: no hit 0.366, one 0.370, two 0.185; by error 0, log10(2), ...: the median is two's
    assert ablation.counting_error(0.01, 100) == pytest.approx(math.log10(2))
    assert math.isinf(ablation.counting_error(0.001, 100)), "more than half of the counts are 0"
    n, rate = 4000, 0.05
    normal = 0.6745 * math.sqrt((1 - rate) / (n * rate)) / math.log(10)
    assert ablation.counting_error(rate, n) == pytest.approx(normal, rel=0.1)


def test_what_is_kept_gives_the_study_its_estimates(
    ablation: ModuleType, world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keep
    import kept

    root, truth, data = tmp_path / "run", tmp_path / "truth", tmp_path / "data"
    run_study(tiny_study(world, count=20), root)
    results = read_results(root)
    rows = [
        {"checkpoint": "as-drawn", "step": 1, "type": cell.record.exploit_type, "n": 100, "hits": 50, "rate": 0.5}
        | {"interval": [0.4, 0.6], "weights": cell.record.receipt}
        for cell in results.cells[:1]
    ]
    other = rows[0] | {"checkpoint": "other", "step": 4, "rate": 0.05, "hits": 5, "weights": "elsewhere"}
    write_json(truth / "rates.json", {"level": 0.9, "cells": [*rows, other, other | {"type": "x", "n": 0}]})
    program = {"type": rows[0]["type"], "step": 1, "problem_id": "p", "label": "exploit", "count": 5, "code": "1"}
    lines = [program | {"checkpoint": name} for name in ("as-drawn", "other")]
    (truth / "programs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr("sys.argv", ["keep.py", str(root), str(data), f"{truth}=drawn"])
    keep.main()
    monkeypatch.setattr(kept, "DATA", data)
    for held in (kept.truths, kept.cells, kept.plan):
        held.cache_clear()
    first = results.cells[0].record
    assert set(ablation.truths()) == {(first.checkpoint_id, first.exploit_type), ("drawn-4", first.exploit_type)}
    listed = [json.loads(line)["checkpoint"] for line in (data / "programs.jsonl").read_text().splitlines()]
    assert listed == ["drawn-4"], "commoner cells' programs are not listed"
    row = ablation.estimate((first.checkpoint_id, first.exploit_type), range(len(first.spans)))
    assert results.cells[0].estimate is not None
    wanted = results.cells[0].estimate.estimate
    for name in ("n", "n_hits", "resolved", "reason", "hits_by_span"):
        assert getattr(row.estimate, name) == getattr(wanted, name)
    for name in ("log10_p", "interval_log10", "lower_bound", "upper_bound", "ess", "effective_programs"):
        assert getattr(row.estimate, name) == pytest.approx(getattr(wanted, name), rel=1e-9)
    assert row.truth.rate == 0.5
