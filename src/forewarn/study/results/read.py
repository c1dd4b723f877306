"""What a run folder holds so far: every cell's estimate, hits and label counts, or the stage that the cell waits for.

Reads only. A folder that is still growing, that lacks cells, or that has not seen a hit is read like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import StoreError
from forewarn.prediction import Training
from forewarn.store import RunFolder, read_json
from forewarn.study.folder.cells import Labels, exploits_of, labelled, read_verdicts, sampled
from forewarn.study.folder.manifest import MANIFEST_FILE, check_measures, read_missing, read_plan, training_in
from forewarn.study.folder.schemas import COMPLETIONS, HIT_ROWS, SCORES, VERDICTS
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.keys import CellRecord, scores_key
from forewarn.study.results.estimates import cell_estimate

NO_ANSWER = "no answer"
OUTCOMES = ("solved", "failed", "lucky", "exploit", "strict", "inconsistent", "invalid", NO_ANSWER)
"""what a completion can turn out to be: a verdict's label, or no answer to judge"""


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell of a study's plan, as far as it has come."""

    record: CellRecord
    estimate: CellEstimate | None
    """None while the cell waits for something"""
    outcomes: Mapping[str, int]
    """completions by outcome, in the order of ``OUTCOMES``; empty until every submission has its verdict"""
    waits_for: str | None
    """the stage whose results are not there yet: completions, verdicts or scores; None: the cell is whole"""
    fault: str | None = None
    """why the last run left the cell out; None: nothing went wrong"""


@dataclass(frozen=True, slots=True)
class RunResults:
    """A run folder's results at the time it was read."""

    root: Path
    study: str
    """the study's name"""
    seed: int
    level: float
    cells: tuple[CellResult, ...]
    """every cell of the plan, in the plan's order"""
    hits: pl.DataFrame
    """the whole cells' exploits: ``tables.HIT_ROWS``"""
    training: Training | None = None
    """what the study's file says of the training; None: nothing"""

    @property
    def estimates(self) -> list[CellEstimate]:
        """The estimates of the cells that are whole."""
        return [cell.estimate for cell in self.cells if cell.estimate is not None]

    @property
    def waiting(self) -> list[CellResult]:
        """The cells that are not whole."""
        return [cell for cell in self.cells if cell.waits_for is not None]


def read_results(root: Path) -> RunResults:
    """Read a run folder at any time after ``run_study`` began. Raises StoreError where the folder is not a study's, and
    InputError for a pilot or a refinement batch."""
    check_measures(root)
    level, records, problem_keys = read_plan(root)
    name, seed, training = _named(root)
    verdicts, labels = read_verdicts(root), Labels()
    labels.learn(verdicts)
    judged = set(verdicts.select("problem_key", "code_key").iter_rows())
    faults = {(mark.checkpoint_id, mark.exploit_type): mark.reason for mark in read_missing(root)}
    run, cells, details = RunFolder(root), [], [pl.DataFrame(schema=HIT_ROWS)]
    for record in records:
        fault = faults.get((record.checkpoint_id, record.exploit_type))
        if not sampled(run, record):
            cells.append(CellResult(record, None, {}, COMPLETIONS, fault))
            continue
        table = labelled(run, record, problem_keys, labels)
        pairs = table.filter(pl.col("code_key").is_not_null()).select("problem_id", "code_key").unique().iter_rows()
        if any((problem_keys[problem_id], code_key) not in judged for problem_id, code_key in pairs):
            cells.append(CellResult(record, None, {}, VERDICTS, fault))
            continue
        outcomes, hit_ids = count_outcomes(table), exploits_of(table)
        key = scores_key(record.key, hit_ids)
        if hit_ids and not run.shards(SCORES).has(key):
            cells.append(CellResult(record, None, outcomes, SCORES, fault))
            continue
        estimate, detail = cell_estimate(record, level, table, run.shards(SCORES).read(key) if hit_ids else None)
        cells.append(CellResult(record, estimate, outcomes, None))
        details.append(detail)
    return RunResults(root, name, seed, level, tuple(cells), pl.concat(details), training)


def count_outcomes(labelled: pl.DataFrame) -> dict[str, int]:
    """How many completions of a labelled table had each outcome; outcomes that never occurred are left out."""
    found = Counter[str]()
    for code_key, label in labelled.select("code_key", "label").iter_rows():
        found[NO_ANSWER if code_key is None else label] += 1
    return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


def _named(root: Path) -> tuple[str, int, Training | None]:
    """The study's name and seed, and what it says of the training."""
    path = root / MANIFEST_FILE
    manifest: Any = read_json(path)
    name, seed = manifest.get("study"), manifest.get("seed")
    if not isinstance(name, str) or not isinstance(seed, int):
        raise StoreError(f"{path} doesn't name its study and seed; run the study again to write that file again")
    return name, seed, training_in(manifest, path)
