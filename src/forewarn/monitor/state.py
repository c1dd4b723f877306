"""What a watcher has done and has to do, as its run folder keeps it; and which checkpoint comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forewarn.monitor.pins import Pin
from forewarn.store import read_json

STATE_FILE = "watch.json"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong with a checkpoint."""

    times: int
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """What a watcher has done and has to do, by checkpoint name."""

    measured: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    failed: dict[str, Trouble] = field(default_factory=dict)
    """pending ones whose last try failed"""
    looked_unix_s: float | None = None
    """when the training's folder was last looked at, seconds since 1970"""


def read_state(root: Path) -> State | None:
    """Return the state of the watcher of a run folder; None where there never was one."""
    path = root / STATE_FILE
    if not path.exists():
        return None
    held: Any = read_json(path)
    failed = {name: Trouble(int(one["times"]), str(one["reason"])) for name, one in held["failed"].items()}
    return State(tuple(held["measured"]), tuple(held["pending"]), failed, held["looked_unix_s"])


def next_of(pending: Sequence[Pin], measured: Sequence[Pin]) -> Pin | None:
    """Return the checkpoint to measure next, None if there is none.

    The first of a run comes first, as everything is compared with it; then the newest, if it is newer than all that
    were measured; then the one that is furthest from measured ones on the scale of ln(step), so that when the training
    is faster than the measuring, what is left out is spread evenly.
    """
    if not pending:
        return None
    first, newest = min(pending, key=in_order), max(pending, key=in_order)
    if not measured:
        return first
    if newest.step > max(one.step for one in measured):
        return newest
    return max(pending, key=lambda one: (min(_distance(one, other) for other in measured), in_order(one)))


def in_order(one: Pin) -> tuple[int, str]:
    """Return what checkpoints are sorted by."""
    return one.step, one.name


def _distance(one: Pin, other: Pin) -> float:
    return abs(math.log1p(one.step) - math.log1p(other.step))
