"""Checkpoints of a running training, kept by hard links: they stay when the trainer prunes its folder.

A link costs no space while the trainer keeps the file. Files of the optimizer are left out. Where links can't be made
(another file system), files are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.places import model_in, needs_converter
from forewarn.errors import InputError, StoreError
from forewarn.store import read_json, write_json

FOLDER = "checkpoints"
"""in the run folder"""
NOT_THE_MODEL = ("optimizer*", "scheduler*", "rng_state*", "scaler*", "zero_*", "*optim_states*", "optim_world_size*")
"""globs of files that only the trainer needs"""


@dataclass(frozen=True, slots=True)
class Pin:
    """A kept checkpoint."""

    name: str
    """the checkpoint's, as its trainer calls it"""
    step: int
    folder: Path
    """the kept files"""
    weights: Path
    """where in them the model or adapter is, or what a converter is given"""


def pins_in(root: Path) -> list[Pin]:
    """Return the checkpoints that a run folder keeps, ordered by step. Raises StoreError for a damaged entry."""
    found = []
    for entry in sorted((root / FOLDER).glob("*.json")):
        held: Any = read_json(entry)
        folder = entry.with_suffix("")
        try:
            found.append(Pin(str(held["name"]), int(held["step"]), folder, folder / held["weights"]))
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"{entry} doesn't say which checkpoint is kept: delete it") from None
    return sorted(found, key=lambda pin: (pin.step, pin.name))


def pin(spot: Spot, root: Path) -> Pin | None:
    """Keep a whole checkpoint in the run folder ``root``; None if it was pruned meanwhile.

    Raises InputError where its weights are not in a folder, and StoreError where the run folder can't be written.
    """
    if spot.remote is not None:
        raise InputError(f"the weights of {spot.name} are at {spot.remote}, not in a folder: download them to watch")
    weights = spot.folder if needs_converter(spot) else model_in(spot)
    if weights is None:
        return None
    kept, entry = root / FOLDER / spot.name, root / FOLDER / f"{spot.name}.json"
    inner = weights.relative_to(spot.folder).as_posix()
    if not entry.exists():
        if not _linked(spot.folder, kept):
            return None
        write_json(entry, {"name": spot.name, "step": spot.step, "weights": inner})
    return Pin(spot.name, spot.step, kept, kept / inner)


def _linked(source: Path, kept: Path) -> bool:
    """Link a folder's files into another, all or none; False if it was pruned meanwhile."""
    unfinished = kept.with_name(f".{kept.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(kept, ignore_errors=True)  # of a watcher that was killed before it wrote the entry
        unfinished.mkdir(parents=True)
        shutil.copytree(
            source,
            unfinished,
            copy_function=_link,
            ignore=shutil.ignore_patterns(*NOT_THE_MODEL),
            dirs_exist_ok=True,
        )
        unfinished.rename(kept)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not source.is_dir() or isinstance(error, shutil.Error):
            return False
        raise StoreError(
            f"can't keep {source} in {kept.parent}: {error}; free some space, or give another run folder"
        ) from None
    return True


def _link(source: str, target: str) -> str:
    with contextlib.suppress(OSError):  # another file system, or one without links
        os.link(source, target)
        return target
    return str(shutil.copy2(source, target))
