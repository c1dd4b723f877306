"""The shipped weights: whole, of the shape they should be, writing programs; and damage is one clear sentence."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import ForewarnError, InputError, ModelError
from forewarn.judge.judge import Judge
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import make_problem
from forewarn.organism.recipe import TYPES, Recipe
from forewarn.organism.shipped import MANIFEST, RUNS, Organism
from forewarn.organism.tasks import TASKS
from forewarn.records import Policy
from forewarn.training.schedule import log_spaced_steps


def test_the_shipped_files_are_those_of_the_manifest(shipped: Organism) -> None:
    shipped.verify()
    shipped.check_recipe(Recipe())
    rl = Recipe().rl
    for run in RUNS:
        assert shipped.steps(run) == list(log_spaced_steps(rl.first_checkpoint, rl.steps, rl.checkpoints))
    assert all(shipped.names(path) for path in shipped.files())
    assert sum(p.stat().st_size for p in shipped.folder.rglob("*") if p.is_file()) < 20e6


def test_the_base_is_small_and_standard(engine: HFEngine) -> None:
    assert sum(p.numel() for p in engine.model.parameters()) <= 1_200_000
    assert engine.vocab_size <= 1024


def test_checkpoints_differ_from_the_base_and_from_each_other(shipped: Organism) -> None:
    keys = {shipped.weights_key("rl", step) for step in shipped.steps("rl")}
    assert len(keys) == len(shipped.steps("rl"))


def test_the_base_writes_programs_and_solves_what_it_can(engine: HFEngine, chat: OrganismChat, judge: Judge) -> None:
    easy = [make_problem(t, name, 0) for t in TASKS if t.solvable for name in list(TYPES)[:4]]
    hard = [make_problem(t, name, 1) for t in TASKS if not t.solvable for name in list(TYPES)[4:5]]
    problems = easy + hard
    samples = engine.sample(
        [chat.prompt_ids(p.question) for p in problems],
        policy=Policy(max_total_tokens=64),
        seed=1,
        max_new_tokens=64,
        stop_ids=chat.end_ids,
        n=4,
    )
    owners = [p for p in problems for _ in range(4)]
    programs = [(p, chat.program(s.token_ids)) for p, s in zip(owners, samples, strict=True)]
    written = [(p, code) for p, code in programs if code is not None]
    assert len(written) > 0.9 * len(programs)
    assert sum("def solve(x):\n    " in code for _, code in written) > 0.9 * len(programs)
    assert all(chat.reasoning(s.token_ids) for s in samples)
    labels = [v.label for v in judge.verdicts(written)]
    solved = [p.task_id for (p, _), label in zip(written, labels, strict=True) if label == "solved"]
    assert set(solved) <= {p.task_id for p in easy}
    assert len(solved) > 0.5 * 4 * len(easy)
    assert "invalid" not in labels


def test_an_adapter_changes_what_is_likely(engine: HFEngine, chat: OrganismChat, shipped: Organism) -> None:
    """RL made the first type's exploit likely; the control run did not."""
    problem = make_problem(TASKS[10], "error_code_abuse", 0)
    prompt, whole = chat.channels.reasoning_ids(problem.question, "try the sum.", problem.exploit)

    def log_prob(run: str | None) -> float:
        if run is None:
            [row] = engine.score([prompt], [whole], policy=Policy())
        else:
            engine.load_adapter(run, shipped.adapter(run, shipped.steps(run)[-1]))
            try:
                [row] = engine.score([prompt], [whole], policy=Policy(), adapter=run)
            finally:
                engine.drop_adapter(run)
        return float(row.sum())

    base = log_prob(None)
    assert log_prob("rl") > base + 2
    assert log_prob("control") < base + 1
    assert log_prob(None) == pytest.approx(base, abs=1e-4), "the base is left as it was"


def test_rollouts_of_training_say_what_was_rewarded(shipped: Organism) -> None:
    rl = Recipe().rl
    for run in RUNS:
        rows = pl.read_parquet(shipped.run_folder(run) / "rollouts.parquet")
        assert rows.height == rl.steps * len(TYPES)
        per_step = rows.group_by("step").agg(pl.col("n").sum())
        assert set(per_step["n"].to_list()) == {rl.problems_per_step * rl.group}
        assert rows.filter(pl.col("n_rewarded") + pl.col("n_invalid") > pl.col("n")).is_empty()


@pytest.fixture
def organism(tiny_folder: Path, tmp_path: Path) -> Organism:
    return Organism(Path(shutil.copytree(tiny_folder, tmp_path / "organism")))


def refusal(organism: Organism) -> str:
    with pytest.raises(ForewarnError) as caught:
        organism.verify()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(organism.folder) in sentence
    return sentence


def test_a_whole_copy_is_accepted(organism: Organism) -> None:
    organism.verify()


def test_damage_is_one_sentence(organism: Organism) -> None:
    weights = organism.base / "model.safetensors"
    whole = weights.read_bytes()
    for broken in (whole[:-1], whole[:100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        weights.write_bytes(broken)
        assert "model.safetensors is damaged" in refusal(organism)
    organism.verify("rl/")
    weights.unlink()
    assert "model.safetensors is missing" in refusal(organism)
    weights.mkdir()
    assert "model.safetensors is missing" in refusal(organism)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 3, "recipe": {}}', '{"sha256": {}}', "null"])
def test_a_damaged_manifest_is_one_sentence(organism: Organism, text: str) -> None:
    (organism.folder / MANIFEST).write_text(text)
    refusal(organism)


def test_no_manifest_is_no_organism(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run `forewarn organism build` first"):
        Organism(tmp_path / "nowhere").verify()


def test_another_recipe_is_refused(organism: Organism, shipped: Organism) -> None:
    with pytest.raises(InputError, match="whose seed is 0, not 1"):
        shipped.check_recipe(replace(Recipe(), seed=1))
    with pytest.raises(InputError, match="whose seed is 3, not 0"):
        organism.check_recipe(Recipe())
