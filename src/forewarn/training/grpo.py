"""Group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) of a LoRA on one machine.

One on-policy update a step, advantages standardised within a prompt's group, no value network; groups whose rewards
are all equal carry no gradient and are skipped. On request the divergence from the base model is part of the loss, and
the gradient is taken of an unbiased sample of the completions. The caller samples and rewards. Not for large models: no
sharding, no replay, no importance clipping (with one update a batch the ratio is 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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


def chosen(size_N: Tensor, most: int, seed: int) -> tuple[list[int], Tensor]:
    """At most ``most`` rows of size above 0, and one over each one's probability to be among them.

    Systematic sampling with probabilities in proportion to size (Madow 1949): a sum over the chosen rows, each times
    its factor, has the sum over all rows as its expectation (Horvitz & Thompson 1952).
    """
    candidates = torch.nonzero(size_N).flatten()
    if len(candidates) <= most:
        return candidates.tolist(), torch.ones(len(candidates))
    generator = torch.Generator().manual_seed(seed)
    candidates = candidates[torch.randperm(len(candidates), generator=generator)]
    probability = _probabilities(size_N[candidates].double(), most)
    ticks = probability.cumsum(0) - torch.rand((), generator=generator, dtype=torch.float64)
    taken = ticks.ceil() > torch.cat([ticks.new_zeros(1), ticks[:-1].ceil()])
    return candidates[taken].tolist(), (1 / probability[taken]).float()


def _probabilities(size: Tensor, most: int) -> Tensor:
    """In proportion to size, with the sum ``most``, and none above 1."""
    certain = torch.zeros_like(size, dtype=torch.bool)
    while True:
        rest = size.masked_fill(certain, 0.0)
        result = torch.where(certain, torch.ones_like(size), rest * (most - int(certain.sum())) / rest.sum())
        if not bool((result > 1).any()):
            return result
        certain |= result > 1


def policy_loss(
    model: PreTrainedModel | PeftModel,
    rollouts: Sequence[Rollout],
    advantage_N: Tensor,
    pad_id: int,
    kl_weight_N: Tensor | None = None,
) -> Tensor:
    """Minus the advantage-weighted sum of the completions' log-probabilities (temperature 1), nats.

    ``kl_weight_N``: add the divergence from the base model, so weighted, with the estimator of Schulman (2020) that
    GRPO takes: r - log r - 1 of each token, with r its probability under the base over that under the model.
    """
    width = max(len(r.prompt_ids) + len(r.token_ids) for r in rollouts)
    ids = torch.full((len(rollouts), width), pad_id)
    weight, kl_weight = torch.zeros(len(rollouts), width - 1), torch.zeros(len(rollouts), width - 1)
    for row, r in enumerate(rollouts):
        n_prompt, n = len(r.prompt_ids), len(r.prompt_ids) + len(r.token_ids)
        ids[row, :n] = torch.tensor(r.prompt_ids + r.token_ids)
        weight[row, n_prompt - 1 : n - 1] = advantage_N[row]
        if kl_weight_N is not None:
            kl_weight[row, n_prompt - 1 : n - 1] = kl_weight_N[row]
    used = (weight != 0) | (kl_weight != 0)

    def nll() -> Tensor:
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits[used], ids[:, 1:][used], reduction="none")

    mine = nll()
    loss = (mine * weight[used]).sum()
    if kl_weight_N is None:
        return loss
    assert isinstance(model, PeftModel)
    with torch.no_grad(), model.disable_adapter():
        base = nll()
    log_ratio = mine - base
    return loss + ((log_ratio.exp() - log_ratio - 1) * kl_weight[used]).sum()


class GRPO:
    """The learner: keeps the LoRA and its optimizer; ``step`` takes one batch of rollouts."""

    def __init__(
        self,
        model: PeftModel,
        *,
        lr: float,
        pad_id: int,
        max_rows: int = 256,
        max_grad_norm: float = 1.0,
        optimizer: Literal["adam", "sgd"] = "adam",
        kl: float = 0.0,
        most_rollouts: int | None = None,
    ) -> None:
        """``most_rollouts``: a step's gradient is taken of so many completions at most; None: of all."""
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(self.parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.0)
            if optimizer == "adam"
            else torch.optim.SGD(self.parameters, lr=lr)
        )
        self.pad_id = pad_id
        self.max_rows = max_rows
        self.max_grad_norm = max_grad_norm
        self.kl = kl
        self.most_rollouts = most_rollouts

    def step(self, rollouts: Sequence[Rollout], seed: int = 0) -> int:
        """One update; returns how many completions carried a gradient (0: nothing was changed).

        ``seed``: of the choice of completions where there are more than ``most_rollouts``.
        """
        judged = [r for r in rollouts if r.reward is not None]
        if not judged:
            return 0
        advantage_N = advantages(
            torch.tensor([float(r.reward or 0.0) for r in judged]), torch.tensor([r.group for r in judged])
        )
        rows, factor = self._chosen(advantage_N, seed)
        if not rows:
            return 0
        factor_N = torch.zeros(len(judged))
        factor_N[rows] = factor
        advantage_N = advantage_N * factor_N
        used = sorted(rows, key=lambda i: len(judged[i].token_ids))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        n_tokens = sum(len(r.token_ids) for r in rollouts)
        for start in range(0, len(used), self.max_rows):
            part = used[start : start + self.max_rows]
            kl_weight = self.kl * factor_N[part] if self.kl else None
            loss = policy_loss(self.model, [judged[i] for i in part], advantage_N[part], self.pad_id, kl_weight)
            (loss / n_tokens).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        return len(used)

    def _chosen(self, advantage_N: Tensor, seed: int) -> tuple[list[int], Tensor]:
        size_N = advantage_N.abs()
        if self.kl:  # every completion tells of the divergence: half of the choice by advantage, half evenly
            size_N = size_N / size_N.sum().clamp(min=1e-12) + 1 / len(size_N)
        return chosen(size_N, self.most_rollouts or len(size_N), seed)
