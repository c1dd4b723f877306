"""PEFT adapters by name on one base model: the chosen one is merged into the weights, the rest wait.

Merged weights cost nothing a token. Each adapter is merged once, by PEFT itself, and the merged tensors are kept
(one copy of the touched weights an adapter, on the model's device); the base's are copied too and put back by
copying, never by subtraction, so that no rounding is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open

from forewarn.errors import InputError, ModelError
from forewarn.models.loading import peft_calls
from forewarn.models.receipts import adapter_config

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
        wrapped = self._wrapped(folder, _read_config(folder))
        try:
            touched = _touched(wrapped.get_base_model())
            for key, weight in touched.items():
                if key not in self._base:
                    self._base[key] = weight.detach().clone()
            try:
                if layer := tied_layer(wrapped):
                    raise ModelError(f"the adapter in {folder} changes {layer}, {_TIED}")
                self._fill(wrapped, folder)
                if any(not weight.equal(self._base[key]) for key, weight in touched.items()):
                    raise ModelError(f"the adapter in {folder} {_WHOLE}")
                wrapped.merge_adapter(["merging"])
                merged = {key: weight.detach().clone() for key, weight in touched.items()}
            finally:
                with torch.no_grad():
                    for key, weight in touched.items():
                        weight.copy_(self._base[key])
        finally:
            wrapped.unload()
        return merged

    def _wrapped(self, folder: Path, config: Any) -> PeftModel:
        """The model with the adapter's layers in it, without their weights."""
        try:
            with peft_calls():
                return PeftModel(self._model, config, "merging")
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            raise _unfit(folder, error) from None

    def _fill(self, wrapped: PeftModel, folder: Path) -> None:
        """Load the adapter's weights. ModelError where they are not those, and only those, of its layers on this model.

        PEFT leaves layers without weights as they were, and drops weights without a layer: the base would be measured
        under the adapter's name.
        """
        own = dict(wrapped.get_base_model().named_parameters())
        try:
            with safe_open(folder / "adapter_model.safetensors", "pt") as file:
                for key in file.keys():  # noqa: SIM118  it can't be iterated
                    weight = own.get(key.removeprefix(_PREFIX))
                    if weight is not None and not weight.equal(file.get_tensor(key).to(weight)):
                        raise ModelError(f"the adapter in {folder} {_WHOLE}")
            with peft_calls():
                found = wrapped.load_adapter(str(folder), "merging")
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise _unfit(folder, error) from None
        faults = [
            f"{what} weights for {_layers(keys)}"
            for what, keys in (("no", found.missing_keys), ("extra", found.unexpected_keys))
            if keys
        ]
        if faults:
            raise ModelError(
                f"the adapter in {folder} has {' and '.join(faults)}; give the base it was trained on, "
                "or copy the adapter again"
            )


_PREFIX = "base_model.model."
"""of the names of weights in PEFT's files"""
_WHOLE = (
    "also holds whole weights that are not this model's (PEFT saves embeddings so); "
    "give the base it was trained on, or merge it into a full model first"
)
_TIED = (
    "whose weight this model shares between its input and its output: merged, it would change both; "
    "give an adapter of other layers, or a model with the two untied"
)


def tied_layer(wrapped: PeftModel) -> str | None:
    """The name of an adapted layer whose weight is both the model's input embedding and its output, if there is one."""
    model = wrapped.get_base_model()
    ends = [
        layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None
    ]
    if len(ends) < 2 or ends[0] is not ends[1]:
        return None
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and getattr(module.get_base_layer(), "weight", None) is ends[0]:
            return str(name)
    return None


def _unfit(folder: Path, error: BaseException) -> ModelError:
    reason = " ".join(str(error).split())[:300]
    return ModelError(
        f"can't load the adapter in {folder} onto this model: {reason}; give the base that it was trained on"
    )


def _layers(keys: Sequence[str]) -> str:
    """The first layer that weights belong to, and how many more."""
    names = list(dict.fromkeys(re.sub(r"\.lora_.*$", "", key.removeprefix(_PREFIX)) for key in keys))
    return names[0] + (f" (and {len(names) - 1} layers more)" if len(names) > 1 else "")


def _read_config(folder: Path) -> Any:
    """The adapter's configuration. Raises ModelError where it is unreadable, or holds more than changes of layers."""
    config = adapter_config(folder)
    if config.get("modules_to_save") or config.get("bias", "none") != "none":
        raise ModelError(
            f"the adapter in {folder} also holds whole modules or biases; merge it into a full model first"
        )
    try:
        with peft_calls():
            read = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unfit(folder, error) from None
    if read.is_prompt_learning:
        raise ModelError(
            f"the adapter in {folder} is of type {config.get('peft_type')}: give a LoRA, or a merged model"
        )
    read.inference_mode = True
    return read


def _touched(model: Any) -> Weights:
    """Parameters of the base layers inside tuner layers, under the names they have without the tuner."""
    found: Weights = {}
    for module_name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            for name, parameter in module.get_base_layer().named_parameters():
                key = f"{module_name}.{name}".replace(".base_layer", "")
                found[key] = parameter
    return found
