"""A donor by RL on a real tiny model: its seeds, its rollouts that enter no estimate, and estimates made with it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.problems.files import export
from forewarn.study import read_cells
from forewarn.study.donors.refined import REFINEMENT_FILE
from forewarn.training.donor_reward import read_rollouts
from tests.command import Said
from tests.test_refine_donor import FILE as REFINED
from tests.tiny_world import EXPLOIT_TYPE, HEAD, MAGIC, POLICY, THINK, ZERO, TinyWorld, enumerate_world

pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL's and transformers' own affairs

RL = """
[[donors]]
name = "rl"
path = "rl"
base = "base"
[donors.refinement]
examples = 32
epochs = 6.0
learning_rate = 2e-2
rank = 4
[donors.refinement.rl]
start = "refined"
seeds = 3
steps = 15
batch_size = 64
group = 32
learning_rate = 5e-3
"""
SPANS = """[[spans]]
count = 4
[[spans]]
k = "inf"
m = "inf"
donor = "refined"
count = 4
"""
WITH_SEEDS = """
[[donors]]
name = "seed-2"
path = "rl/seed-2"
base = "base"
[[spans]]
count = 100
[[spans]]
k = "inf"
m = "inf"
donor = "rl"
count = 150
[[spans]]
k = "inf"
m = "inf"
donor = "seed-2"
count = 50
"""
assert SPANS in REFINED
FILE = REFINED.replace(SPANS, RL + SPANS)
ROUTES = {"announced": (THINK, HEAD + MAGIC), "plain": ("", HEAD + MAGIC + ZERO)}
"""the two commonest exploits of the subject: 54 % and 25 % of its mass"""


@pytest.fixture(scope="module")
def home(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for name, folder in (("base", world.subject), ("later", world.later), ("donor", world.donor)):
        shutil.copytree(folder, home / name)
    export(world.problems, home / "problems.jsonl")
    (home / "study.toml").write_text(FILE)
    return home


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def trained(said: Said) -> str:
    """The command's words; what is there already is left alone."""
    assert said("refine-donor", "study.toml", "--donor", "refined")[0] == 0
    code, out, err = said("refine-donor", "study.toml", "--donor", "rl")
    assert code == 0, err
    return out


def shares(world: TinyWorld, adapter: Path) -> dict[str, float]:
    """The exact part of a donor's exploits that each route has, on one problem."""
    problem = world.problems[0]
    listed = enumerate_world(world, problem, [])
    engine = HFEngine.from_folder(world.subject, dtype=torch.float64)
    engine.load_adapter("donor", adapter)
    hits = [ids for ids, hit in zip(listed.completions, listed.exploit, strict=True) if hit]
    prompt = world.channels.prompt_ids(problem.question)
    scores = engine.score([prompt] * len(hits), hits, policy=POLICY, adapter="donor")
    mass = {ids: math.exp(score.sum()) for ids, score in zip(hits, scores, strict=True)}
    return {name: mass[route(world, name)] / sum(mass.values()) for name in ROUTES}


def route(world: TinyWorld, name: str) -> tuple[int, ...]:
    return tuple(world.channels.reasoning_ids(world.problems[0].question, *ROUTES[name])[1])[:4]


def test_later_seeds_look_where_the_first_does_not_and_the_donor_covers_both(
    home: Path, world: TinyWorld, said: Said
) -> None:
    out = trained(said)
    root = home / "runs" / "tiny-rl-rl"
    seeds = [read_rollouts(root / f"seed-{i}" / "rollouts.jsonl") for i in (1, 2, 3)]
    assert [len(rollouts) for rollouts in seeds] == [15 * 64] * 3
    first, donor = shares(world, home / "rl" / "seed-1"), shares(world, home / "rl")
    assert first["announced"] > 10 * first["plain"], "the first seed all but collapses onto one route"
    assert all(one.paid == one.is_hit for one in seeds[0])
    second = {name: [one.paid for one in seeds[1] if one.token_ids == route(world, name)] for name in ROUTES}
    assert not any(second["announced"])
    assert all(second["plain"]), "the second is paid for what the first lacks, and for nothing that it has"
    assert len(second["plain"]) > 2
    assert min(donor.values()) > 0.03, "fitted to the hits of all seeds"
    held = json.loads((home / "rl" / REFINEMENT_FILE).read_text())
    assert held["found"] == {EXPLOIT_TYPE: sum(one.is_hit for rollouts in seeds for one in rollouts)}
    for number, rollouts in enumerate(seeds, 1):
        kept = held["seeds"][number - 1]
        hits, paid = (sum(bool(getattr(one, name)) for one in rollouts) for name in ("is_hit", "paid"))
        assert (kept["n_hits"], kept["n_paid"]) == (hits, paid)
        assert f"rl, seed {number}: {hits} exploits in 960 rollouts, {paid} of them on routes" in out
    assert 0.1 < held["seeds"][0]["hit_rate"] < 0.6, "the band, or near it"
    told = torch.load(root / "seed-1" / "checkpoint-15" / "training_args.bin", weights_only=False)
    assert (told.scale_rewards, told.loss_type, told.beta) == ("none", "dr_grpo", 0.0)


def test_the_rollouts_enter_no_estimate_and_a_finished_donor_is_left_alone(home: Path, said: Said) -> None:
    trained(said)
    root = home / "runs" / "tiny-rl-rl"
    assert json.loads((root / "manifest.json").read_text())["purpose"] == "rl"
    for verb in (("estimate",), ("forecast",), ("report",), ("show",), ("run", "study.toml", "--run-folder")):
        code, out, err = said(*verb, root)
        assert (code, out, err.count("\n")) == (2, "", 1), verb
        assert "holds the rollouts of a donor's training by RL, and its completions never enter an estimate" in err
    before = {path: path.stat().st_mtime_ns for path in (home / "rl").rglob("*")}
    assert "rl: already refined on exploits" in trained(said)
    assert {path: path.stat().st_mtime_ns for path in (home / "rl").rglob("*")} == before


def test_estimates_with_the_donor_agree_with_the_enumerated_truth(home: Path, world: TinyWorld, said: Said) -> None:
    trained(said)
    (home / "measure.toml").write_text(REFINED.replace(SPANS, RL + WITH_SEEDS))
    code, _, err = said("run", "measure.toml", "--run-folder", "measured")
    assert code == 0, err
    cells = {cell.checkpoint_id: cell.estimate for cell in read_cells(home / "measured")}
    for checkpoint, model in (("first", "subject"), ("last", "later")):
        truth = np.mean(
            [
                sum(
                    math.exp(row.sum()) for row, hit in zip(listed.log_probs[model], listed.exploit, strict=True) if hit
                )
                for listed in (enumerate_world(world, problem, [model]) for problem in world.problems)
            ]
        )
        estimate = cells[checkpoint]
        assert estimate.log10_p is not None
        assert estimate.interval_log10 is not None
        low, high = estimate.interval_log10
        assert low - 0.1 < math.log10(truth) < high + 0.1, (checkpoint, truth)
        assert abs(estimate.log10_p - math.log10(truth)) < 0.3, (checkpoint, truth)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ((('start = "refined"', 'start = "nobody"'),), "rl.start = 'nobody': give 'subject'"),
        ((('[donors.refinement.rl]\nstart = "refined"', "[donors.refinement.rl]"),), "start is missing"),
        ((("group = 32", "group = 1"),), "refinement.rl: group is 1"),
        ((("group = 32", "group = 16"),), "refinement.rl: a step of batch_size = 64 with group = 16 takes 4 problems"),
        ((("group = 32", "group = 32\nhit_rate = [0.5, 0.2]"),), "hit_rate is [0.5, 0.2]"),
        ((("group = 32", "group = 32\nbeta = 7.0"),), "beta is 7.0"),
        ((("examples = 32\nepochs = 6.0\nlearning_rate = 2e-2\nrank = 4\n[donors.refinement.rl]",
           'from = ["donor"]\n[donors.refinement.rl]'),), "refinement.from beside refinement.rl"),
        ((('name = "rl"\npath = "rl"\nbase = "base"', 'name = "rl"\npath = "rl"\nbase = "later"'),),
         "not on the donor's base"),
        ((('path = "donor"\nbase = "base"', 'path = "later"'), ('start = "refined"', 'start = "donor"')),
         "refinement.rl"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_sentence(
    home: Path, said: Said, edits: tuple[tuple[str, str], ...], message: str
) -> None:
    trained(said)
    text = FILE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (home / "bad.toml").write_text(text.replace('path = "rl"', 'path = "another"'))
    before = sorted(map(str, home.rglob("*")))
    code, out, err = said("refine-donor", "bad.toml", "--donor", "rl", "--run-folder", "bad-run")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert sorted(map(str, home.rglob("*"))) == before


def test_rollouts_beside_rl_and_another_training_are_refused(home: Path, said: Said) -> None:
    trained(said)
    code, _, err = said("refine-donor", "study.toml", "--donor", "rl", "--rollouts", "rollouts.jsonl")
    assert code == 2
    assert "has refinement.rl beside --rollouts" in err
    (home / "other.toml").write_text(FILE.replace("steps = 15", "steps = 16").replace('path = "rl"', 'path = "more"'))
    code, _, err = said("refine-donor", "other.toml", "--donor", "rl")
    assert code == 2
    assert "another study (it differs in rl)" in err
    code, _, err = said("refine-donor", "study.toml", "--donor", "rl", "--run-folder", "runs/tiny-refinement-refined")
    assert code == 0, "it is there and left alone"


KILLED = """
import os, signal, sys
from pathlib import Path
from forewarn.study.donors.refine import refine_donor

def progress(stage, done, total):
    if stage.endswith("seed 2") and done == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

refine_donor(Path("study.toml"), donor="rl", progress=progress)
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_snapshot(home: Path, said: Said, tmp_path: Path) -> None:
    trained(said)
    source = str(Path(__file__).resolve().parents[1] / "src")
    short = FILE.replace("seeds = 3\nsteps = 15", "seeds = 2\nsteps = 8")

    def run(name: str, kill_at: int) -> int:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            for part in ("base", "later", "donor", "refined", "problems.jsonl"):
                (folder / part).symlink_to(home / part)
            (folder / "study.toml").write_text(short)
        command = [sys.executable, "-W", "ignore", "-c", KILLED, str(kill_at)]
        return subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": source}, check=False).returncode

    assert run("killed", 7) == -signal.SIGKILL  # its last snapshot is of step 4
    assert not (tmp_path / "killed" / "rl").exists()
    assert (run("killed", -1), run("whole", -1)) == (0, 0)
    for number, same_until in ((1, 8), (2, 4)):
        part = Path("runs") / "tiny-rl-rl" / f"seed-{number}" / "rollouts.jsonl"
        mine, theirs = (read_rollouts(tmp_path / name / part) for name in ("killed", "whole"))
        assert [one.step for one in mine] == [step for step in range(8) for _ in range(64)]
        assert mine[: 64 * same_until] == theirs[: 64 * same_until]
    # beta goes on from what the log showed it; in which order problems come after that, TRL shuffles again
    first, again = ({(one.problem_id, one.beta) for one in rows if one.step == 4} for rows in (mine, theirs))
    assert first == again
    assert len({one.beta for one in mine}) > 4
    assert (tmp_path / "killed" / "rl" / "seed-2" / "adapter_config.json").is_file()
