"""Widens the attention heads of a Llama-like model, for kernels that support only some head sizes.

vLLM's attention on CPUs needs heads of 32, 64, 80 ... numbers; a tiny model may have 24. Padding heads with zeros does
not change any dot product. The softmax's scale and the rotary frequencies depend on the head size; the query weights
and theta are changed to compensate. The result is exact up to rounding. LoRA adapters are widened in the same way.

Not supported: architectures whose rotary code isn't Llama's half-split, or with biases or norms inside the attention.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from forewarn.errors import ModelError

TYPES = ("llama", "mistral")
"""model types whose attention is the plain one"""


def widen(folder: Path, out: Path, head_dim: int) -> Path:
    """Write the model in ``folder`` with heads of ``head_dim`` to ``out``, unless it exists, and return ``out``.

    Raises ModelError for other architectures, biases, shards, or a size that is odd or below the model's own.
    """
    config = _config(folder / "config.json")
    size = _head_dim(config)
    if config.get("model_type") not in TYPES or config.get("attention_bias"):
        raise ModelError(
            f"{folder} is a {config.get('model_type')!r} model: only {' and '.join(TYPES)} without attention biases "
            "can be widened"
        )
    if head_dim < size or head_dim % 2:
        raise ModelError(f"head_dim is {head_dim}: give an even number of at least the model's {size}")
    if (out / "config.json").exists():
        return out
    tensors = _tensors(folder / "model.safetensors")
    wide = {name: _weight(name, value, size, head_dim) for name, value in tensors.items()}
    rope = dict(config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 1e4), "rope_type": "default"})
    if rope.get("rope_type", "default") != "default":
        raise ModelError(
            f"{folder} has rotary scaling {rope['rope_type']!r}: only plain rotary positions can be widened"
        )
    rope["rope_theta"] = float(rope["rope_theta"]) ** (head_dim / size)
    config |= {"head_dim": head_dim, "rope_parameters": rope}
    if "rope_theta" in config:
        config["rope_theta"] = rope["rope_theta"]
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.suffix in (".json", ".jinja", ".txt", ".model") and path.name != "config.json":
            shutil.copy2(path, out / path.name)
    save_file(wide, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return out


def widen_adapter(folder: Path, out: Path, *, base: Path, wide_base: Path, head_dim: int) -> Path:
    """Convert the LoRA adapter in ``folder``, made for ``base``, to the widened model in ``wide_base``.

    Raises ModelError if the folder does not contain a complete adapter.
    """
    if (out / "adapter_config.json").exists():
        return out
    size = _head_dim(_config(base / "config.json"))
    wide = {}
    for name, value in _tensors(folder / "adapter_model.safetensors").items():
        # B writes into the projection's output rows, A reads its input columns; only these change with the heads
        touches = ("lora_B" in name and "o_proj" not in name) or ("lora_A" in name and "o_proj" in name)
        wide[name] = _weight(name, value, size, head_dim) if touches else value
    out.mkdir(parents=True, exist_ok=True)
    save_file(wide, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = _config(folder / "adapter_config.json") | {"base_model_name_or_path": str(wide_base)}
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return out


def _weight(name: str, value: torch.Tensor, size: int, wide: int) -> torch.Tensor:
    if "q_proj" in name:  # the softmax divides by the root of the head size
        return _rows(value, size, wide) * math.sqrt(wide / size)
    if "k_proj" in name or "v_proj" in name:
        return _rows(value, size, wide)
    if "o_proj" in name:
        return _rows(value.T, size, wide).T.contiguous()
    return value


def _rows(value: torch.Tensor, size: int, wide: int) -> torch.Tensor:
    """Spread each head's rows. Rotary position pairs row i with row i + half, so each half is padded separately."""
    heads = value.shape[0] // size
    out = value.new_zeros((heads, wide, value.shape[1]))
    parts = value.reshape(heads, size, value.shape[1])
    out[:, : size // 2] = parts[:, : size // 2]
    out[:, wide // 2 : wide // 2 + size // 2] = parts[:, size // 2 :]
    return out.reshape(heads * wide, value.shape[1])


def _head_dim(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read {path}: {error}; give a whole folder") from None
    return dict(found)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"{path} is missing: only models saved as one safetensors file can be widened")
    found: dict[str, torch.Tensor] = load_file(path)
    return found
