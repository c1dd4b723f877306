"""``forewarn plan``: predictions come true on the tiny world, a pilot enters no estimate, planned files are read."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.estimation.allocation import SHARE_OWN, UNIFORM, PilotHits
from forewarn.problems.assemble import assemble
from forewarn.records import Policy, RandomWindows, Span
from forewarn.store import RunFolder
from forewarn.study import (
    LoadedStudy,
    Machine,
    PlannedSpan,
    Sandboxing,
    Study,
    estimate_run,
    load_study,
    read_cells,
    read_completions,
    read_results,
    run_study,
)
from forewarn.study.pilot.plan import Plan, SpanFigure, plan_from, plan_study
from forewarn.study.pilot.rounds import PilotCell
from forewarn.study.pilot.shares import counts_of, least_completions, merged_shares, neighbours
from forewarn.study.pilot.write import planned_file
from tests.command import Said
from tests.study_runner import TINY_FILE, tiny_study
from tests.tiny_world import EXPLOIT_TYPE, TinyWorld

SEEDS = (0, 1, 2)


def planned(study: Study, plan: Plan) -> Study:
    counts = plan.counts(EXPLOIT_TYPE)
    return replace(study, spans=tuple(PlannedSpan(one.span, counts[one.span.name]) for one in study.spans))


def test_the_predicted_width_is_what_the_planned_study_gets(world: TinyWorld, tmp_path: Path) -> None:
    ratios = []
    for seed in SEEDS:
        study = tiny_study(world, seed=seed)
        root = tmp_path / str(seed)
        plan = plan_study(LoadedStudy(study, Machine(), Sandboxing(), b""), root / "pilot", width=0.3)
        assert plan.completions == 2 * 600
        assert plan.seconds is not None
        assert plan.seconds > 0
        assert plan.peak_bytes is not None
        assert plan.peak_bytes > 1e8, "torch is loaded"
        counts = plan.counts(EXPLOIT_TYPE)
        assert counts["k0m3:donor"] == max(counts.values()), "the one span that brings exploits"
        assert counts["brute"] >= SHARE_OWN * 300
        assert all(cell.needed is not None and cell.needed < 600 for cell in plan.cells)
        for cell, got in zip(plan.cells, run_study(planned(study, plan), root / "run"), strict=True):
            low, high = got.estimate.interval_log10 or (0.0, 0.0)
            assert cell.prediction.width is not None
            ratios.append(cell.prediction.width / (high - low))
    # what is far off is a pilot that has not seen the rare route which one completion of the study then took
    assert 2 / 3 < np.median(ratios) < 3 / 2, ratios
    assert sum(0.5 < ratio < 2 for ratio in ratios) >= len(ratios) / 2, ratios


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_plan_from_a_file(home: Path, said: Said) -> None:
    code, out, err = said("plan", "study.toml", "--width", "0.3", "--out", "planned.toml")
    assert code == 0, err
    for words in ("k0m3:donor", "for 0.3 decades", "Planned: 72 completions", "GB of memory", "runs/tiny-pilot"):
        assert words in out
    text = (home / "planned.toml").read_text()
    for remark in ("# my study, with remarks", "# brute force", "# the program's three tokens"):
        assert remark in text
    loaded = load_study(home / "planned.toml")
    assert loaded.study.name == "tiny-planned"
    assert sum(one.count for one in loaded.study.spans) == 36
    assert {one.span for one in loaded.study.spans} == {one.span for one in load_study(home / "study.toml").study.spans}

    # the same command draws nothing again, also with another budget, and says the same
    pilot = home / "runs" / "tiny-pilot"
    before = listing(pilot / "round-2" / "completions")
    costs = (pilot / "cost.json").read_bytes()
    assert said("plan", "study.toml", "--width", "0.3", "--out", "planned.toml")[:2] == (code, out)
    code, out, _ = said("plan", "study.toml", "--budget", "200", "--json")
    found = json.loads(out)
    assert sum(one["count"] for one in found["spans"]) == 100
    assert (listing(pilot / "round-2" / "completions"), (pilot / "cost.json").read_bytes()) == (before, costs)

    # what was cut off is drawn again, and nothing else is
    shards = RunFolder(pilot / "round-2").shards("completions")
    shards.path(next(iter(shards.keys()))).unlink()
    assert said("plan", "study.toml", "--budget", "200", "--json")[0] == 0
    assert listing(pilot / "round-2" / "completions") == before

    code, _, err = said("plan", "study.toml", "--budget", "2000", "--out", "planned.toml")
    assert code == 2
    assert "planned.toml exists and has other contents" in err
    assert (home / "planned.toml").read_text() == text
    code, _, err = said("plan", "study.toml", "--pilot", "50")
    assert code == 2
    assert "holds a pilot of another size" in err


def test_a_pilot_enters_no_estimate(home: Path, said: Said) -> None:
    assert said("plan", "study.toml", "--pilot", "20")[0] == 0
    pilot = home / "runs" / "tiny-pilot"
    for folder in (pilot, pilot / "round-1", pilot / "round-2"):
        assert json.loads((folder / "manifest.json").read_text())["purpose"] == "pilot"
        before = listing(folder)
        for verb in (("estimate",), ("forecast",), ("report",), ("show",), ("run", "study.toml", "--run-folder")):
            code, out, err = said(*verb, folder)
            assert (code, out, err.count("\n")) == (2, "", 1), verb
            assert "is a pilot, drawn to plan a study, and its completions never enter an estimate" in err
        assert listing(folder) == before
        for read in (estimate_run, read_results, read_cells):
            with pytest.raises(InputError, match="never enter an estimate"):
                read(folder)
    assert said("run", "study.toml")[0] == 0
    drawn = {name: set(read_completions(folder)["completion_id"]) for name, folder in
             (("study", home / "runs" / "tiny"), ("1", pilot / "round-1"), ("2", pilot / "round-2"))}  # fmt: skip
    assert len(set.union(*drawn.values())) == sum(map(len, drawn.values())), "no completion is in two of them"
    code, _, err = said("plan", "study.toml", "--run-folder", "runs/tiny")
    assert code == 2
    assert "runs/tiny holds a study's measurements: give the pilot a folder of its own" in err


def test_a_pilot_without_hits_says_so_and_keeps_equal_shares(home: Path, said: Said) -> None:
    (home / "study.toml").write_text(
        TINY_FILE.replace('path = "donor"', 'path = "base"').replace('base = "base"\n', "")
    )
    code, out, err = said("plan", "study.toml", "--pilot", "6", "--width", "0.3", "--out", "planned.toml")
    assert code == 0, err
    assert f"{EXPLOIT_TYPE}: the pilot has no hit, so its spans keep equal shares and nothing is predicted" in out
    assert {one.count for one in load_study(home / "planned.toml").study.spans} == {12}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--out", "study.toml"), "is the study's own file"),
        (("--out", "elsewhere/planned.toml"), "is in another folder than"),
        (("--width", "-1"), "width is -1.0: give a value above 0"),
        (("--width", "nan"), "width is nan: give a value above 0"),
        (("--run-folder", "precious"), "precious has other contents and is not a pilot"),
        (("--run-folder", "problems.jsonl"), "has other contents and is not a pilot"),
    ],
)
def test_bad_input_is_one_sentence_and_loses_nothing(home: Path, said: Said, more: tuple[str, ...], words: str) -> None:
    (home / "precious").mkdir()
    (home / "precious" / "chapter.txt").write_text("years of work")
    before = listing(home)
    code, _, err = said("plan", "study.toml", *more)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err
    assert listing(home) == before


def without_hits(study: Study) -> list[PilotCell]:
    n_span = len(study.spans)
    empty = PilotHits(np.zeros((0, n_span)), np.zeros(0), 10 * n_span)
    return [
        PilotCell(c.checkpoint.model_id, c.checkpoint.step, c.exploit_type, empty, np.zeros(0, dtype=np.int64),
                  np.full(n_span, 10), np.full(n_span, 40.0))
        for c in study.cells()
    ]  # fmt: skip


def test_without_hits_shares_are_equal_and_nothing_is_predicted(world: TinyWorld) -> None:
    study = tiny_study(world)
    plan = plan_from(study, without_hits(study), [], budget=None, width=0.5)
    assert set(plan.counts(EXPLOIT_TYPE).values()) == {60}
    for cell in plan.cells:
        assert (cell.prediction.width, cell.prediction.ess, cell.needed) == (None, None, None)
    assert (plan.seconds, plan.peak_bytes) == (None, None)
    assert {one.contribution for one in plan.spans} == {None}


def one_hit(place: int, n_span: int) -> PilotHits:
    ratio = np.full((1, n_span), -np.inf)
    ratio[0, [0, place]] = 0.0, 8.0
    return PilotHits(ratio, np.array([-8.0]), 100)


def test_checkpoints_weigh_alike_and_one_without_hits_counts_with_equal_shares() -> None:
    spans = (Span(), Span(0, 1, "a"), Span(0, 1, "b"), Span(0, 1, "c"))
    a, b, none = one_hit(1, 4), one_hit(2, 4), PilotHits(np.zeros((0, 4)), np.zeros(0), 100)
    both = merged_shares([a, b], spans, None)
    assert both == pytest.approx((merged_shares([a], spans, None) + merged_shares([b], spans, None)) / 2)
    assert both[1] == pytest.approx(both[2])
    assert merged_shares([none], spans, None) == pytest.approx([0.25] * 4)
    assert merged_shares([a, none], spans, None)[3] > merged_shares([a], spans, None)[3]
    dear = merged_shares([a], spans, np.array([1.0, 9.0, 1.0, 1.0]))
    assert dear[1] < merged_shares([a], spans, None)[1]


def test_neighbouring_windows_of_one_donor_share_what_a_pilot_saw() -> None:
    def window(first: int, donor: str = "d") -> Span:
        return Span(0, first + 8, donor, m0=first)

    spans = (Span(), window(16), window(0), window(8, "e"), window(8), Span(8, 0, "d"), window(40))
    order, group = neighbours(spans)
    assert order[0] == 0
    mine = [int(i) for i in order if spans[i].donor == "d" and spans[i].m]
    assert mine == [2, 4, 1, 6], "in the order of their starts"
    assert len({int(group[list(order).index(i)]) for i in mine}) == 1
    share = merged_shares([one_hit(2, len(spans))], spans, None)
    assert share[4] > 2 * share[3], "the neighbour, and not the same window of another donor"
    assert share[6] == pytest.approx(share[3])
    random = [Span(0, 0, "d", random=RandomWindows(mean=mean)) for mean in (8, 2, 4)]
    order, _ = neighbours((Span(), *random))
    assert order.tolist() == [0, 2, 3, 1]


@given(st.integers(1, 30), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_counts_are_whole_and_brute_force_keeps_its_floor(n_span: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rest = rng.dirichlet(np.full(n_span, 0.3)) * (1 - UNIFORM - SHARE_OWN) + UNIFORM / n_span
    share = rest / rest.sum() * (1 - SHARE_OWN)
    share[0] += SHARE_OWN
    count = counts_of(share, n)
    assert count.sum() == n
    assert count[0] >= max(1, SHARE_OWN * n - 1e-9)
    assert (count.min() >= 1) == (n >= least_completions(n_span)), "left out only where one completion each is too much"
    if count.min() == 0:
        assert share[1:][count[1:] == 1].min(initial=1) >= share[1:][count[1:] == 0].max()


def test_spans_with_other_counts_for_other_types_are_listed_by_type() -> None:
    wanted_types = ("mock_functionality_replacement", "process_exit", "test_skipping")
    problems = tuple(p for p in assemble() if p.exploit_type in wanted_types)
    types = tuple(dict.fromkeys(p.exploit_type for p in problems))
    spans = (
        PlannedSpan(Span(), 8),
        PlannedSpan(Span(0, 2, "d"), 8),
        PlannedSpan(Span(0, 9, "d"), 8, types[:2]),
        PlannedSpan(Span(5, 0, "d"), 8, types[2:]),
    )
    study = Study(
        "s",
        problems,
        (ModelSource("c", "c"),),
        (ModelSource("d", "d", "d"),),
        spans,
        Policy(max_total_tokens=99),
        0,
    )
    counts = {
        types[0]: {"brute": 4, "k0m2:d": 6, "k0m9:d": 3},
        types[1]: {"brute": 4, "k0m2:d": 7, "k0m9:d": 5},
        types[2]: {"brute": 4, "k0m2:d": 6, "k5m0:d": 0},
    }
    figures = [
        SpanFigure(t, name, 1, 1.0, 0, None, None, 0.1, n) for t, own in counts.items() for name, n in own.items()
    ]
    plan = Plan(tuple(figures), (), None, 0, 0.0, None, None)
    listed = ("count = 8", "m = 2\ncount = 8", f"m = 9\ncount = 8\ntypes = {list(types[:2])}", "k = 5\ncount = 8")
    tables = "".join(f"[[spans]]  # span {i}\n{one}\n\n" for i, one in enumerate(listed))
    inline = "spans = [\n" + "".join("  { " + one.replace("\n", ", ") + " },\n" for one in listed) + "]\n"
    wanted = [
        {"count": 4},
        {"m": 2, "count": 6, "types": [types[0], types[2]]},
        {"m": 2, "count": 7, "types": [types[1]]},
        {"m": 9, "count": 3, "types": [types[0]]},
        {"m": 9, "count": 5, "types": [types[1]]},
    ]
    text = planned_file(f'name = "s" # mine\n{tables}[policy]\ntop_p = 1.0\n'.encode(), study, plan)
    found = tomllib.loads(text)
    assert (found["name"], found["policy"]) == ("s-planned", {"top_p": 1.0})
    assert found["spans"] == wanted
    assert "# mine" in text
    assert "# span 0" in text
    assert "# span 1" in text
    assert tomllib.loads(planned_file(f'name = "s"\n{inline}'.encode(), study, plan))["spans"] == wanted
