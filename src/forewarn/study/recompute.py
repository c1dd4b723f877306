"""Estimates from what a run folder holds: completions, verdicts and scores. Needs no model, no problem and no sandbox.

The manifest says what was run; a new estimator, or another level, costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import StoreError
from forewarn.estimation.sample import check_level
from forewarn.records import KEY_LENGTH
from forewarn.spans import span_entry, span_of
from forewarn.store import RunFolder, old_keys, read_json, write_table
from forewarn.study.estimates import cell_estimate
from forewarn.study.missing import Missing, incomplete, read_missing
from forewarn.study.plan import CellRecord, PlannedSpan, scores_key
from forewarn.study.tables import HITS, CellEstimate, estimates_table
from forewarn.study.work import COMPLETIONS, SCORES, SUBMISSIONS, VERDICTS

ESTIMATES_FILE, HITS_FILE, MANIFEST_FILE = "estimates.parquet", "hits.parquet", "manifest.json"


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of submissions: (problem key, code key) -> label."""

    by_pair: dict[tuple[str, str], str] = field(default_factory=dict)

    def learn(self, table: pl.DataFrame) -> None:
        for problem, code, label in table.select("problem_key", "code_key", "label").iter_rows():
            if label != "invalid":  # broke that time; asked again
                self.by_pair[problem, code] = label


def read_labels(run: RunFolder) -> Labels:
    """The labels of every verdict in the folder."""
    shards, labels = run.shards(VERDICTS), Labels()
    for key in list(shards.keys()):
        labels.learn(shards.read(key))
    return labels


def submitted(run: RunFolder, cell: CellRecord) -> pl.DataFrame:
    """A cell's completions with their submissions, ``code`` and ``code_key``."""
    table = run.shards(COMPLETIONS).read(cell.key)
    if cell.submissions is None:
        return table
    read = run.shards(SUBMISSIONS).read(cell.submissions)
    table = table.drop("code", "code_key", strict=False)  # of earlier versions, read by another rule
    return table.join(read, on="completion_id", how="left", maintain_order="left")


def labelled(run: RunFolder, cell: CellRecord, problem_keys: Mapping[str, str], labels: Labels) -> pl.DataFrame:
    """A cell's completions with their labels: "failed" where no answer opened, "invalid" where judging broke.

    ``problem_keys``: by problem id.
    """
    table = submitted(run, cell)
    found = [
        "failed" if code is None else labels.by_pair.get((problem_keys[problem_id], code), "invalid")
        for problem_id, code in table.select("problem_id", "code_key").iter_rows()
    ]
    return table.with_columns(pl.Series("label", found, dtype=pl.String))


def exploits_of(table: pl.DataFrame) -> tuple[str, ...]:
    """Ids of a labelled table's exploits."""
    return tuple(table.filter(pl.col("label") == "exploit")["completion_id"].to_list())


def plan_entries(
    level: float, spans: Iterable[PlannedSpan], cells: Iterable[CellRecord], problem_keys: Mapping[str, str]
) -> dict[str, object]:
    """The manifest's part that ``estimate_run`` reads."""
    return {
        "level": level,
        "spans": [{**asdict(planned), "span": span_entry(planned.span)} for planned in spans],
        "problem_keys": dict(problem_keys),
        "cells": [
            {
                "checkpoint_id": c.checkpoint_id,
                "step": c.step,
                "exploit_type": c.exploit_type,
                "key": c.key,
                "receipt": c.receipt,
                "submissions": c.submissions,
            }
            for c in cells
        ],
    }


def read_plan(root: Path) -> tuple[float, list[CellRecord], dict[str, str]]:
    path = root / MANIFEST_FILE
    manifest: Any = read_json(path)
    try:
        spans = [
            PlannedSpan(span_of(entry["span"]), entry["count"], tuple(entry["exploit_types"]))
            for entry in manifest["spans"]
        ]
        cells = [CellRecord.of(spans, **cell) for cell in manifest["cells"]]
        level, problem_keys = float(manifest["level"]), dict(manifest["problem_keys"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} doesn't say what was run ({type(error).__name__}: {error}); run the study again to write it anew"
        ) from None
    if any(len(key) != KEY_LENGTH for key in (*problem_keys.values(), *(cell.key for cell in cells))):
        raise old_keys(root)
    return level, cells, problem_keys


def estimate_run(
    root: Path, *, level: float | None = None, progress: Callable[[str, int, int], None] | None = None
) -> list[CellEstimate]:
    """Estimate every cell of a finished study anew and return the estimates, in the study's order.

    Raises IncompleteError, which carries the other cells' estimates, where workers died over a cell until it was left
    out (``missing.py``) and its shards are still not there.

    ``level``: None is the study's own, and then ``estimates.parquet`` and ``hits.parquet`` are written; another level
    writes nothing. Raises InputError for a level outside (0, 1), and StoreError where the folder is no study, lacks a
    shard, or holds exploits without scores (a checker was mended: run the study again to score them).
    """
    if level is not None:
        check_level(level)
    planned, cells, problem_keys = read_plan(root)
    run = RunFolder(root)
    labels = read_labels(run)
    marks = {(mark.checkpoint_id, mark.exploit_type): mark for mark in read_missing(root)}
    missing: list[Missing] = []
    estimates, details = [], [pl.DataFrame(schema=HITS)]
    for done, cell in enumerate(cells):
        if progress is not None:
            progress("estimates", done, len(cells))
        mark = marks.get((cell.checkpoint_id, cell.exploit_type))
        if mark is not None and not sampled(run, cell):
            missing.append(mark)
            continue
        table = labelled(run, cell, problem_keys, labels)
        hit_ids = exploits_of(table)
        if mark is not None and hit_ids and not run.shards(SCORES).has(scores_key(cell.key, hit_ids)):
            missing.append(mark)
            continue
        estimate, detail = cell_estimate(cell, level or planned, table, _scores(run, cell, hit_ids))
        estimates.append(estimate)
        details.append(detail)
    if level is None or level == planned:
        write_table(root / HITS_FILE, pl.concat(details))
        write_table(root / ESTIMATES_FILE, estimates_table(estimates))
    if progress is not None:
        progress("estimates", len(cells), len(cells))
    if missing:
        raise incomplete(root, missing, len(cells), estimates)
    return estimates


def sampled(run: RunFolder, cell: CellRecord) -> bool:
    """Whether the cell's completions are there, and what was read off them."""
    read = cell.submissions is None or run.shards(SUBMISSIONS).has(cell.submissions)
    return read and run.shards(COMPLETIONS).has(cell.key)


def _scores(run: RunFolder, cell: CellRecord, hit_ids: tuple[str, ...]) -> pl.DataFrame | None:
    if not hit_ids:
        return None
    shards, key = run.shards(SCORES), scores_key(cell.key, hit_ids)
    if not shards.has(key):
        raise StoreError(
            f"{run.root} has no scores of the {len(hit_ids)} exploits of {cell.exploit_type} at {cell.checkpoint_id} "
            "as they are judged now; run the study again to score them"
        )
    return shards.read(key)
