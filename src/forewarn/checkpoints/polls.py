"""Following a training that goes on: which of its checkpoints are whole, found by looking again and again.

A checkpoint is whole when its trainer's sign is there, its files are as long as they say, and nothing of it changed
between two looks. A sign that is older than the weights is left from before the trainer wrote the folder again, or the
copying of files lost their order: then nothing has to change for a while. Plain listings: file notices don't work on
network file systems.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.layouts.base import TRAINER_STATE
from forewarn.checkpoints.places import spots_in, unmarked, unwritten
from forewarn.checkpoints.receipts import Signature

SIGNS = (TRAINER_STATE, ".checkpoint_complete")
"""files that trainers write into a checkpoint's folder last"""
WEIGHTS = (".safetensors", ".bin")
SETTLED_S = 600.0
"""how long a checkpoint whose sign is older than its weights must not have changed"""


class Polls:
    """Looks at one run's folder. State: what the looks before saw."""

    def __init__(self, run: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._before: dict[tuple[Path, str], tuple[Signature, float]] = {}

    def look(self) -> list[Spot]:
        """The checkpoints that are whole now, ordered by step; one needs two looks at least.

        Raises InputError where the folder holds two trainings.
        """
        spots = spots_in(self._run)
        lacking = unmarked(spots, watched=True)
        now: dict[tuple[Path, str], tuple[Signature, float]] = {}
        whole = []
        for spot in spots:
            key = (spot.folder, spot.name)
            try:
                mark = files_signature(spot)  # before the files are checked: what is written meanwhile shows next time
                if spot.folder in lacking or unwritten(spot) is not None:
                    continue
            except OSError:  # pruned while it was looked at
                continue
            seen, since = self._before.get(key, (None, 0.0))
            now[key] = (mark, since if seen == mark else self._clock())
            if seen == mark and (not sign_is_older(mark) or self._clock() - since >= SETTLED_S):
                whole.append(spot)
        self._before = now
        return whole

    def seen(self, spot: Spot) -> Signature:
        """The marks of a checkpoint's files at the last look, which found it."""
        return self._before[spot.folder, spot.name][0]


def sign_is_older(mark: Signature) -> bool:
    """Whether weights were written after the trainer's sign that the checkpoint is whole."""
    signs = [at for path, _, at in mark if path in SIGNS]
    weights = [at for path, _, at in mark if path.endswith(WEIGHTS)]
    return bool(signs) and max(weights, default=0) > max(signs)


def files_signature(spot: Spot) -> Signature:
    """(path, bytes, modification time in ns) of every file of a checkpoint."""
    if spot.remote is not None:
        return ((spot.remote, 0, 0),)
    stats = [(path, path.stat()) for path in sorted(spot.folder.rglob("*")) if path.is_file()]
    return tuple((path.relative_to(spot.folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats)
