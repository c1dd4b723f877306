"""Which adapters vLLM accepts directly: plain LoRAs of the layers that it is started for.

vLLM's loader reads a few of PEFT's settings and otherwise goes by the names of the weights, so these names are checked;
``target_modules`` may be names, a pattern, or "all-linear". Not here: folders for scaled adapters, and ranks
(``requests.py``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from forewarn.checkpoints.receipts import adapter_config, adapter_weights_file
from forewarn.engines.transformers.adapter_kinds import KINDS, PLAIN_STARTS, fault
from forewarn.errors import ModelError

LORA_MODULES = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "experts"),
    *("qkv_proj", "gate_up_proj", "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
)
"""layers that may have LoRAs: attention and feed-forward layers, separate or fused, but not input and output layers"""
_OUTPUT, _EMBEDDING = ("lm_head",), ("embed_tokens",)

_OPTIONS = KINDS["LORA"] - {"modules_to_save", "use_dora", "trainable_token_indices"}
"""options that vLLM reads as PEFT does, or that do not affect the saved weights"""
_TRANSFORMERS = "merge it into a full model, or use the transformers engine"
_PREFIX = "base_model.model."


def check_adapter(source: Path) -> None:
    """Raise ModelError if vLLM would refuse the adapter, or would score a different model than PEFT's."""
    for name in _changed(source, plain_lora(source)):
        layer = name.rpartition(".")[2]
        if layer not in LORA_MODULES:
            raise ModelError(f"the adapter in {source} changes {layer}, {_why(layer)}: {_TRANSFORMERS}")


def plain_lora(source: Path) -> dict[str, Any]:
    """Return the settings of a LoRA that vLLM reads as PEFT does. Raises ModelError for all others."""
    saved = adapter_config(source)
    kind = saved.get("peft_type", "LORA")
    if kind != "LORA":
        raise ModelError(f"the adapter in {source} is of type {kind}, but vLLM accepts only LoRAs: {_TRANSFORMERS}")
    for option, value in saved.items():
        if fault("LORA", option, value, options=_OPTIONS, starts=PLAIN_STARTS):
            raise ModelError(
                f"the adapter in {source} is of type LORA with {option} = {value!r}, which vLLM doesn't handle as PEFT "
                f"does: {_TRANSFORMERS}"
            )
    return saved


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights in an adapter's file, as vLLM reads it."""
    if file.suffix == ".bin":
        found: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return found
    with safe_open(file, "pt") as opened:
        return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  it can't be iterated


def _why(layer: str) -> str:
    if layer in _OUTPUT:
        return "the output layer, which vLLM leaves out of prompt log-probs"
    if layer in _EMBEDDING:
        return "the input embedding, for which this engine doesn't enable LoRAs in vLLM"
    return f"which is not one of the layers for which this engine enables LoRAs in vLLM ({', '.join(LORA_MODULES)})"


def _changed(source: Path, saved: dict[str, Any]) -> list[str]:
    """Return the names of layers with weights in the adapter's file; if it can't be read, those that it names."""
    file = adapter_weights_file(source)
    try:
        if file.suffix == ".bin":
            keys = list(read_tensors(file))
        else:
            with safe_open(file, "pt") as opened:
                keys = list(opened.keys())
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError):
        return _asked(saved.get("target_modules") or [])  # vLLM will say what is wrong with the file
    # PEFT keeps LoRAs of the weights of experts under "experts" and "experts.base_layer"
    layers = {re.sub(r"(\.base_layer)*(\.lora_.*|\.weight|\.bias)$", "", key.removeprefix(_PREFIX)) for key in keys}
    return sorted(layers)


def _asked(targets: list[str] | str) -> list[str]:
    """Return the layers in ``target_modules``; for a pattern, the input and output layers that it matches.

    "all-linear" means all layers except the output layer.
    """
    if not isinstance(targets, str):
        return sorted(targets)
    try:
        return [
            name
            for name in (*_OUTPUT, *_EMBEDDING)
            if any(re.fullmatch(targets, place + name) for place in ("", "model.", "language_model.model."))
        ]
    except re.error:
        return []
