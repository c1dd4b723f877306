"""What a watcher has done and has to do, as its run folder keeps it; and which checkpoint comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forewarn.errors import StoreError
from forewarn.monitor.pins import Pin
from forewarn.monitor.rounds import Drawn
from forewarn.store import read_json, write_json

STATE_FILE = "watch.json"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong with a checkpoint."""

    times: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refining:
    """A donor that is being refined."""

    donor: str
    """of the study's file"""
    name: str
    """of the one that it becomes"""
    checkpoint: str
    """whose exploits it is fitted to"""
    writers: Mapping[str, str]
    """who wrote in the place of the file's donors when this began, where that was not themselves"""


@dataclass(frozen=True, slots=True)
class State:
    """What a watcher has done and has to do, by checkpoint name."""

    training: str = ""
    measured: tuple[str, ...] = ()
    """all of whose planned completions are there"""
    pending: tuple[str, ...] = ()
    failed: dict[str, Trouble] = field(default_factory=dict)
    """pending ones whose last try failed"""
    looked_unix_s: float | None = None
    """when the training's folder was last looked at, seconds since 1970"""
    drawn: Mapping[str, Drawn] = field(default_factory=dict)
    """what was drawn of each, and is being drawn"""
    refined: Mapping[str, str] = field(default_factory=dict)
    """donor of the study's file -> the newest one that was refined from it"""
    refining: Refining | None = None

    @property
    def in_part(self) -> tuple[str, ...]:
        """The pending ones that are measured with a part of their completions."""
        return tuple(name for name in self.pending if name in self.drawn and self.drawn[name].rounds)


def read_state(root: Path) -> State | None:
    """Return the state of the watcher of a run folder; None where there never was one. Raises StoreError."""
    path = root / STATE_FILE
    if not path.exists():
        return None
    held: Any = read_json(path)
    try:
        refining = held.get("refining")
        failed = {name: Trouble(int(one["times"]), str(one["reason"])) for name, one in held["failed"].items()}
        drawn = {
            name: Drawn(
                tuple(map(tuple, one["rounds"])),
                None if one["begun"] is None else tuple(one["begun"]),
                one["completions"],
                one["seconds"],
                dict(one["donors"]),
            )
            for name, one in held.get("drawn", {}).items()  # earlier versions drew all at once
        }
        return State(
            str(held["training"]),
            tuple(held["measured"]),
            tuple(held["pending"]),
            failed,
            held["looked_unix_s"],
            drawn,
            dict(held.get("refined", {})),
            None if refining is None else Refining(**refining),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} doesn't say what was measured ({type(error).__name__}): delete it, and nothing is drawn twice"
        ) from None


def write_state(root: Path, state: State) -> None:
    """Keep the state."""
    write_json(root / STATE_FILE, asdict(state))


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
