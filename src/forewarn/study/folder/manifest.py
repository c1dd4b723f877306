"""What a run folder says of itself: the manifest of what was run, and what the last run could not do.

A mark of what is missing is no result: the next run tries again, and whatever is there by then counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from forewarn.errors import IncompleteError, InputError, StoreError
from forewarn.prediction import Training, TypeTraining
from forewarn.records import KEY_LENGTH
from forewarn.records.spans import span_entry, span_of
from forewarn.store import RunFolder, old_keys, read_json, write_json
from forewarn.study.folder.schemas import COMPLETIONS
from forewarn.study.keys import CellRecord
from forewarn.study.plan import PlannedSpan

MANIFEST_FILE, MISSING_FILE = "manifest.json", "missing.json"
_NAMED = 3
"""cells that a sentence names"""

Purpose = Literal["measurement", "pilot", "refinement", "rl"]
"""what a run folder's completions are for; those of a pilot, a refinement batch and RL never enter an estimate"""
KEPT_OUT = {
    "pilot": "is a pilot, drawn to plan a study",
    "refinement": "is a refinement batch, to which a donor was fitted",
    "rl": "holds the rollouts of a donor's training by RL",
}


def purpose_of(root: Path) -> Purpose:
    """What the completions of a run folder are for; folders of earlier versions, and those without a manifest, are
    taken for measurements."""
    path = root / MANIFEST_FILE
    held: Any = read_json(path) if path.is_file() else {}
    found: Any = held.get("purpose") if isinstance(held, dict) else None
    return found if found in KEPT_OUT else "measurement"


def check_measures(root: Path) -> None:
    """Raise InputError where a folder's completions must not enter an estimate: something was chosen by them."""
    if what := KEPT_OUT.get(purpose_of(root)):
        raise InputError(
            f"{root} {what}, and its completions never enter an estimate: run the study itself and give that run folder"
        )


def check_purpose(root: Path, purpose: Purpose) -> None:
    """Raise InputError where a run for one purpose is given the folder of another."""
    held = purpose_of(root)
    if held == purpose:
        return
    if held != "measurement":
        check_measures(root)
    # refinement batches of earlier versions bear no mark; another study's folder is refused by its identity
    if purpose == "pilot" and (root / MANIFEST_FILE).is_file():
        raise InputError(f"{root} holds a study's measurements: give the pilot a folder of its own")


def plan_entries(
    level: float,
    spans: Iterable[PlannedSpan],
    cells: Iterable[CellRecord],
    problem_keys: Mapping[str, str],
    own_spans: Mapping[str, Iterable[PlannedSpan]] | None = None,
) -> dict[str, object]:
    """The manifest's part that ``estimate_run`` reads."""
    return {
        "level": level,
        "spans": _span_entries(spans),
        "own_spans": {name: _span_entries(own) for name, own in (own_spans or {}).items()},
        "problem_keys": dict(problem_keys),
        "cells": [
            {
                "checkpoint_id": c.checkpoint_id,
                "step": c.step,
                "exploit_type": c.exploit_type,
                "key": c.key,
                "receipt": c.receipt,
                "submissions": c.submissions,
                "blocks": list(c.blocks),
                "rule": c.rule,
            }
            for c in cells
        ],
    }


def _span_entries(spans: Iterable[PlannedSpan]) -> list[dict[str, object]]:
    return [{**asdict(planned), "span": span_entry(planned.span)} for planned in spans]


def _spans_in(entries: Any) -> list[PlannedSpan]:
    return [
        PlannedSpan(
            span_of(entry["span"]), entry["count"], tuple(entry["exploit_types"]), tuple(entry.get("pieces", ()))
        )
        for entry in entries
    ]


def training_entry(training: Training) -> dict[str, object]:
    """What is known of the training, as plain data."""
    return {name: asdict(one) for name, one in training.types.items()}


def training_in(manifest: Mapping[str, Any], path: Path) -> Training | None:
    """The training that a manifest holds; None where nothing was known. Raises StoreError if it is damaged."""
    entry = manifest.get("training")
    if entry is None:
        return None
    try:
        return Training({name: TypeTraining(**one) for name, one in entry.items()})
    except (AttributeError, TypeError, InputError) as error:
        raise StoreError(f"{path} has a damaged training entry ({error}); run the study again to write it") from None


def read_plan(root: Path) -> tuple[float, list[CellRecord], dict[str, str]]:
    path = root / MANIFEST_FILE
    manifest: Any = read_json(path)
    try:
        spans = _spans_in(manifest["spans"])
        own = {name: _spans_in(entries) for name, entries in manifest.get("own_spans", {}).items()}
        cells = [CellRecord.of(spans, **cell, own=own.get(cell["checkpoint_id"])) for cell in manifest["cells"]]
        level, problem_keys = float(manifest["level"]), dict(manifest["problem_keys"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} doesn't say what was run ({type(error).__name__}: {error}); run the study again to write it"
        ) from None
    if any(len(key) != KEY_LENGTH for key in (*problem_keys.values(), *(cell.key for cell in cells))):
        raise old_keys(root)
    return level, cells, problem_keys


def check_same_checkpoints(root: Path, receipts: Mapping[str, str]) -> None:
    """Raise StoreError where a checkpoint's files are no longer those that the run folder measured.

    One of which nothing was kept yet, as it changed under its first measurement, was not measured.
    """
    path = root / MANIFEST_FILE
    if not path.is_file():
        return
    manifest: Any = read_json(path)
    if not isinstance(manifest, dict):
        return
    done = RunFolder(root).shards(COMPLETIONS)
    kept = {
        cell["checkpoint_id"]
        for cell in manifest.get("cells", ())
        if any(done.has(str(key)) for key in (cell["key"], *cell.get("blocks", ())))
    }
    for name, held in (manifest.get("model_receipts") or {}).items():
        measured = held.get("key") if isinstance(held, dict) else held
        if name in receipts and isinstance(measured, str) and len(measured) != KEY_LENGTH:
            raise old_keys(root)
        if name in receipts and name in kept and measured != receipts[name]:
            raise StoreError(
                f"checkpoint {name} has changed since {root} measured it (receipt {measured}, now {receipts[name]}): "
                "put back the files that were measured, or give another run folder"
            )


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
        raise StoreError(f"{path} is not a list of what is missing ({error}); delete it") from None


def incomplete(root: Path, missing: Sequence[Missing], n_cells: int, cells: Sequence[object]) -> IncompleteError:
    """The error of a study that ends with this missing. ``cells``: the estimates of the others."""
    named = "; ".join(f"{m.stage} of {m.exploit_type} at {m.checkpoint_id} ({m.reason})" for m in missing[:_NAMED])
    more = f"; and {len(missing) - _NAMED} more, in {root / MISSING_FILE}" if len(missing) > _NAMED else ""
    return IncompleteError(
        f"{len(missing)} of {n_cells} cells are missing: {named}{more}. The others are estimated and kept; run the "
        "study again to try these again, with fewer workers or a smaller batch size if memory was short",
        cells,
    )
