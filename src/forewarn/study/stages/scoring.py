"""Scoring a cell's exploits under its subject and its donors, and comparing that with what was sampled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from forewarn.errors import EngineFault
from forewarn.estimation import donor_key, n_deciding
from forewarn.formats import Channels, anchor_starts
from forewarn.interpolation.sampler import Writer
from forewarn.records import SUBJECT, Completion, Score, Span
from forewarn.store import RunFolder
from forewarn.study.folder.schemas import COMPLETIONS, DONOR_PREFIX
from forewarn.study.folder.tables import completions_of, scores_table
from forewarn.study.models import ModelRoom
from forewarn.study.plan import Cell, Study
from forewarn.study.stages.tasks import ScoreTask

ALLOWED_GAP = {"float64": 1e-6, "float32": 0.02, "bfloat16": 0.7, "float16": 0.2}
"""median |log-prob scored - log-prob sampled| of a completion, nats, by float type: half precision rounds differently
in a batch of another shape"""


def donors_of(spans: Iterable[Span], cell: Cell, room: ModelRoom) -> dict[str, Writer]:
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


def score(task: ScoreTask, study: Study, room: ModelRoom, run: RunFolder) -> pl.DataFrame:
    cell = task.cell
    tables = [run.shards(COMPLETIONS).read(part.completions) for part in task.parts]
    table = pl.concat(tables, how="diagonal").filter(pl.col("completion_id").is_in(list(task.hit_ids)))
    hits = completions_of(table, study.policy)
    questions = {problem.problem_id: problem.question for problem in study.problems_of(cell.exploit_type)}
    prompts = [room.channels.prompt_ids(questions[hit.problem_id]) for hit in hits]
    spans = [planned.span for planned in study.spans_at(cell)]
    tokens = [hit.token_ids[: n_deciding(hit.n_reasoning, len(hit.token_ids), spans)] for hit in hits]
    writers = {cell.checkpoint.model_id: room.subject(cell.checkpoint)}
    writers |= {DONOR_PREFIX + key: writer for key, writer in donors_of(spans, cell, room).items()}
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
