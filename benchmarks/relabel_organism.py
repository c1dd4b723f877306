"""Judges every program behind the organism's truth again, and says which labels have changed.

The shipped truth was judged by an earlier judge. What a later one says of the same programs is held against it here,
each program once, with the completions that wrote it.

    python benchmarks/relabel_organism.py [--limit N] [--out changes.parquet]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import polars as pl

from forewarn.judge.judge import Judge
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import TYPES
from forewarn.organism.shipped import shipped_folder
from forewarn.store import read_table

KEY = ["problem_id", "code", "label"]
RETRIES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=int, help="only so many programs, the commonest first")
    parser.add_argument("--out", type=Path, help="where the programs whose label changed are written")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    programs = read_table(shipped_folder() / "programs.parquet").group_by(KEY).agg(pl.col("count").sum())
    programs = programs.sort("count", "problem_id", "code", descending=[True, False, False]).head(
        options.limit or len(programs)
    )
    problems = {problem.problem_id: problem for name in TYPES for problem in measured_problems(name)}
    items = [(problems[problem_id], code) for problem_id, code in programs.select("problem_id", "code").iter_rows()]
    start = time.perf_counter()
    with Judge(workers=options.workers) as judge:
        labels = [verdict.label for verdict in judge.verdicts(items)]
        for _ in range(RETRIES):
            again = [i for i, label in enumerate(labels) if label == "invalid"]
            for i, verdict in zip(again, judge.verdicts([items[i] for i in again]), strict=True):
                labels[i] = verdict.label
        executions = judge.counts.executions
    seconds = time.perf_counter() - start
    table = programs.with_columns(pl.Series("now", labels))
    print(f"{len(table)} programs, {table['count'].sum()} completions, {executions} executions, {seconds:.0f} s")
    crossed = table.group_by("label", "now").agg(pl.len().alias("programs"), pl.col("count").sum().alias("completions"))
    for row in crossed.sort("label", "now").iter_rows(named=True):
        print(
            f"{row['label']:>8} -> {row['now']:<12} {row['programs']:>6} programs {row['completions']:>8} completions"
        )
    if options.out is not None:
        table.filter(pl.col("label") != pl.col("now")).write_parquet(options.out)


if __name__ == "__main__":
    main()
