"""Judging what was sampled: every submission that has no verdict yet, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import ExploitType
from forewarn.judge.judge import Judge
from forewarn.records import Problem, Verdict, content_key
from forewarn.store import RunFolder
from forewarn.study.folder.cells import Labels, read_labels, submitted
from forewarn.study.folder.tables import VERDICTS, verdicts_table
from forewarn.study.keys import CellRecord, Keys, problem_key
from forewarn.study.plan import Cell, Study

Progress = Callable[[str, int, int], None]
"""progress(stage, done, total)"""


@dataclass(frozen=True, slots=True)
class Sandboxing:
    """How submissions are judged; see ``Judge``."""

    workers: int = 2
    level: Literal["strict", "hardened"] | None = None
    allow_weak: bool = False
    timeout_s: float = 2.0
    types: Mapping[str, ExploitType] = field(default_factory=lambda: EXPLOIT_TYPES)
    unreadable: tuple[Path, ...] = ()
    """files that no submission may read: those that hold the study's problems"""


def judge_cells(
    study: Study, cells: Sequence[Cell], keys: Keys, run: RunFolder, sandboxing: Sandboxing, tell: Progress
) -> Labels:
    shards, labels = run.shards(VERDICTS), read_labels(run)
    problems = {problem.problem_id: (problem, problem_key(problem)) for problem in study.problems}
    judge: Judge | None = None
    try:
        for done, cell in enumerate(cells):
            tell(VERDICTS, done, len(cells))
            pairs = _unjudged(run, keys.record(cell), problems, labels)
            if not pairs:
                continue
            if judge is None:  # a re-run with nothing to judge needs no sandbox
                judge = Judge(
                    workers=sandboxing.workers,
                    level=sandboxing.level,
                    allow_weak=sandboxing.allow_weak,
                    timeout_s=sandboxing.timeout_s,
                    types=sandboxing.types,
                    unreadable=sandboxing.unreadable,
                )
            table = verdicts_table(_verdicts(judge, pairs, problems))
            # the cell's name is in the key: invalid pairs of two cells may be the same and judged at different times
            shards.write(content_key(VERDICTS, keys.cell(cell), sorted(table["code_key"].to_list())), table)
            labels.learn(table)
    finally:
        if judge is not None:
            judge.close()
    tell(VERDICTS, len(cells), len(cells))
    return labels


def _unjudged(
    run: RunFolder, cell: CellRecord, problems: Mapping[str, tuple[Problem, str]], labels: Labels
) -> list[tuple[str, str]]:
    """(problem id, code) of a cell's submissions that have no verdict yet, each once."""
    table = submitted(run, cell).filter(pl.col("code").is_not_null())
    distinct = table.select("problem_id", "code", "code_key").unique(maintain_order=True)
    return [
        (problem_id, code)
        for problem_id, code, code_key in distinct.iter_rows()
        if (problems[problem_id][1], code_key) not in labels.by_pair
    ]


def _verdicts(
    judge: Judge, pairs: Sequence[tuple[str, str]], problems: Mapping[str, tuple[Problem, str]]
) -> list[tuple[str, Verdict]]:
    """Verdicts with their problem's key; what broke is tried once more."""
    items = [(problems[problem_id][0], code) for problem_id, code in pairs]
    found = judge.verdicts(items)
    again = [i for i, verdict in enumerate(found) if verdict.label == "invalid"]
    for i, verdict in zip(again, judge.verdicts([items[i] for i in again]), strict=True):
        found[i] = verdict
    return [(problems[verdict.problem_id][1], verdict) for verdict in found]
