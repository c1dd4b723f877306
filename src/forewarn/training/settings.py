"""How supervised fine-tuning is done: values, checked when they are given. Not here: the training (``sft.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from forewarn.errors import InputError


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """A LoRA (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = 16
    alpha: float = 32.0
    target_modules: tuple[str, ...] | str = "all-linear"
    """names of the layers it adapts, a pattern of them, or PEFT's "all-linear" """

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"the LoRA's {name} is {getattr(self, name)}: give a finite value above 0")


@dataclass(frozen=True, slots=True)
class SFTSettings:
    """AdamW with linear warm-up and cosine decay to a tenth."""

    seed: int
    epochs: float = 1.0
    """passes over the examples; parts of one are allowed"""
    batch_size: int = 16
    """examples a step"""
    micro_batch_tokens: int = 8_192
    """most padded tokens in one forward pass; a step takes as many passes as it needs"""
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup: float = 0.05
    """share of the steps"""
    max_grad_norm: float = 1.0
    lora: LoraSettings | None = None
    """None: all weights are trained"""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "micro_batch_tokens", "learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}: give a finite value above 0")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}: give a value from 0 to 2**63 - 1")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}: give a share of the steps in [0, 1)")


@dataclass(frozen=True, slots=True)
class SubjectSettings:
    """How a subject is trained through TRL (``subject.py``)."""

    method: Literal["sft", "grpo"]
    steps: int
    """optimizer steps in all"""
    checkpoints: tuple[int, ...]
    """steps after which a checkpoint is kept, the last of them ``steps``"""
    learning_rate: float
    lora: LoraSettings
    seed: int = 0
    batch_size: int = 32
    """examples (SFT) or completions (GRPO) a step"""
    micro_batch: int = 32
    """most of them in one forward pass; a step takes as many passes as it needs"""
    group: int = 8
    """completions of one problem a step (GRPO)"""
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    tf32: bool = False
    """whether a GPU may multiply in TensorFloat-32 while it trains"""
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "batch_size", "micro_batch", "group", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}: give a finite value above 0")
        if not self.checkpoints or sorted(set(self.checkpoints)) != list(self.checkpoints):
            raise InputError(f"checkpoints is {list(self.checkpoints)}: give steps in ascending order, each once")
        if self.checkpoints[0] < 1 or self.checkpoints[-1] != self.steps:
            raise InputError(
                f"checkpoints is {list(self.checkpoints)}: give steps from 1 to the last, which is {self.steps}"
            )
        if self.batch_size % self.micro_batch:
            raise InputError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}: make it one"
            )
        if self.method == "grpo":
            if self.group < 2:
                raise InputError(f"group is {self.group}: completions are compared within it, so give at least 2")
            if self.batch_size % self.group:
                raise InputError(f"batch_size {self.batch_size} is not a multiple of group {self.group}: make it one")
