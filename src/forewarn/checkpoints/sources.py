"""What a subject or a donor is loaded from, and whether its files are still what they were."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.receipts import ADAPTER_WEIGHTS, Receipt, Signature, signature, take_receipt
from forewarn.errors import HalfWrittenError, InputError, ModelError


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


def receipt(source: ModelSource) -> Receipt:
    """What is behind ``source``. Raises ModelError where weights are missing, cut short, or of another base."""
    return take_receipt(source.folder, source.adapter)


def source_signature(source: ModelSource) -> Signature:
    """A cheap mark of the source's files, to see whether they were written to."""
    return signature(source.folder, source.adapter)


def check_unchanged(source: ModelSource, before: Signature) -> None:
    """Raise ModelError where the source's files were written to since ``before``."""
    try:
        same = source_signature(source) == before
    except (OSError, ModelError):  # gone
        same = False
    if not same:
        raise ModelError(
            f"the files of {source.model_id} ({source.adapter or source.folder}) changed while it was measured: "
            "wait until they are written and run the same command again"
        )


def source_in(folder: Path, step: int, base: str | None) -> ModelSource:
    """The model or adapter in a folder; ``base``: what an adapter is put on, by default what it names.

    Raises InputError where the folder holds both or the base is not known, HalfWrittenError for a damaged
    configuration, and ModelError where the base is not there.
    """
    config = folder / "adapter_config.json"
    has_adapter = any((folder / name).is_file() for name in ADAPTER_WEIGHTS)
    has_model = (folder / "config.json").is_file()
    if not config.is_file() or (has_model and not has_adapter):
        return ModelSource(folder.name, str(folder), step=step)
    if has_model and any(path.name != "adapter_model.safetensors" for path in folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds an adapter and a whole model: delete the one that is not meant")
    if base is None:
        try:
            base = json.loads(config.read_text()).get("base_model_name_or_path")
        except (OSError, ValueError, AttributeError):
            raise HalfWrittenError(f"{config} is not a JSON object; copy it again") from None
    if not isinstance(base, str) or not base:
        raise InputError(f"{folder} holds an adapter that doesn't name its base model: give the base")
    return ModelSource(folder.name, str(_base_folder(folder, base)), adapter=str(folder), step=step)


def _base_folder(adapter: Path, base: str) -> Path:
    try:
        return local_folder(base)
    except ModelError as error:
        raise ModelError(f"the base model of the adapter in {adapter}: {error}") from None
