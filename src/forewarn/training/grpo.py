"""Group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) of a LoRA on one machine.

One on-policy update a step, advantages standardised within a prompt's group, no KL term and no value network; groups
whose rewards are all equal carry no gradient and are skipped. Sampling and rewards are given as functions, so that
the caller decides the engine and the judge. Not for large models: no sharding, no replay, no importance clipping
(with one update a batch the ratio is 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from forewarn.checkpoints.load import peft_calls

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One training completion. Never to be used as an evaluation of this or a later checkpoint."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    group: int
    """completions of one prompt share a group"""
    reward: float | None
    """None: the judge broke; the completion is left out of its group"""


def with_lora(model: PreTrainedModel, *, rank: int, alpha: int, seed: int) -> PeftModel:
    """``model`` with a fresh LoRA on every linear layer, its values a function of ``seed`` alone."""
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(LINEAR_LAYERS), task_type="CAUSAL_LM"
    )
    with peft_calls(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


@torch.no_grad()
def copy_merged(source: PeftModel, target: PreTrainedModel) -> None:
    """Write base + LoRA of ``source`` into the plain ``target``, exactly, without accumulating.

    ``target`` is a copy of the base: weights that no LoRA touches are left as they are.
    """
    wanted = dict(target.named_parameters())
    for name, module in source.get_base_model().named_modules():
        if hasattr(module, "get_delta_weight"):
            weight = module.base_layer.weight
            wanted[f"{name}.weight"].copy_(weight + module.get_delta_weight("default"))


def advantages(rewards: Tensor, groups: Tensor) -> Tensor:
    """Standardised within each group; 0 where a group's rewards are all equal. Shapes ``(N,)``."""
    result = torch.zeros_like(rewards)
    for group in groups.unique():
        members = groups == group
        values = rewards[members]
        if bool((values != values[0]).any()):  # a spread of 0 would not do: equal values may round to a little more
            result[members] = (values - values.mean()) / values.std(unbiased=False)
    return result


def policy_loss(
    model: PreTrainedModel | PeftModel, rollouts: Sequence[Rollout], advantage_N: Tensor, pad_id: int
) -> Tensor:
    """Minus the advantage-weighted sum of the completions' log-probabilities (temperature 1), nats."""
    width = max(len(r.prompt_ids) + len(r.token_ids) for r in rollouts)
    ids = torch.full((len(rollouts), width), pad_id)
    weight = torch.zeros(len(rollouts), width - 1)
    for row, r in enumerate(rollouts):
        n_prompt, n = len(r.prompt_ids), len(r.prompt_ids) + len(r.token_ids)
        ids[row, :n] = torch.tensor(r.prompt_ids + r.token_ids)
        weight[row, n_prompt - 1 : n - 1] = advantage_N[row]
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    used = weight != 0
    nll = torch.nn.functional.cross_entropy(logits[used], ids[:, 1:][used], reduction="none")
    return (nll * weight[used]).sum()


class GRPO:
    """The learner: keeps the LoRA and its optimizer; ``step`` takes one batch of rollouts."""

    def __init__(
        self, model: PeftModel, *, lr: float, pad_id: int, max_rows: int = 256, max_grad_norm: float = 1.0
    ) -> None:
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
        self.pad_id = pad_id
        self.max_rows = max_rows
        self.max_grad_norm = max_grad_norm

    def step(self, rollouts: Sequence[Rollout]) -> int:
        """One update; returns how many completions carried a gradient (0: nothing was changed)."""
        judged = [r for r in rollouts if r.reward is not None]
        if not judged:
            return 0
        advantage_N = advantages(
            torch.tensor([float(r.reward or 0.0) for r in judged]), torch.tensor([r.group for r in judged])
        )
        used = sorted(torch.nonzero(advantage_N).flatten().tolist(), key=lambda i: len(judged[i].token_ids))
        if not used:
            return 0
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        n_tokens = sum(len(r.token_ids) for r in rollouts)
        for start in range(0, len(used), self.max_rows):
            rows = used[start : start + self.max_rows]
            loss = policy_loss(self.model, [judged[i] for i in rows], advantage_N[rows], self.pad_id)
            (loss / n_tokens).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        return len(used)
