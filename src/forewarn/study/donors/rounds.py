"""Refinement in several rounds: each draws a batch with the donor of the round before, and fits another to it.

The batches and the donors between them lie in one folder, so that what was cut off goes on there. Not here: what a
batch is (``batch_plan.py``), drawing and fitting one (``batch.py``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.errors import InputError
from forewarn.store import read_json, write_json
from forewarn.study.donors.folder import copy_adapter
from forewarn.training.refine import WeightedExploit, effective_by_group, found_by_group, pooled
from forewarn.training.sft import SETTINGS_FILE

ROUND_FOLDER = "round-{}"
"""of a round's donor, in the last one's folder; and of its batch, in the run folder"""
BETWEEN = "donor-{}"
"""in the run folder: a round's donor, which draws the next batch"""
MADE_FILE = "forewarn_round.json"
"""in the folder of such a donor: how it was asked for"""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What one round's batch brought."""

    number: int
    """from 1"""
    found: Mapping[str, int]
    """exploits by type"""
    effective: Mapping[str, float]
    """effective number of them, by their weights"""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The exploits of all rounds, and the donors of all but the last, which is fitted to them."""

    exploits: tuple[WeightedExploit, ...]
    results: tuple[RoundResult, ...]
    donors: tuple[Path, ...]


def draw_rounds(
    count: int,
    root: Path,
    *,
    draw: Callable[[int, Path | None, Path], Sequence[WeightedExploit]],
    fit: Callable[[int, Sequence[WeightedExploit], Path], object],
    asked: Mapping[str, Any],
) -> Rounds:
    """Draw the batches of ``count`` rounds into ``root``, and fit the donors between them.

    ``draw(number, newest, folder)``: a batch's exploits, drawn also with the donor in ``newest``. ``fit(number,
    exploits, folder)``: a donor, left whole in ``folder`` or not at all. Each is fitted to the exploits of all batches
    so far. ``asked``: what a donor depends on but the batches; one that was made otherwise is refused by InputError.
    """
    batches: list[Sequence[WeightedExploit]] = []
    results, donors = [], list[Path]()
    for number in range(1, count + 1):
        newest = donors[-1] if donors else None
        batch = draw(number, newest, root / ROUND_FOLDER.format(number) if count > 1 else root)
        batches.append(batch)
        results.append(RoundResult(number, found_by_group(batch), effective_by_group(batch)))
        if number < count:
            donors.append(root / BETWEEN.format(number))
            _between(number, pooled(batches), donors[-1], fit, asked)
    return Rounds(tuple(pooled(batches)), tuple(results), tuple(donors))


def _between(
    number: int,
    exploits: Sequence[WeightedExploit],
    folder: Path,
    fit: Callable[[int, Sequence[WeightedExploit], Path], object],
    asked: Mapping[str, Any],
) -> None:
    """Fit a round's donor into ``folder``; one that is there whole, and was asked for alike, is left alone."""
    made = folder / MADE_FILE
    if (folder / SETTINGS_FILE).exists():
        before: Any = read_json(made) if made.is_file() else None
        if before != dict(asked):
            raise InputError(
                f"{folder} holds a donor of round {number} that was fitted otherwise than the file says now: give "
                "another --run-folder, or put the refinement's settings back"
            )
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(made, dict(asked))
    fit(number, exploits, folder)


def keep_rounds(rounds: Rounds, folder: Path) -> None:
    """Put the donors of all rounds but the last into folders in ``folder``, so that they can be donors of their own."""
    for number, donor in enumerate(rounds.donors, 1):
        copy_adapter(donor, folder / ROUND_FOLDER.format(number))
