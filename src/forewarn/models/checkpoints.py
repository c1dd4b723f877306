"""Models on disk as a study names them: a folder, perhaps with an adapter, and a receipt of what they hold.

Covers whole models in transformers' format and PEFT adapters. Not here: loading (``loading.py``, ``adapters.py``).
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import InputError, ModelError
from forewarn.records import content_key

_IDENTITY_FREE = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "task_type")
_STEP = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A subject at one checkpoint, or a donor."""

    model_id: str
    """its name in records"""
    folder: str
    """a folder in transformers' format, or a hub name"""
    adapter: str | None = None
    """folder of a PEFT adapter on it"""
    step: int = 0
    """optimizer steps of training behind it; 0 for donors"""


def receipt(source: ModelSource) -> str:
    """A key of the weights and settings behind ``source``; it doesn't change when folders are moved.

    A hub name stands for itself. Raises ModelError where weights are missing or cut short.
    """
    parts = [_folder_receipt(Path(source.folder)) if Path(source.folder).is_dir() else f"hub:{source.folder}"]
    if source.adapter is not None:
        parts.append(_adapter_receipt(Path(source.adapter)))
    return content_key("model", *parts)


def _folder_receipt(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no config.json; give a folder saved by transformers")
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    if not weights:
        raise ModelError(f"{folder} holds no weights (*.safetensors); give a whole model folder")
    return content_key(_digest(folder / "config.json"), [(path.name, _digest(path)) for path in weights])


def _adapter_receipt(folder: Path) -> str:
    weights = folder / "adapter_model.safetensors"
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise ModelError(f"{folder} holds no readable adapter_config.json; give a folder saved by PEFT") from None
    if not weights.is_file():
        raise ModelError(f"{folder} holds no adapter_model.safetensors; give a whole adapter folder")
    return content_key({k: v for k, v in config.items() if k not in _IDENTITY_FREE}, _digest(weights))


def _digest(path: Path) -> str:
    if path.suffix == ".safetensors":
        check_whole(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_whole(path: Path) -> None:
    """Raise ModelError where a safetensors file is shorter than its header says (half-written, half-copied)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(8)
        n_header = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if n_header > size - 8:
            raise ModelError(f"{path} is cut short at {size} bytes; copy it again")
        try:
            header = json.loads(file.read(n_header))
        except ValueError:
            raise ModelError(f"{path} has no readable header; copy it again") from None
    end = max((int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"), default=0)
    if 8 + n_header + end != size:
        raise ModelError(f"{path} holds {size} bytes but its header asks for {8 + n_header + end}; copy it again")


def trainer_checkpoints(run: Path, *, base: str | None = None) -> tuple[ModelSource, ...]:
    """The checkpoints in a trainer's output folder (``checkpoint-100``, ``step-0004`` ...), ordered by step.

    Each may hold a whole model, or a PEFT adapter on ``base`` (default: the base its config names). A folder that is
    still being written is left out if it is the newest and refused otherwise. Raises InputError where there is none.
    """
    found = []
    for folder in run.iterdir() if run.is_dir() else ():
        match = _STEP.search(folder.name)
        if folder.is_dir() and match and folder.name[: match.start()].rstrip("-_") in ("checkpoint", "step", ""):
            found.append((int(match.group(1)), folder))
    sources = []
    for i, (step, folder) in enumerate(sorted(found)):
        source = _source(folder, step, base)
        try:
            receipt(source)
        except ModelError:
            if i + 1 < len(found):
                raise
            continue
        sources.append(source)
    if not sources:
        raise InputError(f"{run} holds no checkpoints (folders named checkpoint-<step> or step-<step>)")
    return tuple(sources)


def _source(folder: Path, step: int, base: str | None) -> ModelSource:
    config = folder / "adapter_config.json"
    if not config.is_file():
        return ModelSource(folder.name, str(folder), step=step)
    if base is None:
        try:
            base = json.loads(config.read_text()).get("base_model_name_or_path")
        except ValueError:
            raise ModelError(f"{config} is no JSON; copy it again") from None
    if not base:
        raise InputError(f"{folder} holds an adapter that doesn't name its base model: give the base")
    return ModelSource(folder.name, base, adapter=str(folder), step=step)
