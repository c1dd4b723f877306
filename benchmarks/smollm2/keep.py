"""What the repository keeps of a study and of its truth, in a folder that ``ablation.py`` reads.

    python benchmarks/smollm2/keep.py RUN DATA TRUTH=PREFIX [TRUTH=PREFIX ...]

``RUN`` is the study's run folder, ``TRUTH`` a folder of ``truth.py`` with its ``rates.json``. A checkpoint of the truth
has the name that the study gives to the same weights, or else ``PREFIX`` and its step. Written are

- ``rates.json``: counts and interval of each cell that was drawn;
- ``programs.jsonl``: the accepted programs of the cells up to a rate of ``LISTED``, since commoner ones fill megabytes;
- ``completions.parquet``: a row for each completion of the study's whole cells, without its text: the span, problem and
  trace it came from, its label, and of an exploit the log-ratios of every span.

Cells that the study did not finish are named and left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forewarn.store import RunFolder, read_json, write_json, write_table, write_whole
from forewarn.study.folder.cells import exploits_of, labelled, read_labels
from forewarn.study.folder.manifest import read_plan
from forewarn.study.folder.schemas import DONOR_PREFIX, SCORES
from forewarn.study.keys import CellRecord, scores_key
from forewarn.study.results.estimates import wrote_the_beginning, wrote_whole_answer
from forewarn.study.results.read import read_results

LISTED = 0.1
DONOR = "donor"
"""the donor whose distance from the subject is kept, token by token"""
RATES, PROGRAMS, COMPLETIONS = "rates.json", "programs.jsonl", "completions.parquet"


def keep_truth(folders: list[tuple[Path, str]], names: dict[str, str], data: Path) -> None:
    """Rates and programs of several folders, under the study's names of the same weights."""
    cells, programs, level = [], [], None
    for folder, prefix in folders:
        held: Any = read_json(folder / RATES)
        level = held["level"]
        called = {}
        for row in held["cells"]:
            if row["n"]:
                called[row["checkpoint"]] = name = names.get(row["weights"], f"{prefix}-{row['step']}")
                cells.append(row | {"checkpoint": name})
        common = {(row["checkpoint"], row["type"]) for row in cells if row["rate"] > LISTED}
        for line in (folder / PROGRAMS).read_text().splitlines():
            row = json.loads(line)
            name = called[row["checkpoint"]]
            if (name, row["type"]) not in common:
                programs.append({key: value for key, value in row.items() if key != "step"} | {"checkpoint": name})
    cells.sort(key=lambda row: (row["checkpoint"], row["type"]))
    programs.sort(key=lambda row: (row["checkpoint"], row["type"], row["problem_id"], row["code"]))
    write_json(data / RATES, {"level": level, "cells": cells})
    write_whole(data / PROGRAMS, "".join(json.dumps(row) + "\n" for row in programs).encode())


@dataclass(frozen=True, slots=True)
class Drawn:
    """A cell as one run folder has it."""

    record: CellRecord
    table: pl.DataFrame
    hits: pl.DataFrame
    gaps: Mapping[str, list[float]]


def rows_of(parts: Sequence[Drawn]) -> pl.DataFrame:
    """A cell's completions, in the form that is kept. ``parts``: of run folders with the same shares."""
    record = parts[0].record
    span = {planned.span.name: i for i, planned in enumerate(record.spans)}
    gaps = {name: values for part in parts for name, values in part.gaps.items()}
    hits = pl.concat([part.hits.select("completion_id", "log_ratios") for part in parts])
    table = pl.concat(
        [part.table.with_columns(trace_id=pl.format(f"{i} {{}}", "trace_id")) for i, part in enumerate(parts)]
    )
    table = table.with_columns(
        checkpoint=pl.lit(record.checkpoint_id),
        type=pl.lit(record.exploit_type),
        span=pl.col("span").replace_strict(span, return_dtype=pl.UInt8),
        trace=pl.col("trace_id").rank("dense").cast(pl.UInt16),
        program=pl.col("code_key").rank("dense").cast(pl.UInt16),
        tokens=pl.col("token_ids").list.len().cast(pl.UInt8),
        donor_tokens=pl.col("donor_wrote").list.sum().cast(pl.UInt8),
        donor_answer=pl.Series(wrote_whole_answer(table)),
        donor_opened=pl.Series(wrote_the_beginning(table)),
        gaps=pl.Series([gaps.get(name) for name in table["completion_id"]], dtype=pl.List(pl.Float32)),
        wrote=pl.when(pl.col("label") == "exploit").then(pl.col("donor_wrote")),
    ).join(hits, on="completion_id", how="left", maintain_order="left")
    # an exploit whose scores contradict its own sampling is neither a hit nor a miss
    label = pl.when((pl.col("label") == "exploit") & pl.col("log_ratios").is_null()).then(pl.lit("invalid"))
    return table.with_columns(label.otherwise(pl.col("label")).alias("label")).select(
        "checkpoint", "type", "span", "problem_id", "trace", "label", "program", "tokens", "donor_tokens",
        "donor_answer", "donor_opened", "log_ratios", "gaps", "wrote",
    )  # fmt: skip


def _gaps(record: CellRecord, scores: pl.DataFrame | None, donor: str) -> dict[str, list[float]]:
    """log donor - log subject of each token (nats), by completion."""
    if scores is None:
        return {}
    by_model = {
        model: dict(scores.filter(pl.col("model_id") == model).select("completion_id", "log_probs").iter_rows())
        for model in (DONOR_PREFIX + donor, record.checkpoint_id)
    }
    written, subject = by_model.values()
    return {name: np.subtract(values, subject[name]).tolist() for name, values in written.items()}


def kept_cells(roots: Sequence[Path], donor: str = DONOR) -> pl.DataFrame:
    """The whole cells of some run folders, in the form that is kept, with a donor's distance; the others are named."""
    cells: dict[tuple[str, str], list[Drawn]] = {}
    for root in roots:
        results, run = read_results(root), RunFolder(root)
        _, _, problem_keys = read_plan(root)
        labels = read_labels(run)
        for cell in results.cells:
            record = cell.record
            others = cells.setdefault((record.checkpoint_id, record.exploit_type), [])
            if any(other.record.key == record.key for other in others):
                continue
            if cell.waits_for is not None:
                print(
                    f"left out: {root.name}: {record.checkpoint_id}, {record.exploit_type} waits for {cell.waits_for}"
                )
                continue
            table = labelled(run, record, problem_keys, labels)
            hit_ids = exploits_of(table)
            scores = run.shards(SCORES).read(scores_key(record.key, hit_ids)) if hit_ids else None
            others.append(Drawn(record, table, results.hits, _gaps(record, scores, donor)))
    return pl.concat([rows_of(parts) for parts in cells.values() if parts])


def keep_spans(root: Path, data: Path) -> None:
    """The counts of a run folder's spans, and its level."""
    _, records, _ = read_plan(root)
    spans = [{"name": planned.span.name, "count": planned.count} for planned in records[0].spans]
    write_json(data / "spans.json", {"level": read_results(root).level, "spans": spans})


def main() -> None:
    root, data = Path(sys.argv[1]), Path(sys.argv[2])
    folders = [(Path(folder), prefix) for folder, _, prefix in (given.rpartition("=") for given in sys.argv[3:])]
    data.mkdir(parents=True, exist_ok=True)
    _, records, _ = read_plan(root)
    keep_truth(folders, {str(record.receipt): record.checkpoint_id for record in records}, data)
    write_table(data / COMPLETIONS, kept_cells([root]))
    keep_spans(root, data)
    for path in sorted(data.glob("*.*")):
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
