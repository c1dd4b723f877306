"""PEFT adapters by name on one base model: the chosen one is merged into the weights, the rest wait.

Merged weights cost nothing a token. Each adapter is merged once, by PEFT itself, and the merged tensors are kept
(one copy of the touched weights an adapter, on the model's device); the base's are copied too and put back by
copying, never by subtraction, so that no rounding is left behind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError

from forewarn.errors import InputError, ModelError
from forewarn.models.loading import peft_calls

Weights = dict[str, torch.Tensor]


class Adapters:
    """The adapters of one model, at most one of which is in the weights at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._folders: dict[str, tuple[Path, float]] = {}
        self._merged: dict[str, Weights] = {}
        self._base: Weights = {}
        self._current: str | None = None

    def load(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Merge the adapter in ``folder``, its change times ``scale`` in (0, 1], and keep the result as ``name``."""
        if not 0 < scale <= 1:
            raise InputError(f"an adapter's scale is {scale}: give a value in (0, 1]")
        if name in self._merged:
            raise ModelError(f"an adapter named {name!r} is loaded already; drop it first or give another name")
        self.use(None)
        merged = self._merge(folder)
        for key, weight in merged.items():
            base = self._base[key]
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
        """Merge every adapter again, after the base weights changed."""
        folders = dict(self._folders)
        self._merged, self._folders, self._base, self._current = {}, {}, {}, None
        for name, (folder, scale) in folders.items():
            self.load(name, folder, scale=scale)

    def _merge(self, folder: Path) -> Weights:
        """The weights the adapter touches, with it merged in. The model itself is left as it was."""
        _check_kind(folder)
        try:
            with peft_calls():
                wrapped = PeftModel.from_pretrained(self._model, str(folder), adapter_name="merging")
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"can't load the adapter in {folder} onto this model: {reason}; give the base that it was trained on"
            ) from None
        try:
            touched = _touched(wrapped.get_base_model())
            for key, weight in touched.items():
                if key not in self._base:
                    self._base[key] = weight.detach().clone()
            wrapped.merge_adapter(["merging"])
            merged = {key: weight.detach().clone() for key, weight in touched.items()}
            with torch.no_grad():
                for key, weight in touched.items():
                    weight.copy_(self._base[key])
        finally:
            wrapped.unload()
        return merged


def _check_kind(folder: Path) -> None:
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise ModelError(f"{folder} holds no readable adapter_config.json; give a folder saved by PEFT") from None
    if config.get("modules_to_save") or config.get("bias", "none") != "none":
        raise ModelError(
            f"the adapter in {folder} also holds whole modules or biases; merge it into a full model first"
        )


def _touched(model: Any) -> Weights:
    """Parameters of the base layers inside tuner layers, under the names they have without the tuner."""
    found: Weights = {}
    for module_name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            for name, parameter in module.get_base_layer().named_parameters():
                key = f"{module_name}.{name}".replace(".base_layer", "")
                found[key] = parameter
    return found
