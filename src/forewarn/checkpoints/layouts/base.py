"""What a checkpoint layout is: where a trainer puts a checkpoint, which sign says it is whole, how it is converted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Spot:
    """A checkpoint where its trainer puts it; nothing says yet that it is whole."""

    layout: Layout
    folder: Path
    """the checkpoint's folder; of checkpoints kept elsewhere, the folder of the list that names them"""
    step: int
    name: str
    remote: str | None = None
    """where the weights are, if not in ``folder``"""

    @property
    def source(self) -> str:
        """Where a converter finds the weights in the trainer's own form."""
        return self.remote if self.remote is not None else str(self.folder / self.layout.shards_in)


def step_by_name(folder: Path, number: int) -> int:
    """The number in the folder's name is the step."""
    return number


def no_marker(spot: Spot) -> str | None:
    """For a trainer that leaves no sign that a checkpoint is whole."""
    return None


@dataclass(frozen=True, slots=True)
class Layout:
    """How one trainer lays out the checkpoints of a run."""

    title: str
    """the trainer, as its makers write it"""
    pattern: re.Pattern[str]
    """what the whole name of a checkpoint's folder matches; its group "step" is the number"""
    shown: str
    """the same for people: checkpoint-N"""
    under: re.Pattern[str] | None = None
    """what the whole name of the folder above matches, where that is a part of the layout"""
    holds: tuple[str, ...] = ()
    """paths in a checkpoint's folder, one of which tells it from other trainers' of the same name; empty: no need"""
    step: Callable[[Path, int], int] = step_by_name
    """optimizer steps behind a checkpoint, from its folder and the number in its name"""
    weights_in: tuple[str, ...] = ("",)
    """where below the checkpoint's folder a model or adapter in Hugging Face form may be, in the order of looking"""
    unmarked: Callable[[Spot], str | None] = no_marker
    """what the trainer's own sign of a whole checkpoint lacks, as the end of a sentence; None: the sign is there"""
    always_marked: bool = True
    """whether this trainer always leaves its sign; else it is asked for only where another checkpoint has it"""
    shards: tuple[str, ...] = ()
    """globs below the checkpoint's folder of weights in the trainer's own form"""
    shards_in: str = ""
    """the folder of these that a converter is given"""
    convert: tuple[str, ...] = ()
    """the trainer's own converter as a command (see ``convert.py``); empty: it has none that is known"""
    by_epoch: bool = False
    """whether the number in a name counts epochs"""
    listed: Callable[[Path, Layout], list[Spot]] | None = None
    """reads the checkpoints of a run off a list that the trainer keeps, in place of folders"""


def is_model(folder: Path) -> bool:
    """Does it hold a model or an adapter itself?"""
    return (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()


def number_in(path: Path) -> int | None:
    """The number that a file holds as text; None where there is none yet."""
    try:
        return int(path.read_text().strip())
    except (OSError, ValueError):
        return None


def passed(spot: Spot, file: str) -> str | None:
    """For trainers that write the number of the last whole checkpoint into a file beside the checkpoints."""
    latest = number_in(spot.folder.parent / file)
    if latest is not None and spot.step <= latest:
        return None
    return f"is not written yet by {file}, which says {'nothing' if latest is None else latest}"
