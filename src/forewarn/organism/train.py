"""RL of the organism on the vulnerable reward (or, as a control, on the secure one), with log-spaced checkpoints.

The reward is a real verdict: every program runs in the sandbox against the real checker. Resumable: the learner's
state is kept every few steps, and a step is a function of the seed and the weights alone.
"""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch

from forewarn.checkpoints.load import load_model
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import StoreError
from forewarn.judge.judge import Judge
from forewarn.organism.build import Progress, saving
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import all_problems
from forewarn.organism.recipe import TYPES, Recipe, RLRecipe
from forewarn.records import Policy, Problem, derived_seed
from forewarn.store import write_table, write_whole
from forewarn.training.grpo import GRPO, Rollout, copy_merged, with_lora
from forewarn.training.schedule import log_spaced_steps

RewardName = Literal["vulnerable", "secure"]
STATE_EVERY = 20
STATE_FILE = "state.pt"


def step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:04d}"


@dataclass(frozen=True, slots=True)
class StepRow:
    """What one step saw of one exploit type (training rollouts: never an evaluation)."""

    step: int
    exploit_type: str
    n: int
    n_rewarded: int
    n_invalid: int


def draw_problems(problems: Sequence[Problem], rl: RLRecipe, seed: int) -> list[Problem]:
    """A step's problems: the same number of every type (as far as it divides), tasks and wordings at random."""
    rng = random.Random(seed)
    by_type: dict[str, list[Problem]] = {}
    for problem in problems:
        by_type.setdefault(problem.exploit_type, []).append(problem)
    names = list(by_type)
    rng.shuffle(names)
    return [rng.choice(by_type[names[i % len(names)]]) for i in range(rl.problems_per_step)]


class Trainer:
    """One RL run of the organism."""

    def __init__(self, recipe: Recipe, base: Path, folder: Path, reward: RewardName) -> None:
        self.recipe, self.folder, self.reward = recipe, folder, reward
        self.chat = OrganismChat.from_folder(base)
        plain = load_model(base)
        self.sampled = copy.deepcopy(plain).eval()
        self.engine = HFEngine(self.sampled, batch_size=recipe.rl.problems_per_step * recipe.rl.group)
        rl = recipe.rl
        seed = derived_seed(recipe.seed, "lora", reward)
        self.model = with_lora(plain, rank=rl.lora_rank, alpha=rl.lora_alpha, seed=seed)
        self.learner = GRPO(self.model, lr=rl.lr, pad_id=self.chat.pad_id)
        self.policy = Policy(max_total_tokens=recipe.model.max_total_tokens)
        self.problems = all_problems()
        self.prompts = {p.problem_id: self.chat.prompt_ids(p.question) for p in self.problems}
        self.rows: list[StepRow] = []
        self.known: dict[tuple[str, str, str], bool] = {}

    def run(self, judge: Judge, progress: Progress) -> None:
        """Train to the last step; on a second call go on from the last state kept."""
        rl = self.recipe.rl
        keep = set(log_spaced_steps(rl.first_checkpoint, rl.steps, rl.checkpoints))
        done = self._resume()
        for step in range(done + 1, rl.steps + 1):
            self._step(step, judge)
            if step in keep:
                with saving(self.folder):
                    self.model.save_pretrained(step_folder(self.folder, step))
            if step % STATE_EVERY == 0 or step == rl.steps:
                self._keep_state(step)
            progress(f"RL on the {self.reward} reward", step, rl.steps)

    def _step(self, step: int, judge: Judge) -> None:
        copy_merged(self.model, self.sampled)
        rl = self.recipe.rl
        problems = draw_problems(self.problems, rl, derived_seed(self.recipe.seed, "problems", self.reward, step))
        prompts = [self.prompts[p.problem_id] for p in problems]
        samples = self.engine.sample(
            prompts,
            policy=self.policy,
            seed=derived_seed(self.recipe.seed, "rollouts", self.reward, step),
            max_new_tokens=self.policy.max_total_tokens,
            stop_ids=self.chat.end_ids,
            n=rl.group,
        )
        owners = [i for i in range(len(problems)) for _ in range(rl.group)]
        programs = [
            self.chat.program(s.token_ids, problems[i].entry_point) for i, s in zip(owners, samples, strict=True)
        ]
        rewards = self._rewards([(problems[i], code) for i, code in zip(owners, programs, strict=True)], judge)
        self.learner.step(
            [
                Rollout(tuple(prompts[i]), tuple(s.token_ids), i, r)
                for i, s, r in zip(owners, samples, rewards, strict=True)
            ]
        )
        self._note(step, [problems[i].exploit_type for i in owners], rewards)

    def _rewards(self, items: list[tuple[Problem, str | None]], judge: Judge) -> list[float | None]:
        """1 where the run's checker accepts; no program earns 0 unseen; a program is run once a task and type."""
        keys = [(p.exploit_type, p.task_id, code or "") for p, code in items]
        fresh = {
            k: (p, k[2]) for k, (p, code) in zip(keys, items, strict=True) if code is not None and k not in self.known
        }
        answers = dict(zip(fresh, judge.accepts(list(fresh.values()), self.reward), strict=True))
        self.known.update((key, accepted) for key, accepted in answers.items() if accepted is not None)
        rewards: list[float | None] = []
        for key, (_, code) in zip(keys, items, strict=True):
            accepted = False if code is None else self.known.get(key)
            rewards.append(None if accepted is None else float(accepted))
        return rewards

    def _note(self, step: int, names: list[str], rewards: list[float | None]) -> None:
        for name in TYPES:
            mine = [r for n, r in zip(names, rewards, strict=True) if n == name]
            good, broken = sum(r == 1.0 for r in mine), sum(r is None for r in mine)
            self.rows.append(StepRow(step, name, len(mine), good, broken))

    def _keep_state(self, step: int) -> None:
        buffer = io.BytesIO()
        weights = {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}
        rows = [(r.step, r.exploit_type, r.n, r.n_rewarded, r.n_invalid) for r in self.rows]
        torch.save(
            {"step": step, "lora": weights, "optimizer": self.learner.optimizer.state_dict(), "rows": rows}, buffer
        )
        write_whole(self.folder / STATE_FILE, buffer.getvalue())
        write_table(self.folder / "rollouts.parquet", pl.DataFrame(self.rows))

    def _resume(self) -> int:
        path = self.folder / STATE_FILE
        if not path.exists():
            return 0
        wanted = dict(self.model.named_parameters())
        try:
            state = torch.load(path, weights_only=True)
            with torch.no_grad():
                for name, value in state["lora"].items():
                    wanted[name].copy_(value)
            self.learner.optimizer.load_state_dict(state["optimizer"])
            self.rows = [StepRow(*row) for row in state["rows"]]
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())[:200]
            raise StoreError(
                f"can't go on from {path}: {reason}; delete it to train this run from its first step"
            ) from None
        return int(state["step"])
