"""What drawing a pilot cost on this machine: seconds a token, and the largest memory. Kept beside the pilot, so that a
call that finds all of it drawn knows it too."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import StoreError
from forewarn.store import RunFolder, read_json, write_json
from forewarn.study.folder.schemas import COMPLETIONS

COST_FILE = "cost.json"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call's work on one round of a pilot."""

    seconds: float
    """wall clock, sampling, judging and scoring"""
    tokens: int
    """of the completions drawn meanwhile"""
    peak_bytes: int
    """largest memory of the process and its workers so far"""


class Meter:
    """Measures calls and keeps what they cost in the pilot's folder."""

    def __init__(self, root: Path) -> None:
        self._path = root / COST_FILE

    @contextmanager
    def measured(self, run: RunFolder, workers: int) -> Iterator[None]:
        """What is drawn within into ``run`` is measured; a call that is cut short is not."""
        before, start = _tokens(run), time.monotonic()
        yield
        drawn = _tokens(run) - before
        if drawn:
            cost = Cost(time.monotonic() - start, drawn, _peak_bytes(workers))
            write_json(self._path, [*map(asdict, read_costs(self._path.parent)), asdict(cost)])


def read_costs(root: Path) -> list[Cost]:
    """What each call cost that drew something of the pilot in ``root``."""
    path = root / COST_FILE
    if not path.is_file():
        return []
    held: Any = read_json(path)
    try:
        return [Cost(**entry) for entry in held]
    except TypeError:
        said = json.dumps(held)[:60]
        raise StoreError(f"{path} has no costs ({said}): delete it and run the same command again") from None


def _tokens(run: RunFolder) -> int:
    shards = run.shards(COMPLETIONS)
    tables = (shards.read(key).select(pl.col("token_ids").list.len().sum()) for key in list(shards.keys()))
    return sum(int(table.item()) for table in tables)


def _peak_bytes(workers: int) -> int:
    """Of this process, and of its largest child once for each worker (the sandboxes are small beside a model)."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if workers > 1 else 0
    return unit * (own + workers * child)
