"""Checkpoints of a running training, kept by hard links: they stay when the trainer prunes or rewrites its folder.

A link costs no space while the trainer keeps the file, but a trainer that writes into the file again changes the link
with it. So small files are copied, and each kept checkpoint remembers its trainer's files: where they were written to
since, the checkpoint is kept anew under a name of its own. Files of the optimizer are left out. Where links can't be
made (another file system), files are copied.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import threading
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.layouts.base import TRAINER_STATE
from forewarn.checkpoints.places import model_in, needs_converter
from forewarn.checkpoints.receipts import Signature
from forewarn.errors import InputError, StoreError
from forewarn.store import read_json, write_json

FOLDER = "checkpoints"
"""in the run folder"""
NOT_THE_MODEL = ("optimizer*", "scheduler*", "rng_state*", "scaler*", "zero_*", "*optim_states*", "optim_world_size*")
"""globs of files that only the trainer needs"""
COPIED_BYTES = 64 * 2**20
"""files up to this size are copied: an adapter, settings, a tokenizer"""
UNFINISHED, STALE_S = ".unfinished-", 3600.0
AGAIN = "~"
"""stands between a checkpoint's name and how often its trainer has written it, from the second time on"""


@dataclass(frozen=True, slots=True)
class Pin:
    """A kept checkpoint."""

    name: str
    """the checkpoint's, as its trainer calls it; where the trainer wrote it again, with ``AGAIN`` and a number"""
    step: int
    folder: Path
    """the kept files"""
    weights: Path
    """where in them the model or adapter is, or what a converter is given"""
    spot: str = ""
    """the name of the trainer's folder"""
    written: Signature | None = None
    """marks of the trainer's files as they were when they were kept; None: not known"""
    kept: Signature | None = None
    """marks of the kept files"""

    @property
    def intact(self) -> bool:
        """Whether the kept files are what was kept; a linked one changes when its trainer writes into it."""
        if self.kept is None:
            return True
        try:
            return _marks(self.folder) == self.kept
        except OSError:
            return False


def pins_in(root: Path) -> list[Pin]:
    """Return the checkpoints that a run folder keeps, ordered by step: of one that its trainer wrote again, the last.

    Raises StoreError for a damaged entry.
    """
    found: dict[str, Pin] = {}
    for entry in sorted((root / FOLDER).glob("*.json")):
        try:
            one = _read(entry)
        except StoreError:
            if not entry.exists():  # removed meanwhile, for one that its trainer wrote again
                continue
            raise
        if one.spot not in found or _times(found[one.spot]) < _times(one):
            found[one.spot] = one
    return sorted(found.values(), key=lambda one: (one.step, one.name))


def _read(entry: Path) -> Pin:
    held: Any = read_json(entry)
    folder = entry.with_suffix("")
    try:
        name, step, weights = str(held["name"]), int(held["step"]), folder / held["weights"]
        spot, written, kept = str(held.get("spot", name)), held.get("written"), held.get("kept")
        return Pin(name, step, folder, weights, spot, _signature(written), _signature(kept))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(f"{entry} doesn't say which checkpoint is kept: delete it") from None


def _signature(held: Any) -> Signature | None:
    return None if held is None else tuple((str(path), int(size), int(at)) for path, size, at in held)


def _times(one: Pin) -> int:
    """How often its trainer had written the checkpoint when it was kept."""
    return int(one.name[len(one.spot) + len(AGAIN) :] or 1)


def pin(spot: Spot, root: Path, *, seen: Signature | None = None) -> Pin | None:
    """Keep a whole checkpoint in the run folder ``root``; None if it is pruned or written to meanwhile.

    ``seen``: the marks of its files when it was seen to be whole; None: it is whole now, and nobody touches it. One
    that is kept already is left alone unless its trainer has written it again with other content: then it is kept
    under a new name, and what was kept before is removed. Raises InputError where its weights are not in a folder, and
    StoreError where the run folder can't be written.
    """
    if spot.remote is not None:
        raise InputError(f"the weights of {spot.name} are at {spot.remote}, not in a folder: download them to watch")
    weights = spot.folder if needs_converter(spot) else model_in(spot)
    if weights is None:
        return None
    before = next((one for one in pins_in(root) if one.spot == spot.name), None)
    try:
        written = _marks(spot.folder)
    except OSError:
        return None
    if before is not None and before.written in (None, written):
        return before
    if seen is not None and written != tuple(one for one in seen if _is_model(Path(one[0]).name)):
        return None
    inner = weights.relative_to(spot.folder).as_posix()
    again = before is not None and not _same(spot.folder, before, written)
    name = spot.name if before is None else f"{spot.name}{AGAIN}{_times(before) + 1}" if again else before.name
    kept = root / FOLDER / name
    if (before is None or again) and not _linked(spot.folder, kept, written):
        return None
    try:
        made = Pin(name, spot.step, kept, kept / inner, spot.name, written, _marks(kept))
    except OSError:  # another process keeps a later version already
        return None
    entry = {"name": name, "step": made.step, "weights": inner, "spot": made.spot}
    write_json(root / FOLDER / f"{name}.json", entry | {"written": made.written, "kept": made.kept})
    if before is not None and again:
        (root / FOLDER / f"{before.name}.json").unlink(missing_ok=True)
        shutil.rmtree(before.folder, ignore_errors=True)
    return made


def _marks(folder: Path) -> Signature:
    """The mark of every file of the model; the trainer's own state may be written to without the model changing."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_model(path.name)]
    return tuple(
        (path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns)
        for path in files
        for stat in [path.stat()]
    )


def _is_model(name: str) -> bool:
    return name != TRAINER_STATE and not any(fnmatch(name, glob) for glob in NOT_THE_MODEL)


def _same(source: Path, before: Pin, written: Signature) -> bool:
    """Whether files that were written to since have the content that was kept; then only their times are new."""
    if not before.intact or before.written is None:
        return False
    names = [path for path, _, _ in written]
    if names != [path for path, _, _ in before.written]:
        return False
    _, other, broken = filecmp.cmpfiles(source, before.folder, names, shallow=False)
    return not other and not broken


def _linked(source: Path, kept: Path, written: Signature) -> bool:
    """Link a folder's files, whose marks are ``written``, into another, all or none; False if they are not these.

    A callback in the training and a watcher may keep the same checkpoint at the same time: each works in a folder of
    its own, and they come to the same.
    """
    unfinished = kept.with_name(f".{kept.name}{UNFINISHED}{os.getpid()}-{threading.get_ident()}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        shutil.copytree(
            source,
            unfinished,
            copy_function=_link,
            ignore=shutil.ignore_patterns(*NOT_THE_MODEL),
            dirs_exist_ok=True,
        )
        if not _is_copy(unfinished, source, written):
            shutil.rmtree(unfinished, ignore_errors=True)
            return False
        if kept.is_dir() and _marks(kept) != _marks(unfinished):  # of one that was killed before it wrote the entry
            shutil.rmtree(kept, ignore_errors=True)
        unfinished.rename(kept)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if kept.is_dir():  # another was faster, or there is one that is the same
            return True
        if not source.is_dir() or isinstance(error, shutil.Error):
            return False
        raise StoreError(
            f"can't keep {source} in {kept.parent}: {error}; free some space, or give another run folder"
        ) from None
    return True


def _is_copy(copy: Path, source: Path, written: Signature) -> bool:
    """Whether a copy has all files, of the length that they had, and none was written to while it was made; the source
    may be gone by now, or in part."""
    if [one[:2] for one in _marks(copy)] != [one[:2] for one in written]:
        return False
    try:
        return set(_marks(source)) <= set(written)
    except OSError:
        return not source.is_dir()


def clear_unfinished(root: Path) -> None:
    """Remove what was left of keeping checkpoints by processes that were killed an hour ago or earlier."""
    for left in (root / FOLDER).glob(f".*{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _link(source: str, target: str) -> str:
    if os.stat(source).st_size > COPIED_BYTES:  # noqa: PTH116  called by shutil with text
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            return target
    return str(shutil.copy2(source, target))
