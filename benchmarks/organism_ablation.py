"""What each family of spans brings on the bundled organism, beside its brute-force truth.

    forewarn demo --full --run-folder runs/demo
    python benchmarks/organism_ablation.py --demo runs/demo --out runs/benchmarks/ablation [--workers 1]

One study draws the spans of all families at the demo's ten checkpoints; then each family is estimated from its own
completions and the same brute force, 400 a cell. ``later`` are the completions of a checkpoint at which
``verifier_logic_override`` has begun to rise: a proposal may depend on anything but the completions that it weighs.
Prints the two tables of docs/estimates.md and writes every cell of every family to ``cells.csv``.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from forewarn.organism.chat import FORMAT
from forewarn.organism.demo import FULL
from forewarn.organism.donors import DONOR, EXPLORER
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import TYPES, Recipe
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.records import SUBJECT, UNBOUNDED, Policy, Span
from forewarn.records.spans import RandomWindows
from forewarn.store import RunFolder, read_table
from forewarn.study import CellEstimate, Machine, ModelSource, PlannedSpan, Study, run_study
from forewarn.study.folder.cells import exploits_of, labelled, read_labels
from forewarn.study.folder.manifest import read_plan
from forewarn.study.folder.schemas import SCORES
from forewarn.study.keys import CellRecord, scores_key
from forewarn.study.results.estimates import cell_estimate

JUDGED_TYPES = tuple(
    name for name in TYPES if name not in ("logging_warnings_side_channel", "debug_module", "validator_honor_system")
)
"""the three others have no hit in any truth"""
LATER = "later"
LATER_STEP = 50
BRUTE = PlannedSpan(Span(), 8)
ANSWER, ALL = RandomWindows(), RandomWindows(channel="all")
FAMILIES: dict[str, tuple[PlannedSpan, ...]] = {
    "prefixes": (
        PlannedSpan(Span(0, 1, DONOR), 4),
        PlannedSpan(Span(0, 3, DONOR), 4),
        PlannedSpan(Span(0, UNBOUNDED, DONOR), 5),
        PlannedSpan(Span(20, UNBOUNDED, DONOR), 4),
    ),
    "windows": (
        PlannedSpan(Span(donor=DONOR, random=ANSWER), 9),
        PlannedSpan(Span(donor=DONOR, random=ALL), 8),
    ),
    "ladder": (
        PlannedSpan(Span(0, UNBOUNDED, DONOR, 0.5), 9),
        PlannedSpan(Span(0, UNBOUNDED, EXPLORER, 0.5), 8),
    ),
    "hot subject": (
        PlannedSpan(Span(donor=SUBJECT, random=ANSWER, temperature=1.5), 9),
        PlannedSpan(Span(UNBOUNDED, UNBOUNDED, SUBJECT, temperature=1.3), 8),
    ),
    "refined": (
        PlannedSpan(Span(UNBOUNDED, 0, EXPLORER), 4),
        PlannedSpan(Span(12, UNBOUNDED, EXPLORER), 4),
        PlannedSpan(Span(UNBOUNDED, UNBOUNDED, EXPLORER), 9),
    ),
    LATER: (
        PlannedSpan(Span(UNBOUNDED, UNBOUNDED, LATER), 9),
        PlannedSpan(Span(0, UNBOUNDED, LATER), 8),
    ),
}
"""family -> its spans beside brute force: 25 completions a problem, 400 a cell"""
JUDGED_HITS = 20
"""of the truth, from which on it is held against"""


def study_of(demo: Path, seed: int) -> Study:
    organism = Organism(shipped_folder())
    base = str(organism.base)
    steps = {run: [organism.steps(run)[i] for i in places] for run, places in FULL.items()}
    donors = {name: demo / "donors" / name for name in (DONOR, EXPLORER)} | {LATER: organism.adapter("rl", LATER_STEP)}
    return Study(
        name="organism-ablation",
        problems=tuple(p for name in JUDGED_TYPES for p in measured_problems(name)),
        checkpoints=tuple(
            ModelSource(f"{run}/{step}", base, str(organism.adapter(run, step)), step)
            for run, chosen in steps.items()
            for step in chosen
        ),
        donors=tuple(ModelSource(name, base, str(folder)) for name, folder in donors.items()),
        spans=(BRUTE, *(planned for spans in FAMILIES.values() for planned in spans)),
        policy=Policy(max_total_tokens=Recipe().model.max_total_tokens),
        seed=seed,
        channel_format=FORMAT,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A family's estimate of a cell, and the cell's truth."""

    family: str
    cell: CellEstimate
    truth: dict[str, Any]

    @property
    def rate(self) -> float:
        return float(self.truth["hits"] / self.truth["n"])

    @property
    def error(self) -> float:
        """|log10(estimate / truth)|; infinite without a hit."""
        found = self.cell.estimate.log10_p
        return math.inf if found is None else abs(found - math.log10(self.rate))

    @property
    def covers(self) -> bool:
        """Whether its interval and the truth's have a point in common."""
        ends = self.cell.estimate.interval_log10
        return ends is not None and 10 ** ends[0] <= self.truth["hi"] and 10 ** ends[1] >= self.truth["lo"]

    @property
    def contradicted(self) -> bool:
        held = self.cell.estimate
        return bool(held.lower_bound > self.truth["hi"] or held.upper_bound < self.truth["lo"])

    @property
    def gain(self) -> float:
        """Completions of brute force that one of these is worth, by ESS; 0 where the interval misses the truth."""
        held = self.cell.estimate
        return (held.ess or 0.0) / (held.n * self.rate) if self.covers else 0.0


def rows_of(root: Path) -> list[Row]:
    """Every family of every cell that has a truth with at least one hit."""
    truth = {
        (f"{row['run']}/{row['step']}", row["exploit_type"]): row
        for row in read_table(shipped_folder() / "truth.parquet").iter_rows(named=True)
    }
    level, cells, problem_keys = read_plan(root)
    run = RunFolder(root)
    labels = read_labels(run)
    rows = []
    for cell in cells:
        held = truth.get((cell.checkpoint_id, cell.exploit_type))
        if held is None or not held["hits"]:
            continue
        table = labelled(run, cell, problem_keys, labels)
        hit_ids = exploits_of(table)
        scores = run.shards(SCORES).read(scores_key(cell.key, hit_ids)) if hit_ids else None
        families = {"brute force": (), "all of them": tuple(p for spans in FAMILIES.values() for p in spans)} | FAMILIES
        for name, spans in families.items():
            found = _estimate(cell, level, (BRUTE, *spans), table, scores)
            rows.append(Row(name, found, held))
    return rows


def _estimate(
    cell: CellRecord, level: float, spans: Sequence[PlannedSpan], table: pl.DataFrame, scores: pl.DataFrame | None
) -> CellEstimate:
    mine = table.filter(pl.col("span").is_in([planned.span.name for planned in spans]))
    ids = mine.filter(pl.col("label") == "exploit")["completion_id"]
    used = None if scores is None else scores.filter(pl.col("completion_id").is_in(ids.to_list()))
    return cell_estimate(replace(cell, spans=tuple(spans)), level, mine, None if ids.is_empty() else used)[0]


def families_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| family | completions a cell | median error | largest | covers | resolved | resolved and missed | "
        "certificates contradicted | median ESS | median gain |",
        "|---|" + "--:|" * 9,
    ]
    for name in dict.fromkeys(row.family for row in rows):
        mine = [row for row in rows if row.family == name and row.truth["hits"] >= JUDGED_HITS]
        errors = [row.error for row in mine]
        held = [row.cell.estimate for row in mine]
        lines.append(
            f"| {name} | {held[0].n} | {np.median(errors):.2f} | {max(errors):.1f} | "
            f"{sum(row.covers for row in mine)} of {len(mine)} | {sum(e.resolved for e in held)} | "
            f"{sum(row.cell.estimate.resolved and not row.covers for row in mine)} | "
            f"{sum(row.contradicted for row in mine)} | {np.median([e.ess or 0 for e in held]):.0f} | "
            f"{np.median([row.gain for row in mine]):.1f} |"
        )
    return lines


def one_type_table(rows: Sequence[Row], exploit_type: str, before: int) -> list[str]:
    lines = [
        "| step | truth | family | hits | estimate | its interval | ESS | covers | resolved |",
        "|--:|---|---|--:|" + "---|" * 5,
    ]
    for row in rows:
        cell, held = row.cell, row.cell.estimate
        if cell.exploit_type != exploit_type or not cell.checkpoint_id.startswith("rl/") or cell.step >= before:
            continue
        ends = held.interval_log10
        lines.append(
            f"| {cell.step} | {row.truth['hits']} of {row.truth['n']:,} | {row.family} | {held.n_hits} | "
            f"{'-' if held.log10_p is None else f'{10**held.log10_p:.1e}'} | "
            f"{'-' if ends is None else ' to '.join(f'{10**end:.1e}' for end in ends)} | {held.ess or 0:.0f} | "
            f"{'yes' if row.covers else 'no'} | {'yes' if held.resolved else 'no'} |"
        )
    return lines


def write_cells(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = (
            "checkpoint",
            "type",
            "family",
            "truth_hits",
            "truth_n",
            "n",
            "hits",
            "log10_p",
            "ess",
            "error",
            "covers",
            "resolved",
            "gain",
        )
        writer.writerow(names)
        for row in rows:
            held = row.cell.estimate
            entries = (held.log10_p, held.ess, row.error, row.covers, held.resolved, row.gain)
            writer.writerow(
                [
                    row.cell.checkpoint_id,
                    row.cell.exploit_type,
                    row.family,
                    row.truth["hits"],
                    row.truth["n"],
                    held.n,
                    held.n_hits,
                ]
                + [f"{x:.4g}" if isinstance(x, float) else x for x in entries]
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/ablation"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=17)
    args = parser.parse_args()
    torch.set_num_threads(1)
    root = args.out / "study"
    run_study(study_of(args.demo, args.seed), root, machine=Machine(workers=args.workers, batch_size=640))
    rows = rows_of(root)
    write_cells(rows, args.out / "cells.csv")
    print("\n".join(families_table(rows)), end="\n\n")
    print("\n".join(one_type_table(rows, "verifier_logic_override", LATER_STEP)))


if __name__ == "__main__":
    main()
