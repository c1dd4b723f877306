"""What a study could not do: cells over which every worker died, kept in the run folder with the reason.

A mark is no result: the next run tries again, and whatever is there by then counts. Not here: trying (``workers.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forewarn.errors import IncompleteError, StoreError
from forewarn.store import read_json, write_json

MISSING_FILE = "missing.json"
_NAMED = 3
"""cells that a sentence names"""


@dataclass(frozen=True, slots=True)
class Missing:
    """One cell's piece of work that could not be done."""

    stage: str
    """completions or scores"""
    checkpoint_id: str
    exploit_type: str
    reason: str


def write_missing(root: Path, missing: Sequence[Missing]) -> None:
    """Keep what is missing now, in place of what was missing before."""
    if missing:
        write_json(root / MISSING_FILE, [asdict(mark) for mark in missing])
    else:
        (root / MISSING_FILE).unlink(missing_ok=True)


def read_missing(root: Path) -> tuple[Missing, ...]:
    """What the last run could not do. Raises StoreError for a damaged file."""
    path = root / MISSING_FILE
    if not path.exists():
        return ()
    marks: Any = read_json(path)
    try:
        return tuple(Missing(**mark) for mark in marks)
    except TypeError as error:
        raise StoreError(f"{path} holds no list of what is missing ({error}); delete it") from None


def incomplete(root: Path, missing: Sequence[Missing], n_cells: int, cells: Sequence[object]) -> IncompleteError:
    """The error of a study that ends with this missing. ``cells``: the estimates of the others."""
    named = "; ".join(f"{m.stage} of {m.exploit_type} at {m.checkpoint_id} ({m.reason})" for m in missing[:_NAMED])
    more = f"; and {len(missing) - _NAMED} more, in {root / MISSING_FILE}" if len(missing) > _NAMED else ""
    return IncompleteError(
        f"{len(missing)} of {n_cells} cells are missing: {named}{more}. The others are estimated and kept; run the "
        "study again to try these again, with fewer workers or a smaller batch size if memory was short",
        cells,
    )
