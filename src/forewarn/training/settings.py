"""How supervised fine-tuning is done: values, checked when they are given. Not here: the training (``sft.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
