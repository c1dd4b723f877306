"""PEFT adapters by name on one base model: the chosen one is merged into the weights, the rest wait.

Merged weights do not slow down sampling. Each adapter is merged once, and the merged tensors are kept (one copy of the
changed weights per adapter, on the model's device). The base's tensors are kept too and restored by copying, never by
subtraction, which would leave rounding errors. Not here: merging (``adapter_merge.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from forewarn.engines.transformers.adapter_merge import Weights, merged_weights
from forewarn.errors import InputError, ModelError


class Adapters:
    """The adapters of one model, at most one of which is in the weights at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._folders: dict[str, tuple[Path, float]] = {}
        self._merged: dict[str, Weights] = {}
        self._base: Weights = {}
        self._current: str | None = None

    def load(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Merge the adapter in ``folder``, with its change times ``scale`` in (0, 1], and keep it as ``name``."""
        if not 0 < scale <= 1:
            raise InputError(f"an adapter's scale is {scale}: give a value in (0, 1]")
        if name in self._merged:
            raise ModelError(f"an adapter named {name!r} is loaded already; drop it first or give another name")
        self.use(None)
        merged = merged_weights(self._model, folder)
        own = dict(self._model.named_parameters())
        for key, weight in merged.items():
            base = self._base.setdefault(key, own[key].detach().clone())
            if scale != 1.0:
                weight.sub_(base).mul_(scale).add_(base)
        self._merged[name] = merged
        self._folders[name] = (folder, scale)

    def drop(self, name: str) -> None:
        if name not in self._merged:
            raise ModelError(f"no adapter named {name!r} is loaded; loaded are {sorted(self._merged) or 'none'}")
        if self._current == name:
            self.use(None)
        del self._merged[name], self._folders[name]

    def use(self, name: str | None) -> None:
        """Put adapter ``name`` into the weights (None: the base)."""
        if name == self._current:
            return
        if name is not None and name not in self._merged:
            raise ModelError(f"no adapter named {name!r} is loaded; loaded are {sorted(self._merged) or 'none'}")
        own = dict(self._model.named_parameters())
        with torch.no_grad():
            if self._current is not None:
                for key in self._merged[self._current]:
                    own[key].copy_(self._base[key])
            if name is not None:
                for key, value in self._merged[name].items():
                    own[key].copy_(value)
        self._current = name

    def refresh(self) -> None:
        """Merge every adapter again after a change of the base weights."""
        folders = dict(self._folders)
        self._merged, self._folders, self._base, self._current = {}, {}, {}, None
        for name, (folder, scale) in folders.items():
            self.load(name, folder, scale=scale)
