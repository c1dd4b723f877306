"""The receipt of a subject's training: what a call must agree on to go on where an earlier one was cut off."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from forewarn import __version__
from forewarn.checkpoints.receipts import base_weights_key, take_receipt
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.formats import Channels
from forewarn.records import content_key
from forewarn.store import read_json, write_json
from forewarn.training.settings import SubjectSettings

RECEIPT_FILE = "forewarn_subject.json"
"""in the subject's folder: data, settings and code of its training; written before it begins"""
PACKAGES = ("trl", "transformers", "peft", "torch", "accelerate", "datasets")


def receipt_of(
    settings: SubjectSettings, base: Path, start: Path | None, data: str, channels: Channels
) -> dict[str, Any]:
    """Return the data, settings and code of a training."""
    return {
        "settings": json.loads(json.dumps(asdict(settings))),
        "base_weights": base_weights_key(base),
        "start": None if start is None else take_receipt(str(base), str(start)).adapter,
        "data": data,
        "format": content_key(asdict(channels.format), channels.system, channels.code_rule.key),
        "code": {"forewarn": __version__} | {name: version(name) for name in PACKAGES},
    }


def claim(folder: Path, receipt: dict[str, Any], where: str) -> None:
    """Write the receipt of a new subject, or compare it with that of the subject in ``folder``.

    Raises InputError where the folder holds other things or a subject that was trained otherwise, ModelError for a
    damaged receipt, and StoreError where nothing can be written.
    """
    file = folder / RECEIPT_FILE
    if not file.exists():
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{where}: path {folder} is a file: give a new folder")
        if folder.is_dir() and (held := sorted(folder.iterdir())):
            raise InputError(
                f"{where}: {folder} holds other things ({held[0].name}) and no subject with its {RECEIPT_FILE}: "
                "give a new folder, or empty this one"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"can't write {folder}: {error.strerror or error}; give another path") from None
        write_json(file, receipt)
        return
    before = read_json(file)
    if not isinstance(before, dict):
        raise ModelError(f"{file} has no receipt; give another path")
    if differing := [key for key in receipt if before.get(key) != receipt[key]]:
        said = ", ".join(_difference(key, before.get(key), receipt[key]) for key in differing)
        raise InputError(
            f"{where}: the subject in {folder} was trained otherwise: {said}; give a new path to train another, or put "
            "it back as it was"
        )


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return ", ".join(
            f"{name} {before.get(name)!r} (now {now[name]!r})" for name in now if before.get(name) != now[name]
        )
    return f"another {key.replace('_', ' ')}"
