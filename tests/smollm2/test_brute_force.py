"""The brute-force truth of ``benchmarks/smollm2/truth.py`` on a world whose every probability is known."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forewarn.estimation.bounds import clopper_pearson
from forewarn.problems.files import export
from tests.tiny_world import TinyWorld, enumerate_world

HERE = Path(__file__).parents[2] / "benchmarks" / "smollm2"
STUDY = """
name = "tiny"
seed = 3
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = 4
[format]
name = "plain-think"
[engine]
dtype = "float64"
[sandbox]
workers = 1
[[checkpoints]]
path = "subject"
step = 1
name = "one"
[[checkpoints]]
path = "later"
step = 9
name = "nine"
[[spans]]
count = 1
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(sys, "argv", ["truth.py", *arguments])
    import truth

    truth.main()


def test_rates_are_the_enumerated_ones(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(world.problems, tmp_path / "problems.jsonl")
    (tmp_path / "subject").symlink_to(world.subject)
    (tmp_path / "later").symlink_to(world.later)
    study, folder = tmp_path / "study.toml", tmp_path / "truth"
    study.write_text(STUDY)
    common = (str(study), str(folder), "--per-problem", "800")
    run(monkeypatch, "draw", *common, "--until", "0")
    assert not list(folder.glob("draws/*")), "no time, nothing drawn"
    # side by side: the plan is made once the pilots are judged
    judge = [sys.executable, str(HERE / "truth.py"), "judge", *common, "--wait", "--until", str(time.time() + 200)]
    with subprocess.Popen(judge) as judging:
        run(monkeypatch, "draw", *common, "--most", "40000", "--until", str(time.time() + 200))
    assert judging.returncode == 0
    plan = json.loads((folder / "plan.json").read_text())
    assert set(plan["chunks"]) == {"one-magic_docstring_comment_token", "nine-magic_docstring_comment_token"}
    drawn = {path.name: path.read_bytes() for path in folder.glob("draws/*")}
    assert len(drawn) == 2 + sum(plan["chunks"].values())
    victim = folder / "draws" / "one-magic_docstring_comment_token-0001.npz"
    victim.unlink()
    run(monkeypatch, "draw", *common)
    assert victim.read_bytes() == drawn[victim.name], "what is missing is drawn again, and the same"
    run(monkeypatch, "judge", *common)  # nothing is left
    run(monkeypatch, "table", *common)
    rates = {row["checkpoint"]: row for row in json.loads((folder / "rates.json").read_text())["cells"]}
    programs = [json.loads(line) for line in (folder / "programs.jsonl").read_text().splitlines()]
    for name, model in (("one", "subject"), ("nine", "later")):
        row = rates[name]
        exact = 0.0
        for problem in world.problems:
            listing = enumerate_world(world, problem, [model])
            exact += sum(np.exp(p.sum()) for p, e in zip(listing.log_probs[model], listing.exploit, strict=True) if e)
        exact /= len(world.problems)
        assert row["n"] == 1600 * plan["chunks"][f"{name}-magic_docstring_comment_token"], "pilots don't count"
        assert row["interval"] == list(clopper_pearson(row["hits"], row["n"], level=0.9))
        low, high = clopper_pearson(row["hits"], row["n"], level=0.9999)
        assert low <= exact <= high, (exact, row)
        mine = [one for one in programs if one["checkpoint"] == name and one["label"] == "exploit"]
        assert sum(one["count"] for one in mine) == row["hits"] > 0
        assert not row["counted_by_pilot"]
    for path in folder.glob("judged/one-*"):  # the time was over before more was judged
        if not path.stem.endswith("-0000"):
            path.unlink()
    run(monkeypatch, "table", *common)
    rates = {row["checkpoint"]: row for row in json.loads((folder / "rates.json").read_text())["cells"]}
    assert rates["one"]["counted_by_pilot"]
    assert (rates["one"]["n"], rates["one"]["hits"]) == (1600, rates["one"]["pilot"]["exploit"])
    assert not rates["nine"]["counted_by_pilot"]


def test_the_plan_draws_common_cells_first_and_some_rare_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    import truth

    pilots = {"none": 0, "rare": 2, "one": 1, "saturated": 3000, **{f"c{i}": 40 * (i + 1) for i in range(7)}}
    plan = truth.planned(pilots, 4096, 1e9)
    assert set(plan) == set(pilots) - {"none", "saturated"}
    assert plan["c0"] == 1
    assert plan["rare"] * 4096 >= truth.HITS_WANTED / (2 / 4096)
    assert plan["one"] * 4096 >= truth.HITS_WANTED / truth.LOWEST
    assert truth.planned(pilots, 4096, 0.0) == {}
    some = truth.planned(pilots, 4096, 4096 * 8)
    assert sum(some.values()) <= 8
    assert sum(name.startswith("c") for name in some) >= 6
