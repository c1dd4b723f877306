"""The two kinds of work that need models: sampling blocks of a cell, and scoring the cell's exploits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from forewarn.checkpoints.sources import check_unchanged
from forewarn.formats import Channels
from forewarn.interpolation.sampler import Order, sample_spans
from forewarn.records import derived_seed
from forewarn.store import RunFolder
from forewarn.study.folder.cells import Part
from forewarn.study.folder.schemas import COMPLETIONS, SCORES, SUBMISSIONS
from forewarn.study.folder.tables import completions_table, submissions_table
from forewarn.study.keys import submissions_key
from forewarn.study.models import Machine, ModelRoom
from forewarn.study.plan import Cell, Study
from forewarn.study.stages.scoring import donors_of, score
from forewarn.study.stages.tasks import SampleTask, ScoreTask, Signatures, Task


@dataclass(frozen=True, slots=True)
class OpenStudyRoom:
    """Opens the room in which a study's tasks are done; what a worker process is given."""

    study: Study
    root: Path
    machine: Machine

    def __call__(self) -> StudyRoom:
        return StudyRoom(self.study, self.root, self.machine)


class StudyRoom:
    """The models of a study in one process, and the run folder into which it writes the shard of each task."""

    def __init__(self, study: Study, root: Path, machine: Machine) -> None:
        self._study, self._run, self._threads = study, RunFolder(root), machine.threads
        with _threads(self._threads):
            self._models = ModelRoom(study, machine.spec)

    def do(self, task: Task) -> None:
        """Do one task and write its shards, unless its models' files were written to meanwhile."""
        with _threads(self._threads):
            self._do(task)

    def _do(self, task: Task) -> None:
        study, models, run = self._study, self._models, self._run
        if isinstance(task, ScoreTask):
            scores = score(task, study, models, run)
            _check_unchanged(task.signatures)
            run.shards(SCORES).write(task.key, scores)
            return
        drawn = _sample(task, study, models)
        _check_unchanged(task.signatures)
        for key, table in zip(task.keys, drawn, strict=True):
            run.shards(COMPLETIONS).write(key, table)
            part = Part(key, submissions_key(key, study.code_rule.key))
            write_submissions(table, task.cell, part, study, models.channels, run)

    def close(self) -> None:
        """Give the models back: a server keeps what was loaded there."""
        self._models.close()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Within, torch uses so many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_unchanged(signatures: Signatures) -> None:
    for source, signature in signatures:
        check_unchanged(source, signature)


def write_submissions(
    completions: pl.DataFrame, cell: Cell, part: Part, study: Study, channels: Channels, run: RunFolder
) -> None:
    """Read the submissions off a part of a cell's completions, and write them."""
    assert part.submissions is not None
    entry_points = {problem.problem_id: problem.entry_point for problem in study.problems_of(cell.exploit_type)}
    run.shards(SUBMISSIONS).write(part.submissions, submissions_table(completions, channels, entry_points))


def _sample(task: SampleTask, study: Study, room: ModelRoom) -> list[pl.DataFrame]:
    """The completions of each block. All of a task's rows share the engines' calls."""
    cell = task.cell
    orders = [
        [
            Order(
                problem.problem_id,
                room.channels.prompt_ids(problem.question),
                block.planned.span,
                block.count,
                problem.entry_point,
                block.first,
            )
            for problem in block.problems
        ]
        for block in task.blocks
    ]
    drawn = sample_spans(
        [order for own in orders for order in own],
        subject=room.subject(cell.checkpoint),
        donors=donors_of([block.planned.span for block in task.blocks], cell, room),
        channels=room.channels,
        policy=study.policy,
        # of the cell's names, not its key: growing a study elsewhere must not change what is drawn here
        seed=derived_seed("cell", study.seed, cell.checkpoint.model_id, cell.exploit_type),
        checkpoint_id=cell.checkpoint.model_id,
    )
    return [completions_table(list(islice(drawn, block.n)), room.channels) for block in task.blocks]
