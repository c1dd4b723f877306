"""The folder of a donor that a study's file describes: where it may be, whether it is there as described, and filling
it whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forewarn.checkpoints.receipts import ADAPTER_WEIGHTS
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.store import read_json
from forewarn.study.config.schema import TrainingTable
from forewarn.training.settings import LoraSettings, SFTSettings
from forewarn.training.sft import SETTINGS_FILE


def settings_of(table: TrainingTable) -> SFTSettings:
    """How a table's donor is trained; one with a ``start`` has the LoRA of that."""
    fresh = getattr(table, "start", None) is None
    return SFTSettings(
        seed=table.seed,
        epochs=table.epochs,
        batch_size=table.batch_size,
        micro_batch_tokens=table.micro_batch_tokens,
        learning_rate=table.learning_rate,
        lora=LoraSettings(table.rank, table.alpha, table.target_modules) if fresh else None,
    )


def check_place(where: str, folder: Path, home: Path, base: str) -> None:
    """Raise InputError unless a donor is, or can be, in ``folder``: nothing that is not ours is written over."""
    real = folder.resolve()
    if home.is_relative_to(real):
        raise InputError(
            f"{where}: path {folder} is the folder of the file itself or above it: give a folder of its own"
        )
    if Path(base).is_dir() and real == Path(base).resolve():
        raise InputError(f"{where}: path and base are both {folder}: give the donor a folder of its own")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{where}: path {folder} is a file: give a new folder")
    if folder.is_dir() and not (folder / SETTINGS_FILE).exists() and (held := _others(real)):
        raise InputError(
            f"{where}: {folder} holds other things ({held[0].name}) and no donor with its {SETTINGS_FILE}: "
            "give a new folder, or empty this one"
        )


def as_kept(settings: SFTSettings) -> dict[str, Any]:
    """The settings as a JSON file gives them back."""
    kept: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return kept


def check_same(where: str, folder: Path, settings: SFTSettings) -> None:
    """Raise InputError where the donor in ``folder`` was trained otherwise than the file says now."""
    held = read_json(folder / SETTINGS_FILE)
    before = held.get("settings") if isinstance(held, dict) else None
    if not isinstance(before, dict):
        raise ModelError(f"{folder / SETTINGS_FILE} has no settings; give another path, or copy the donor again")
    now, before = _flat(as_kept(settings)), _flat(before)
    differing = [
        f"{key} {before[key]!r} (now {now[key]!r})" for key in now if key in before and now[key] != before[key]
    ]
    if differing:
        raise InputError(
            f"{where}: the one in {folder} was trained with {', '.join(differing)}: "
            "give a new path to train another, or put the settings back"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, those of the LoRA among them."""
    lora = settings.get("lora")
    return {key: value for key, value in settings.items() if key != "lora"} | (lora if isinstance(lora, dict) else {})


def copy_adapter(source: Path, target: Path) -> None:
    """Put the adapter in ``source``, its weights and configuration alone, into the new folder ``target``."""
    target.mkdir()
    for name in ("adapter_config.json", *ADAPTER_WEIGHTS):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _unfinished(final: Path) -> str:
    """What the name of a donor's folder begins with until it is whole; one that a crash left behind is no obstacle."""
    return f".{final.name}.unfinished-"


def _others(folder: Path) -> list[Path]:
    """What is in a folder that is not ours."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(_unfinished(folder)))


@contextmanager
def set_aside(folder: Path) -> Iterator[Path]:
    """A new folder whose files become those of ``folder`` at the end, or go where the work within fails.

    It is beside ``folder``, or in it where that is there already (it may be a mount). Raises StoreError where nothing
    can be written there, which is so before the work begins.
    """
    final = folder.resolve()
    there = final.is_dir()
    unfinished = (final if there else final.parent) / f"{_unfinished(final)}{os.getpid()}"
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
    except OSError as error:
        raise StoreError(f"can't write {folder}: {error.strerror or error}; give a path that can be written") from None
    try:
        yield unfinished
        try:
            if there and _others(final):
                raise OSError(f"something was put there meanwhile ({_others(final)[0].name})")
            if there:
                # the settings last: a folder without them was cut short
                for path in sorted(unfinished.iterdir(), key=lambda path: path.name == SETTINGS_FILE):
                    path.rename(final / path.name)
            else:
                unfinished.rename(final)  # refused where something was put there meanwhile
        except OSError as error:
            raise StoreError(
                f"can't write {folder}: {error.strerror or error}; give a new path and run the same command again"
            ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
