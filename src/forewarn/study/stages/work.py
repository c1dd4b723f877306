"""The two kinds of work that need models: sampling blocks of a cell, and scoring the cell's exploits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from forewarn.checkpoints.find import ModelSource, check_unchanged
from forewarn.checkpoints.receipts import Signature
from forewarn.errors import EngineFault
from forewarn.estimation import donor_key, n_deciding
from forewarn.formats import Channels, anchor_starts
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.records import SUBJECT, Completion, Score, Span, derived_seed
from forewarn.store import RunFolder
from forewarn.study.folder.cells import Part
from forewarn.study.folder.tables import (
    COMPLETIONS,
    DONOR_PREFIX,
    SCORES,
    SUBMISSIONS,
    completions_of,
    completions_table,
    scores_table,
    submissions_table,
)
from forewarn.study.keys import submissions_key
from forewarn.study.models import Machine, ModelRoom
from forewarn.study.plan import Block, Cell, Study

ALLOWED_GAP = {"float64": 1e-6, "float32": 0.02, "bfloat16": 0.7, "float16": 0.2}
"""median |log-prob scored - log-prob sampled| of a completion, nats, by float type: half precision rounds differently
in a batch of another shape"""


Signatures = tuple[tuple[ModelSource, Signature], ...]
"""marks of the files of the models that a task uses, as they were when their receipts were taken"""


@dataclass(frozen=True, slots=True)
class SampleTask:
    """Blocks of one cell to draw together, each into a shard of its own."""

    cell: Cell
    blocks: tuple[Block, ...]
    keys: tuple[str, ...]
    """of the blocks' shards"""
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """The scores of a cell's exploits."""

    cell: Cell
    parts: tuple[Part, ...]
    """the cell's completions"""
    key: str
    """of the shard to write"""
    hit_ids: tuple[str, ...]
    """completions to score"""
    signatures: Signatures


Task = SampleTask | ScoreTask


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
            scores = _score(task, study, models, run)
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


def _donors(spans: Iterable[Span], cell: Cell, room: ModelRoom) -> dict[str, Writer]:
    """The donors by ``donor_key``, each with its own temperature; a donor of the subject's name is the subject."""
    found = {}
    for span in spans:
        if not span.writes:
            continue
        if span.donor == SUBJECT:
            writer = room.subject(cell.checkpoint)
        else:
            writer = room.donor(donor_key(replace(span, temperature=None)), span.donor, span.scale)
        found[donor_key(span)] = replace(writer, temperature=span.temperature)
    return found


def _sample(task: SampleTask, study: Study, room: ModelRoom) -> list[pl.DataFrame]:
    """The completions of each block. All of a task's rows share the engines' calls."""
    cell = task.cell
    orders = [
        [
            Order(
                problem.problem_id,
                room.channels.prompt_ids(problem.question),
                block.planned.span,
                block.planned.count,
                problem.entry_point,
            )
            for problem in block.problems
        ]
        for block in task.blocks
    ]
    drawn = sample_spans(
        [order for own in orders for order in own],
        subject=room.subject(cell.checkpoint),
        donors=_donors([block.planned.span for block in task.blocks], cell, room),
        channels=room.channels,
        policy=study.policy,
        # of the cell's names, not its key: growing a study elsewhere must not change what is drawn here
        seed=derived_seed("cell", study.seed, cell.checkpoint.model_id, cell.exploit_type),
        checkpoint_id=cell.checkpoint.model_id,
    )
    return [completions_table(list(islice(drawn, block.n)), room.channels) for block in task.blocks]


def _score(task: ScoreTask, study: Study, room: ModelRoom, run: RunFolder) -> pl.DataFrame:
    cell = task.cell
    tables = [run.shards(COMPLETIONS).read(part.completions) for part in task.parts]
    table = pl.concat(tables, how="diagonal").filter(pl.col("completion_id").is_in(list(task.hit_ids)))
    hits = completions_of(table, study.policy)
    questions = {problem.problem_id: problem.question for problem in study.problems_of(cell.exploit_type)}
    prompts = [room.channels.prompt_ids(questions[hit.problem_id]) for hit in hits]
    spans = [planned.span for planned in study.spans_of(cell.exploit_type)]
    tokens = [hit.token_ids[: n_deciding(hit.n_reasoning, len(hit.token_ids), spans)] for hit in hits]
    writers = {cell.checkpoint.model_id: room.subject(cell.checkpoint)}
    writers |= {DONOR_PREFIX + key: writer for key, writer in _donors(spans, cell, room).items()}
    found = {model_id: _log_probs(writer, prompts, tokens, study) for model_id, writer in writers.items()}
    _check_against_sampling(hits, table["log_probs"].to_list(), found, cell, study)
    anchors = _anchors(hits, spans, cell, study, room.channels)
    scores = [
        Score(hit.completion_id, model_id, writers[model_id].policy(study.policy), values, anchors[hit.completion_id])
        for model_id, rows in found.items()
        for hit, values in zip(hits, rows, strict=True)
    ]
    return scores_table(scores)


def _anchors(
    hits: Sequence[Completion], spans: Sequence[Span], cell: Cell, study: Study, channels: Channels
) -> dict[str, dict[str, tuple[int, ...]]]:
    """By completion id, for each anchor that a span of the cell counts from, the tokens at which its count starts."""
    names = {span.anchor for span in spans if span.anchor is not None}
    entry_points = {problem.problem_id: problem.entry_point for problem in study.problems_of(cell.exploit_type)}
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for hit in hits:
        closed = channels.closed_at(hit.token_ids)
        found[hit.completion_id] = {
            name: anchor_starts(channels, hit.token_ids, closed, name, entry_points[hit.problem_id]) for name in names
        }
    return found


def _check_against_sampling(
    hits: Sequence[Completion],
    sampled: Sequence[Sequence[float]],
    found: Mapping[str, Sequence[tuple[float, ...]]],
    cell: Cell,
    study: Study,
) -> None:
    """EngineFault where scores are not those of the policies sampled from: every weight would be off by the same."""
    gaps = []
    for i, hit in enumerate(hits):
        subject = np.array(found[cell.checkpoint.model_id][i])
        donor = subject if not hit.span.writes else np.array(found[DONOR_PREFIX + donor_key(hit.span)][i])
        n = len(subject)
        writers = np.where(np.array(hit.donor_wrote[:n], dtype=bool), donor, subject)
        gaps.append(abs(float(np.sum(writers - np.array(sampled[i][:n])))))
    gap, allowed = float(np.median(gaps)), ALLOWED_GAP[study.dtype]
    if not gap <= allowed:  # NaN is no agreement
        raise EngineFault(
            f"scores at {cell.checkpoint.model_id} differ from what was sampled by {gap:.3g} nats a completion "
            f"(allowed: {allowed:g}); the engine scores another distribution than it samples from"
        )


def _log_probs(
    writer: Writer, prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[int]], study: Study
) -> list[tuple[float, ...]]:
    """Equal rows are scored once."""
    distinct: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    place = [
        distinct.setdefault((tuple(p), tuple(c)), len(distinct)) for p, c in zip(prompts, continuations, strict=True)
    ]
    pairs = list(distinct)
    found = writer.engine.score(
        [p for p, _ in pairs], [c for _, c in pairs], policy=writer.policy(study.policy), adapter=writer.adapter
    )
    return [tuple(found[i].tolist()) for i in place]
