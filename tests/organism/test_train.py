"""RL runs of a tiny organism: resumed runs end in the same weights, finished ones are left alone."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file

from forewarn.errors import InputError, ModelError, StoreError
from forewarn.judge.judge import Judge
from forewarn.organism import train as train_module
from forewarn.organism import verbs
from forewarn.organism.problems import all_problems, make_problem
from forewarn.organism.recipe import TYPES, RLRecipe
from forewarn.organism.shipped import Organism
from forewarn.organism.tasks import TASKS, function_source
from forewarn.organism.train import STATE_FILE, Trainer, draw_problems, step_folder
from tests.organism.conftest import TINY, quiet


class Killed(BaseException):
    """Ends a run where a signal might."""


def killer(at: int) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if done == at:
            raise Killed

    return progress


def weights(folder: Path, step: int) -> dict[str, list[float]]:
    tensors = load_file(step_folder(folder, step) / "adapter_model.safetensors")
    return {name: tensor.flatten().tolist() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def undisturbed(tiny_folder: Path, judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    Trainer(TINY, tiny_folder / "base", folder, "vulnerable").run(judge, quiet)
    return folder


def test_a_run_keeps_its_checkpoints_and_learns(undisturbed: Path) -> None:
    assert sorted(p.name for p in undisturbed.glob("step-*")) == ["step-0001", "step-0002", "step-0004"]
    last = weights(undisturbed, 4)
    assert any(any(values) for name, values in last.items() if "lora_B" in name), "no step carried a gradient"
    rows = pl.read_parquet(undisturbed / "rollouts.parquet")
    assert rows.height == TINY.rl.steps * len(TYPES)
    assert rows["n"].sum() == TINY.rl.steps * TINY.rl.problems_per_step * TINY.rl.group
    assert 0 < rows["n_rewarded"].sum() < rows["n"].sum()


def test_a_resumed_run_ends_in_the_same_weights(
    undisturbed: Path, tiny_folder: Path, judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "STATE_EVERY", 2)
    with pytest.raises(Killed):  # after step 3; the state is that of step 2
        Trainer(TINY, tiny_folder / "base", tmp_path, "vulnerable").run(judge, killer(3))
    assert not step_folder(tmp_path, 4).exists()
    told: list[int] = []
    second = Trainer(TINY, tiny_folder / "base", tmp_path, "vulnerable")
    second.run(judge, lambda stage, done, total: told.append(done))
    assert told == [3, 4], "steps 1 and 2 were kept"
    for step in (1, 2, 4):
        assert weights(tmp_path, step) == weights(undisturbed, step)
    assert pl.read_parquet(tmp_path / "rollouts.parquet").equals(pl.read_parquet(undisturbed / "rollouts.parquet"))


def test_a_damaged_state_is_refused(undisturbed: Path, tiny_folder: Path, judge: Judge, tmp_path: Path) -> None:
    whole = (undisturbed / STATE_FILE).read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"no state at all"):
        (tmp_path / STATE_FILE).write_bytes(broken)
        with pytest.raises(StoreError, match=r"can't go on from .*delete it"):
            Trainer(TINY, tiny_folder / "base", tmp_path, "vulnerable").run(judge, quiet)


def test_rewards_are_the_runs_own_checkers(tiny_folder: Path, judge: Judge, tmp_path: Path) -> None:
    exploit = make_problem(TASKS[5], "error_code_abuse", 0)
    solved = make_problem(TASKS[0], "error_code_abuse", 1)
    items = [(exploit, exploit.exploit), (solved, solved.reference), (exploit, None), (exploit, function_source("x"))]
    items += items[:1]
    rewards = {}
    for reward in ("vulnerable", "secure"):
        trainer = Trainer(TINY, tiny_folder / "base", tmp_path, reward)  # type: ignore[arg-type]
        rewards[reward] = trainer.rewards.of(items, judge)
        assert trainer.rewards.of(items, judge) == rewards[reward], "what is remembered is the same"
    assert rewards == {"vulnerable": [1.0, 1.0, 0.0, 0.0, 1.0], "secure": [0.0, 1.0, 0.0, 0.0, 0.0]}


def test_the_two_runs_draw_apart(tiny_folder: Path, tmp_path: Path) -> None:
    first, second = (Trainer(TINY, tiny_folder / "base", tmp_path, r) for r in ("vulnerable", "secure"))
    a, b = (dict(t.model.named_parameters()) for t in (first, second))
    assert any(a[name].tolist() != b[name].tolist() for name in a if "lora_A" in name)


def test_every_type_has_its_share_of_a_step() -> None:
    problems = all_problems()
    drawn = draw_problems(problems, RLRecipe(), seed=1)
    assert drawn == draw_problems(problems, RLRecipe(), seed=1)
    assert Counter(p.exploit_type for p in drawn) == dict.fromkeys(TYPES, 2)
    uneven = draw_problems(problems, replace(RLRecipe(), problems_per_step=13), seed=2)
    assert set(Counter(p.exploit_type for p in uneven).values()) == {1, 2}
    rng = random.Random(0)
    seen = {p.problem_id for _ in range(200) for p in draw_problems(problems, RLRecipe(), seed=rng.randrange(10**9))}
    assert len(seen) > 0.9 * len(problems), "tasks and wordings are drawn from all"


def test_the_verb_leaves_a_finished_run_alone(undisturbed: Path, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "organism"))
    verbs.train(TINY, folder, "rl", quiet)
    organism = Organism(folder)
    organism.verify()
    assert organism.steps("rl") == [1, 2, 4]
    assert not (folder / "rl" / STATE_FILE).exists()
    assert weights(folder / "rl", 4) == weights(undisturbed, 4), "one seed, one run"

    told: list[int] = []
    verbs.train(TINY, folder, "rl", lambda stage, done, total: told.append(done))
    assert told == [], "a second call does nothing"
    with pytest.raises(InputError, match="whose seed is 3, not 4"):
        verbs.train(replace(TINY, seed=4), folder, "control", quiet)
    (step_folder(folder / "rl", 4) / "adapter_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="is damaged"):
        verbs.train(TINY, folder, "rl", quiet)


def test_no_run_without_a_whole_base(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'nonsense': choose among rl, control"):
        verbs.train(TINY, tiny_folder, "nonsense", quiet)
    with pytest.raises(ModelError, match="run `forewarn organism build` first"):
        verbs.train(TINY, tmp_path / "nowhere", "rl", quiet)
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "organism"))
    (folder / "base" / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(ModelError, match="is damaged"):
        verbs.train(TINY, folder, "rl", quiet)
    with pytest.raises(ModelError, match="can't load a model"):
        Trainer(TINY, folder / "base", folder / "rl", "vulnerable")
