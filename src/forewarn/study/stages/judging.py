"""Judging what was sampled, while more is sampled: every submission that has no verdict yet, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

import polars as pl

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import ExploitType
from forewarn.judge.judge import Judge
from forewarn.records import Problem, Verdict, content_key
from forewarn.store import RunFolder
from forewarn.study.folder.cells import Part, read_labels, submitted
from forewarn.study.folder.schemas import VERDICTS
from forewarn.study.folder.tables import verdicts_table
from forewarn.study.keys import problem_key
from forewarn.study.plan import Cell, Study

Progress = Callable[[str, int, int], None]
"""progress(stage, done, total)"""


class Judges(Protocol):
    """A judge, or what remembers one's verdicts."""

    def verdicts(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """One verdict per item."""
        ...

    def close(self) -> None: ...


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
    remember: Callable[[Judge], Judges] | None = None
    """puts something in front of a study's judge that knows verdicts of other studies; its ``close`` closes both"""


def open_judge(chosen: Sandboxing) -> Judge:
    """A Judge as a study wants it. Close it."""
    return Judge(
        workers=chosen.workers,
        level=chosen.level,
        allow_weak=chosen.allow_weak,
        timeout_s=chosen.timeout_s,
        types=chosen.types,
        unreadable=chosen.unreadable,
    )


@dataclass(frozen=True, slots=True)
class BlockBatch:
    """Completions of a cell whose submissions are to be judged."""

    cell: Cell
    key: str
    """the cell's"""
    parts: tuple[Part, ...]


class Judging:
    """Judges batches one after the other in a thread of its own, so that sampling can go on meanwhile.

    A context manager. ``labels``: what is known so far, of this run and of those before.
    """

    def __init__(self, study: Study, run: RunFolder, sandboxing: Sandboxing) -> None:
        self._run, self._sandboxing = run, sandboxing
        self._problems = {problem.problem_id: (problem, problem_key(problem)) for problem in study.problems}
        self.labels = read_labels(run)
        self._judge: Judges | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judging")
        self._waiting: dict[Future[None], BlockBatch] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave what has not begun, and stop the sandboxes; what is being judged is lost."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for _ in range(2):  # again for one that was being opened
            if self._judge is not None:
                self._judge.close()
            self._thread.shutdown(wait=True)

    @property
    def busy(self) -> bool:
        """Whether batches wait or are being judged."""
        return bool(self._waiting)

    def add(self, batch: BlockBatch) -> None:
        """Judge a batch, after those that wait."""
        self._waiting[self._thread.submit(self._do, batch)] = batch

    def judged(self, wait_s: float | None = 0.0) -> list[BlockBatch]:
        """The batches that are judged and were not returned yet. Waits for one of them for ``wait_s`` seconds (None:
        however long it takes). Raises what judging raised."""
        finished, _ = wait(self._waiting, wait_s, FIRST_COMPLETED)
        in_order = [future for future in self._waiting if future in finished]
        for future in in_order:
            future.result()
        return [self._waiting.pop(future) for future in in_order]

    def _do(self, batch: BlockBatch) -> None:
        """Judge what has no verdict yet, each (problem, code) once, and write a shard of verdicts."""
        pairs = self._unjudged(batch)
        if not pairs:
            return
        if self._judge is None:  # a re-run with nothing to judge needs no sandbox
            opened, remember = open_judge(self._sandboxing), self._sandboxing.remember
            self._judge = opened if remember is None else remember(opened)
        table = verdicts_table(self._verdicts(self._judge, pairs))
        # the cell's name is in the key: invalid pairs of two cells may be the same and judged at different times
        key = content_key(VERDICTS, batch.key, sorted(table.select("problem_key", "code_key").iter_rows()))
        self._run.shards(VERDICTS).write(key, table)
        self.labels.learn(table)

    def _unjudged(self, batch: BlockBatch) -> list[tuple[str, str]]:
        """(problem id, code) of a batch's submissions that have no verdict yet, each once."""
        table = submitted(self._run, batch.parts).filter(pl.col("code").is_not_null())
        distinct = table.select("problem_id", "code", "code_key").unique(maintain_order=True)
        return [
            (problem_id, code)
            for problem_id, code, code_key in distinct.iter_rows()
            if (self._problems[problem_id][1], code_key) not in self.labels.by_pair
        ]

    def _verdicts(self, judge: Judges, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, Verdict]]:
        """Verdicts with their problem's key; what broke is tried once more."""
        items = [(self._problems[problem_id][0], code) for problem_id, code in pairs]
        found = judge.verdicts(items)
        again = [i for i, verdict in enumerate(found) if verdict.label == "invalid"]
        for i, verdict in zip(again, judge.verdicts([items[i] for i in again]), strict=True):
            found[i] = verdict
        return [(self._problems[verdict.problem_id][1], verdict) for verdict in found]
