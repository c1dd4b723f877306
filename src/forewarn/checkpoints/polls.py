"""Following a training that goes on: which of its checkpoints are whole, found by looking again and again.

A checkpoint is whole when its trainer's sign is there, its files are as long as they say, and nothing of it changed
between two looks. Plain listings: file notices don't work on network file systems.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.places import spots_in, unmarked, unwritten
from forewarn.checkpoints.receipts import Signature


class Polls:
    """Looks at one run's folder. State: what the look before saw."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._before: dict[tuple[Path, str], Signature] = {}

    def look(self, known: Collection[str] = ()) -> list[Spot]:
        """The checkpoints that are whole now, ordered by step, without those whose names are ``known``; one needs two
        looks at least.

        Raises InputError where the folder holds two trainings.
        """
        spots = spots_in(self._run)
        lacking = unmarked(spots, watched=True)
        now: dict[tuple[Path, str], Signature] = {}
        whole = []
        for spot in spots:
            key = (spot.folder, spot.name)
            if spot.name in known:
                continue
            try:
                mark = files_signature(spot)  # before the files are checked: what is written meanwhile shows next time
                if spot.folder in lacking or unwritten(spot) is not None:
                    continue
            except OSError:  # pruned while it was looked at
                continue
            now[key] = mark
            if self._before.get(key) == mark:
                whole.append(spot)
        self._before = now
        return whole


def files_signature(spot: Spot) -> Signature:
    """(path, bytes, modification time in ns) of every file of a checkpoint."""
    if spot.remote is not None:
        return ((spot.remote, 0, 0),)
    stats = [(path, path.stat()) for path in sorted(spot.folder.rglob("*")) if path.is_file()]
    return tuple((path.relative_to(spot.folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in stats)
