"""What is done next: completions are judged while others are sampled, and a cell whose completions are all judged is
scored and estimated before more is sampled.

Not here: doing it (``work.py``, ``judging.py``), and what is refused before it begins (``run.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import polars as pl

from forewarn.formats import Channels
from forewarn.store import RunFolder
from forewarn.study.checks import Models
from forewarn.study.folder.cells import exploits_of, has_part, labelled, parts_of
from forewarn.study.folder.manifest import Missing
from forewarn.study.folder.schemas import COMPLETIONS, SCORES, VERDICTS
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.keys import CellRecord, Keys, problem_key
from forewarn.study.plan import Block, Cell
from forewarn.study.results.estimates import cell_estimate
from forewarn.study.stages.judging import BlockBatch, Judging, Progress
from forewarn.study.stages.tasks import SampleTask, ScoreTask, Task
from forewarn.study.stages.work import write_submissions
from forewarn.workers import Failed, Workers

ESTIMATES = "estimates"
WAIT_S = 0.2
"""how long workers are waited for before a look at what was judged"""


@dataclass(slots=True)
class CellState:
    """A cell on its way to its estimate."""

    cell: Cell
    record: CellRecord
    unsampled: int = 0
    """parts that are not there yet"""
    unjudged: int = 0
    """batches that are with the judge"""


@dataclass(slots=True)
class FlowCounts:
    """Units of each stage that are done, as told to ``progress``."""

    tell: Progress
    totals: dict[str, int]
    done: dict[str, int] = field(default_factory=dict)

    def add(self, stage: str, n: int = 1) -> None:
        self.done[stage] = self.done.get(stage, 0) + n
        self.tell(stage, self.done[stage], self.totals[stage])


Estimated = Callable[[CellEstimate], None]
"""told each cell's estimate when it is there"""


class Flow:
    """One run of a study through its stages: ``run`` does what is missing, ``missing`` says what could not be done."""

    def __init__(
        self,
        keys: Keys,
        models: Models,
        channels: Channels,
        run: RunFolder,
        workers: Workers[Task],
        judging: Judging,
        *,
        rows_at_once: int,
        tell: Progress | None = None,
        estimated: Estimated | None = None,
    ) -> None:
        """``rows_at_once``: completions that a worker is given together, where no block has more."""
        self._keys, self._models, self._channels, self._folder = keys, models, channels, run
        self._workers, self._judging = workers, judging
        self._rows_at_once, self._estimated = rows_at_once, estimated or (lambda estimate: None)
        self._states = {cell: CellState(cell, keys.record(cell)) for cell in keys.study.cells()}
        self._problem_keys = {problem.problem_id: problem_key(problem) for problem in keys.study.problems}
        self._parts = {cell: tuple(parts_of(run, state.record)) for cell, state in self._states.items()}
        n_parts, n_cells = sum(map(len, self._parts.values())), len(self._states)
        totals = {COMPLETIONS: n_parts, VERDICTS: n_parts, SCORES: n_cells, ESTIMATES: n_cells}
        self._counts = FlowCounts(tell or (lambda stage, done, total: None), totals)
        self.found: dict[Cell, tuple[CellEstimate, pl.DataFrame]] = {}
        """each cell's estimate and its hits"""

    def run(self) -> None:
        """Do what is missing. Raises what a worker or the judge raised."""
        for state in self._states.values():  # all, before anything is judged: one run folder is read by one rule
            self._read_answers(state)
        for state in self._states.values():
            self._begin(state)
        while True:
            # a whole cell's scores may wait for the judge alone: no worker is waited for then
            done = self._workers.step(WAIT_S if self._judging.busy else None)
            if done is not None:
                self._done(done.task)
            for batch in self._judging.judged(0.0 if done is not None or self._workers.busy else None):
                self._judged(batch)
            if not self._workers.busy and not self._judging.busy:
                break

    def _read_answers(self, state: CellState) -> None:
        """Read submissions off completions that another rule read, or a run that was killed before it could."""
        completions = self._folder.shards(COMPLETIONS)
        for part in self._parts[state.cell]:
            if completions.has(part.completions) and not has_part(self._folder, part):
                table = completions.read(part.completions)
                write_submissions(table, state.cell, part, self._keys.study, self._channels, self._folder)

    def _begin(self, state: CellState) -> None:
        """Queue what a cell lacks, and have judged what it has."""
        cell, parts = state.cell, self._parts[state.cell]
        there = tuple(part for part in parts if has_part(self._folder, part))
        state.unsampled = len(parts) - len(there)
        if there:
            self._judge(state, BlockBatch(cell, state.record.key, there))
        self._counts.add(COMPLETIONS, len(there))
        if state.unsampled:
            self._workers.add(self._sample_tasks(state))

    def _sample_tasks(self, state: CellState) -> Iterator[SampleTask]:
        """The blocks that a cell lacks, as many together as share the engines' calls well."""
        signatures = self._models.behind(self._keys.study, state.cell)
        blocks = zip(self._keys.study.blocks(state.cell), state.record.blocks, strict=True)
        lacking = [(block, key) for block, key in blocks if not self._folder.shards(COMPLETIONS).has(key)]
        together: list[tuple[Block, str]] = []
        for i, (block, key) in enumerate(lacking):
            together.append((block, key))
            n_next = lacking[i + 1][0].n if i + 1 < len(lacking) else self._rows_at_once
            if sum(other.n for other, _ in together) + n_next > self._rows_at_once:
                own, keys = zip(*together, strict=True)
                yield SampleTask(state.cell, own, keys, signatures)
                together = []

    def _judge(self, state: CellState, batch: BlockBatch) -> None:
        state.unjudged += 1
        self._judging.add(batch)

    def _done(self, task: Task) -> None:
        state = self._states[task.cell]
        if isinstance(task, ScoreTask):
            self._estimate(state, self._labelled(state), task.hit_ids)
            return
        state.unsampled -= len(task.keys)
        parts = {part.completions: part for part in self._parts[task.cell]}
        self._judge(state, BlockBatch(task.cell, state.record.key, tuple(parts[key] for key in task.keys)))
        self._counts.add(COMPLETIONS, len(task.keys))

    def _judged(self, batch: BlockBatch) -> None:
        """Score a cell of which everything is sampled and judged, before more is sampled."""
        state = self._states[batch.cell]
        state.unjudged -= 1
        self._counts.add(VERDICTS, len(batch.parts))
        if state.unsampled or state.unjudged:
            return
        table = self._labelled(state)
        hit_ids = exploits_of(table)
        key = self._keys.scores(state.cell, hit_ids)
        if hit_ids and not self._folder.shards(SCORES).has(key):
            signatures = self._models.behind(self._keys.study, state.cell)
            task = ScoreTask(state.cell, self._parts[state.cell], key, hit_ids, signatures)
            self._workers.add([task], first=True)
            return
        self._estimate(state, table, hit_ids)

    def _labelled(self, state: CellState) -> pl.DataFrame:
        return labelled(self._folder, state.record, self._problem_keys, self._judging.labels)

    def _estimate(self, state: CellState, table: pl.DataFrame, hit_ids: tuple[str, ...]) -> None:
        self._counts.add(SCORES)
        scores = self._folder.shards(SCORES).read(self._keys.scores(state.cell, hit_ids)) if hit_ids else None
        self.found[state.cell] = cell_estimate(state.record, self._keys.study.level, table, scores)
        self._counts.add(ESTIMATES)
        self._estimated(self.found[state.cell][0])

    @property
    def missing(self) -> list[Missing]:
        """The cells that could not be done, as workers died over them."""
        marks = {failed.task.cell: _mark(failed) for failed in reversed(self._workers.failed)}
        return [marks[cell] for cell in self._states if cell in marks]


def _mark(failed: Failed[Task]) -> Missing:
    cell, stage = failed.task.cell, SCORES if isinstance(failed.task, ScoreTask) else COMPLETIONS
    return Missing(stage, cell.checkpoint.model_id, cell.exploit_type, failed.reason)
