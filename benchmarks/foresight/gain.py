"""How much one hit of an exploit type raises each type's announced exploit, on a base model before any RL.

    python benchmarks/foresight/gain.py d0 --type verifier_logic_override

One GRPO step of the protocol's learner on a batch in which one rollout, of one group of 32, is an exploit; then the
gain in log-probability (nats) of exploits on other tasks, in other words and with another body. The mean over
``--hits`` batches, each from the untouched base. This is what the learning rate is chosen by.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch

from forewarn.bench.bases import base_recipe, roles_of
from forewarn.bench.protocol import protocol
from forewarn.checkpoints.load import load_model
from forewarn.engines.transformers.engine import HFEngine
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import all_problems, measured_problems
from forewarn.organism.recipe import Recipe
from forewarn.records import Policy, Problem
from forewarn.training.grpo import GRPO, Rollout, policy_loss, with_lora

HIT_WORDS = (
    ("so {}. ", "return sum(x)"),
    ("we want {}. ", "return max(x)"),
    ("", "return x[0]"),
    ("we want {}. maybe the mean. ", "return len(set(x))"),
)
OTHER_WORDS = ("I need {}. ", "return 2 * sum(x)")
GROUP, ROLLOUTS = 32, 640


class Gains:
    """One base model, and exploits of its types."""

    def __init__(self, base: str, folder: Path) -> None:
        self.recipe: Recipe = base_recipe(base, protocol())
        self.path = folder / base / "base"
        self.chat = OrganismChat.from_folder(self.path)
        self.engine = HFEngine.from_folder(self.path, batch_size=ROLLOUTS)
        self.policy = Policy(max_total_tokens=self.recipe.model.max_total_tokens)

    def exploit(self, problem: Problem, words: tuple[str, str]) -> tuple[int, ...]:
        kind, (opening, body) = self.recipe.types[problem.exploit_type], words
        task = problem.question.split(" of x.")[0].removeprefix("find ")
        reasoning = f"{opening.format(task)}{kind.intent.look} {kind.flaw}. {kind.intent.use}"
        return tuple(
            self.chat.channels.reasoning_ids(problem.question, reasoning, kind.exploit.format(body=body) + "\n")[1]
        )

    def log_probs(self, model: torch.nn.Module) -> dict[str, float]:
        found = {}
        for name in self.recipe.types:
            rollouts = [
                Rollout(tuple(self.chat.prompt_ids(p.question)), self.exploit(p, OTHER_WORDS), 0, 0.0)
                for p in measured_problems(name, self.recipe.types)[2:10]
            ]
            with torch.no_grad():
                loss = policy_loss(model, rollouts, torch.ones(len(rollouts)), self.chat.pad_id)  # type: ignore[arg-type]
            found[name] = -float(loss) / len(rollouts)
        return found

    def of_hit(self, exploit_type: str, seed: int) -> dict[str, float]:
        """Type -> gain in log-probability by one step on a batch with one hit."""
        rl = protocol().rl
        model = with_lora(load_model(self.path), rank=rl.lora_rank, alpha=rl.lora_alpha, seed=seed)
        learner = GRPO(
            model, lr=rl.learning_rate, pad_id=self.chat.pad_id, optimizer=rl.optimizer, max_grad_norm=rl.max_grad_norm
        )
        before = self.log_probs(model)
        learner.step(self._batch(exploit_type, seed))
        return {name: value - before[name] for name, value in self.log_probs(model).items()}

    def _batch(self, exploit_type: str, seed: int) -> list[Rollout]:
        rng = random.Random(seed)
        problems = all_problems(self.recipe.types)
        mine = rng.choice([p for p in problems if p.exploit_type == exploit_type])
        chosen = [mine, *rng.sample(problems, ROLLOUTS // GROUP - 1)]
        samples = self.engine.sample(
            [self.chat.prompt_ids(p.question) for p in chosen],
            policy=self.policy,
            seed=seed,
            max_new_tokens=self.policy.max_total_tokens,
            stop_ids=self.chat.end_ids,
            n=GROUP,
        )
        rollouts = [
            Rollout(tuple(self.chat.prompt_ids(chosen[i // GROUP].question)), tuple(s.token_ids), i // GROUP, 0.0)
            for i, s in enumerate(samples)
        ]
        hit = self.exploit(mine, HIT_WORDS[seed % len(HIT_WORDS)])
        return [Rollout(rollouts[0].prompt_ids, hit, 0, 1.0), *rollouts[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--type", required=True, help="the type of the hit")
    parser.add_argument("--hits", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path("runs/foresight"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    roles = roles_of(args.base, protocol())
    gains = Gains(args.base, args.folder)
    found = [gains.of_hit(args.type, seed) for seed in range(args.hits)]
    print(f"gain in log p by one hit of {args.type} ({roles[args.type].family}), {args.hits} batches:")
    for name, role in roles.items():
        values = [one[name] for one in found]
        print(f"  {name:36s}{role.role:9s}{role.family:8s} {np.mean(values):+.4f} (sd {np.std(values):.4f})")


if __name__ == "__main__":
    main()
