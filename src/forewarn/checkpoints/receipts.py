"""What a model's files hold, as hashes: weights, adapter, tokenizer, chat template. Half-written files are refused.

A receipt travels with every estimate, so that a number says which weights it is about.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.tensors import check_weights
from forewarn.errors import HalfWrittenError, ModelError
from forewarn.records import content_key

BASE_FILE, BASE_KEY = "forewarn_sft.json", "base_weights"
"""where our own training says which weights an adapter was trained on"""
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
"""files that PEFT keeps an adapter's weights in, and the order in which it looks for them"""
_IDENTITY_FREE = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "task_type")

_INDEX = ".index.json"
_WEIGHTS = ("model.safetensors", f"model.safetensors{_INDEX}", "pytorch_model.bin", f"pytorch_model.bin{_INDEX}")
"""where transformers finds a model's weights, in the order in which it looks"""

Signature = tuple[tuple[str, int, int], ...]
"""(file, bytes, modification time in ns) of every file that a receipt is about"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Hashes of what is behind a model; they don't change when folders are moved."""

    weights: str
    """weights and configuration"""
    adapter: str | None
    tokenizer: str | None
    """None: the folder has none, and the study's other models give it"""
    template: str | None
    """the tokenizer's chat template; None: there is none"""

    @property
    def key(self) -> str:
        """One key of everything that a sampled token depends on; the template is not, as formats are ours."""
        parts = [part for part in (self.weights, self.adapter) if part is not None]
        return content_key("model", *parts, *([] if self.tokenizer is None else ["tokenizer", self.tokenizer]))


def take_receipt(folder: str, adapter: str | None) -> Receipt:
    """The receipt of a model folder or hub name, perhaps with an adapter on it.

    Raises ModelError where weights are missing or cut short, or where the adapter was trained on another base.
    """
    base = local_folder(folder)
    parts = {path.name: _digest(path) for path in weight_files(base)}
    weights = content_key(_digest(base / "config.json"), list(parts.items()))
    adapted = None
    if adapter is not None:
        adapted = _adapter_receipt(local_folder(adapter))
        _check_base(local_folder(adapter), base, _weights_key(base))
    tokenizer = base / "tokenizer.json"
    return Receipt(
        weights=weights,
        adapter=adapted,
        tokenizer=_digest(tokenizer) if tokenizer.is_file() else None,
        template=_template_key(base),
    )


def signature(folder: str, adapter: str | None) -> Signature:
    """A cheap mark of the files behind a model: another one means that they were written to."""
    base = local_folder(folder)
    files = [base / "config.json", *weight_files(base), base / "tokenizer.json"]
    if adapter is not None:
        files += [local_folder(adapter) / name for name in ("adapter_config.json", *ADAPTER_WEIGHTS)]
    stats = [(path, path.stat()) for path in files if path.is_file()]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def weight_files(folder: Path) -> list[Path]:
    """The files that a whole model is loaded from. Raises ModelError where some are missing."""
    if not (folder / "config.json").is_file():
        raise HalfWrittenError(f"{folder} has no config.json; give {whole_folder(folder)}")
    read_object(folder / "config.json")
    # as transformers chooses: the first that is there, whatever lies beside it (a copy in another format, or its index)
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return [folder / name] if not name.endswith(_INDEX) else _parts(folder / name)
    raise HalfWrittenError(
        f"{folder} has no weights ({', '.join(_WEIGHTS)}); {_merge_first(folder) or 'give a whole model folder'}"
    )


def _parts(index: Path) -> list[Path]:
    """The files that an index names."""
    parts = read_object(index).get("weight_map", {})
    if not isinstance(parts, dict) or not parts or not all(isinstance(name, str) for name in parts.values()):
        raise HalfWrittenError(f"{index} names no files in its weight_map; copy it again")
    files = [index.parent / name for name in sorted(set(parts.values()))]
    if missing := [path for path in files if not path.is_file()]:
        raise HalfWrittenError(f"{index.parent} lacks {missing[0].name}, which its {index.name} names; copy it again")
    return files


def _merge_first(folder: Path) -> str:
    """The remedy where a trainer left shards of its own beside a folder of settings; empty where it didn't."""
    if any(folder.parent.glob("model_world_size_*_rank_*.pt")):
        return "merge the FSDP shards beside it first (verl: python -m verl.model_merger merge)"
    return ""


def whole_folder(folder: Path) -> str:
    """What to give instead of a model folder that can't be used."""
    adapter = (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    return "the base model's folder, as this one holds an adapter" if adapter else "a folder saved by transformers"


def _weights_key(folder: Path) -> str:
    """Of the weights alone: configurations differ in what is not a weight."""
    return content_key("weights", [(path.name, _digest(path)) for path in weight_files(folder)])


def base_weights_key(folder: Path | str) -> str:
    """What our own training writes down of the model it trained on (``BASE_KEY``)."""
    return _weights_key(local_folder(folder))


def adapter_config(folder: Path) -> dict[str, Any]:
    """The settings of a PEFT folder. Raises HalfWrittenError where it has none that can be read."""
    try:
        return read_object(folder / "adapter_config.json")
    except ModelError:
        raise HalfWrittenError(f"{folder} has no readable adapter_config.json; give a folder saved by PEFT") from None


def adapter_weights_file(folder: Path) -> Path:
    """The weights of the adapter in ``folder``. Raises HalfWrittenError where there are none."""
    for name in ADAPTER_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise HalfWrittenError(f"{folder} has no {' or '.join(ADAPTER_WEIGHTS)}; give a whole adapter folder")


def _adapter_receipt(folder: Path) -> str:
    config = adapter_config(folder)
    weights = _digest(adapter_weights_file(folder))
    return content_key({k: v for k, v in config.items() if k not in _IDENTITY_FREE}, weights)


def _check_base(adapter: Path, base: Path, base_key: str) -> None:
    """ModelError where the adapter says that it was trained on other weights than those of ``base``.

    It says so by our own training's note, or by naming a folder that is here; a name alone proves nothing, as models
    are moved.
    """
    noted = read_object(adapter / BASE_FILE).get(BASE_KEY) if (adapter / BASE_FILE).is_file() else None
    named = adapter_config(adapter).get("base_model_name_or_path") or ""
    where = ""
    if (
        noted is None
        and isinstance(named, str)
        and named
        and Path(named).is_dir()
        and (Path(named) / "config.json").is_file()
    ):
        noted, where = _weights_key(Path(named)), f" ({named})"
    # notes of earlier versions hold the first 64 bits alone
    if noted is not None and noted not in (base_key, base_key[:16]):
        raise ModelError(
            f"the adapter in {adapter} was trained on another base{where} than {base}: give the base it was trained on"
        )


def _template_key(folder: Path) -> str | None:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return content_key("template", own.read_text())
    config = folder / "tokenizer_config.json"
    template = read_object(config).get("chat_template") if config.is_file() else None
    return None if not template else content_key("template", template)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a model's file. Raises HalfWrittenError where there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        raise HalfWrittenError(f"{path} is not readable JSON; copy it again") from None
    if not isinstance(found, dict):
        raise HalfWrittenError(f"{path} is not a JSON object; copy it again")
    return found


def _digest(path: Path) -> str:
    stat = path.stat()
    return _checked_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=512)
def _checked_digest(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file that is whole; a file that was written to since is another entry."""
    check_weights(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(folder: Path) -> None:
    """Raise ModelError where files of the model or adapter in ``folder`` are missing or cut short. Hashes nothing."""
    adapter = not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file()
    if adapter:
        adapter_config(folder)
    for path in [adapter_weights_file(folder)] if adapter else weight_files(folder):
        check_weights(path)
