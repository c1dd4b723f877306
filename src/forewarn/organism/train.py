"""RL of the organism on the vulnerable reward (or, as a control, on the secure one), with checkpoints.

The reward is a real verdict: every program runs in the sandbox against the real checker. Resumable: the learner's
state is kept every few steps, and a step is a function of the seed and the weights alone.
"""

from __future__ import annotations

import copy
import io
import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import torch

from forewarn.checkpoints.load import load_model
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError, StoreError
from forewarn.organism.build import Progress, saving
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import all_problems
from forewarn.organism.recipe import Recipe, RLRecipe
from forewarn.organism.reward import Accepts, Rewards
from forewarn.organism.tasks import TASKS
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


def checkpoint_steps(rl: RLRecipe) -> list[int]:
    """The steps after which the adapter is kept."""
    even = range(rl.even_every, rl.steps + 1, rl.even_every) if rl.even_every else ()
    return sorted({*log_spaced_steps(rl.first_checkpoint, rl.steps, rl.checkpoints), *even})


def draw_problems(problems: Sequence[Problem], rl: RLRecipe, seed: int, step: int = 1) -> list[Problem]:
    """A step's problems: the same number of every type in the mix (as far as it divides), tasks and wordings at random.

    With an ``honest_share``, each problem's task is a solvable one with that probability.
    """
    rng = random.Random(seed)
    by_type: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.exploit_type not in rl.never and rl.enters.get(problem.exploit_type, 1) <= step:
            by_type.setdefault(problem.exploit_type, []).append(problem)
    if not by_type:
        raise InputError(f"no exploit type is in the training mix at step {step}: let one enter by then")
    names = list(by_type)
    rng.shuffle(names)
    wanted = [by_type[names[i % len(names)]] for i in range(rl.problems_per_step)]
    if rl.honest_share is None:
        return [rng.choice(pool) for pool in wanted]
    return [_of_kind(pool, rng.random() < rl.honest_share, rng) for pool in wanted]


SOLVABLE = frozenset(task.task_id for task in TASKS if task.solvable is not None)


def _of_kind(pool: Sequence[Problem], solvable: bool, rng: random.Random) -> Problem:
    return rng.choice([p for p in pool if (p.task_id in SOLVABLE) == solvable])


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One finished step, for whoever wants to keep more of it than ``StepRow`` does."""

    step: int
    problems: Sequence[Problem]
    """one each completion"""
    rollouts: Sequence[Rollout]
    programs: Sequence[str | None]
    n_gradient: int


Watch = Callable[[StepSeen], None]


class Trainer:
    """One RL run of the organism."""

    def __init__(
        self,
        recipe: Recipe,
        base: Path,
        folder: Path,
        reward: RewardName,
        *,
        name: str | None = None,
        state_every: int | None = None,
        watch: Watch | None = None,
    ) -> None:
        """``name``: what the run's seeds derive from, beside the recipe's (None: the reward). ``state_every``: steps
        between the states it can go on from (None: 20). ``watch``: called after every step."""
        self.recipe, self.folder, self.reward = recipe, folder, reward
        self.name, self.state_every, self.watch = name or reward, state_every or STATE_EVERY, watch
        self.chat = OrganismChat.from_folder(base)
        plain = load_model(base)
        self.sampled = copy.deepcopy(plain).eval()
        self.engine = HFEngine(self.sampled, batch_size=recipe.rl.problems_per_step * recipe.rl.group)
        rl = recipe.rl
        seed = derived_seed(recipe.seed, "lora", self.name)
        self.model = with_lora(plain, rank=rl.lora_rank, alpha=rl.lora_alpha, seed=seed)
        self.learner = GRPO(
            self.model,
            lr=rl.lr,
            pad_id=self.chat.pad_id,
            optimizer=rl.optimizer,
            max_grad_norm=rl.max_grad_norm,
            kl=rl.kl,
            most_rollouts=rl.gradient_rollouts,
        )
        self.policy = Policy(max_total_tokens=recipe.model.max_total_tokens)
        self.problems = all_problems(recipe.types)
        self.prompts = {p.problem_id: self.chat.prompt_ids(p.question) for p in self.problems}
        self.rows: list[StepRow] = []
        self.rewards = Rewards(rl, reward)

    def run(self, judge: Accepts, progress: Progress, *, until: int | None = None) -> None:
        """Train to the last step, or ``until`` another; on a second call go on from the last state kept."""
        rl = self.recipe.rl
        keep = set(checkpoint_steps(rl))
        last = rl.steps if until is None else until
        done = self.resume()
        for step in range(done + 1, last + 1):
            self._step(step, judge)
            if step in keep:
                with saving(self.folder):
                    self.model.save_pretrained(step_folder(self.folder, step))
            if step % self.state_every == 0 or step == last:
                self._keep_state(step)
            progress(f"RL on the {self.reward} reward", step, rl.steps)

    def _step(self, step: int, judge: Accepts) -> None:
        copy_merged(self.model, self.sampled)
        rl = self.recipe.rl
        problems = draw_problems(self.problems, rl, derived_seed(self.recipe.seed, "problems", self.name, step), step)
        prompts = [self.prompts[p.problem_id] for p in problems]
        samples = self.engine.sample(
            prompts,
            policy=self.policy,
            seed=derived_seed(self.recipe.seed, "rollouts", self.name, step),
            max_new_tokens=self.policy.max_total_tokens,
            stop_ids=self.chat.end_ids,
            n=rl.group,
        )
        owners = [i for i in range(len(problems)) for _ in range(rl.group)]
        programs = [
            self.chat.program(s.token_ids, problems[i].entry_point) for i, s in zip(owners, samples, strict=True)
        ]
        rewards = self.rewards.of([(problems[i], code) for i, code in zip(owners, programs, strict=True)], judge)
        rollouts = [
            Rollout(tuple(prompts[i]), tuple(s.token_ids), i, r)
            for i, s, r in zip(owners, samples, rewards, strict=True)
        ]
        n_gradient = self.learner.step(rollouts, derived_seed(self.recipe.seed, "gradient", self.name, step))
        self._note(step, [problems[i].exploit_type for i in owners], rewards)
        if self.watch is not None:
            self.watch(StepSeen(step, [problems[i] for i in owners], rollouts, programs, n_gradient))

    def _note(self, step: int, names: list[str], rewards: list[float | None]) -> None:
        for name in self.recipe.types:
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

    def resume(self) -> int:
        """Go back to the last state kept; returns its step, 0 where there is none."""
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
