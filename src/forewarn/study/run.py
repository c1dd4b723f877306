"""Running a study, stage by stage, into a run folder: completions, verdicts, scores, estimates.

Every stage looks at what is there under its content keys and does the rest, so that the same call after a crash, a
kill or a grown study goes on where it was. Not here: reading the results (``read.py``).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from forewarn import __version__
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import ExploitType
from forewarn.formats import Channels, check_template
from forewarn.formats.code import READING
from forewarn.judge.judge import Judge
from forewarn.records import Problem, Verdict, content_key
from forewarn.store import RunFolder, write_json, write_whole
from forewarn.study.checks import Models, check_context, check_engine, check_same_checkpoints
from forewarn.study.missing import Missing, write_missing
from forewarn.study.plan import Cell, CellRecord, Keys, Study, problem_key
from forewarn.study.recompute import (
    MANIFEST_FILE,
    Labels,
    estimate_run,
    exploits_of,
    labelled,
    plan_entries,
    read_labels,
    submitted,
)
from forewarn.study.room import study_channels
from forewarn.study.span_checks import check_anchors
from forewarn.study.tables import CellEstimate, verdicts_table
from forewarn.study.task_queue import Failed
from forewarn.study.vocabulary import write_vocabulary
from forewarn.study.work import COMPLETIONS, SCORES, SUBMISSIONS, VERDICTS, Task, write_submissions
from forewarn.study.workers import Machine, Workers

STUDY_FILE = "study.toml"

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


def run_study(
    study: Study,
    root: Path,
    *,
    machine: Machine | None = None,
    sandboxing: Sandboxing | None = None,
    progress: Progress | None = None,
    text: bytes | None = None,
) -> list[CellEstimate]:
    """Do what is missing of ``study`` in the run folder ``root`` and return every cell's estimate.

    ``text``: the study's file, kept as ``study.toml``. Raises InputError (a prompt that doesn't fit into a context, a
    policy that the engine can't score), ModelError (damaged models, another tokenizer, no reasoning channel),
    StoreError (a folder that can't be written, is full, or holds another study), EngineFault (an engine or every
    isolation level broke), IncompleteError (workers died over a cell until it was left out; it carries the estimates
    of the others, and the same call tries again).
    """
    machine, sandboxing = machine or Machine(), sandboxing or Sandboxing()
    tell = progress or (lambda stage, done, total: None)
    # everything that can be refused is, before anything is written
    check_engine(study, machine.engine)
    channels = study_channels(study)
    check_context(study, channels, machine.engine)
    models = Models.of(study)
    keys = Keys(study, {name: held.key for name, held in models.receipts.items()}, channels.model_ends)
    run = RunFolder(root)
    check_same_checkpoints(root, keys.receipts)
    run.claim(keys.identity())
    if text is not None:
        write_whole(root / STUDY_FILE, text)
    _write_manifest(run, study, keys, models, channels)
    write_vocabulary(root, channels)
    with Workers(study, root, machine) as workers:
        _sample(study, keys, models, run, workers, tell)
        cells = [cell for cell in study.cells() if run.shards(COMPLETIONS).has(keys.cell(cell))]
        check_anchors(
            [planned.span for planned in study.spans],
            (run.shards(COMPLETIONS).read(keys.cell(cell)) for cell in cells),
        )
        _read_answers(study, cells, keys, channels, run)
        labels = _judge(study, cells, keys, run, sandboxing, tell)
        problem_keys = study_problem_keys(study)
        hits = {cell: exploits_of(labelled(run, keys.record(cell), problem_keys, labels)) for cell in cells}
        _score(keys, models, run, workers, hits, tell)
        write_missing(root, [_mark(failed) for failed in workers.failed])
    return estimate_run(root, progress=progress)


def _mark(failed: Failed) -> Missing:
    cell = failed.task.cell
    return Missing(failed.task.stage, cell.checkpoint.model_id, cell.exploit_type, failed.reason)


def study_problem_keys(study: Study) -> dict[str, str]:
    """The key of each problem by its id."""
    return {problem.problem_id: problem_key(problem) for problem in study.problems}


def _write_manifest(run: RunFolder, study: Study, keys: Keys, models: Models, channels: Channels) -> None:
    template = check_template(channels)
    cells = [keys.record(cell) for cell in study.cells()]
    manifest = plan_entries(study.level, study.spans, cells, study_problem_keys(study)) | {
        "study": study.name,
        "seed": study.seed,
        "checkpoints": {c.model_id: c.step for c in study.checkpoints},
        "model_receipts": {name: {"key": held.key, **asdict(held)} for name, held in models.receipts.items()},
        "code": {**asdict(study.code_rule), "reading": READING, "key": study.code_rule.key},
        "format": {
            "name": study.format_key,
            "chat_template": template.state,
            "difference": template.sentence,
            "end_of_turn": list(channels.end_ids),
            "ignored_ends": channels.ignored_sentence,
        },
        "versions": {
            "forewarn": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "peft": version("peft"),
            "numpy": np.__version__,
            "polars": pl.__version__,
        },
        "machine": {"platform": platform.platform(), "processor": platform.machine()},
    }
    write_json(run.root / MANIFEST_FILE, manifest)


def _do(tasks: Sequence[Task], stage: str, run: RunFolder, workers: Workers, tell: Progress) -> None:
    missing = [task for task in tasks if not run.shards(stage).has(task.key)]
    done = len(tasks) - len(missing)
    tell(stage, done, len(tasks))
    for _ in workers.do(missing):
        done += 1
        tell(stage, done, len(tasks))


def _sample(study: Study, keys: Keys, models: Models, run: RunFolder, workers: Workers, tell: Progress) -> None:
    tasks = [
        Task(COMPLETIONS, cell, keys.cell(cell), keys.cell(cell), signatures=models.behind(study, cell))
        for cell in study.cells()
    ]
    _do(tasks, COMPLETIONS, run, workers, tell)


def _read_answers(study: Study, cells: Sequence[Cell], keys: Keys, channels: Channels, run: RunFolder) -> None:
    """Read the submissions of cells that were sampled under another rule, or by a run that was killed before it could.

    All of them before anything is judged: what is judged in one run folder is read by one rule.
    """
    for cell in cells:
        record = keys.record(cell)
        assert record.submissions is not None
        if not run.shards(SUBMISSIONS).has(record.submissions):
            write_submissions(run.shards(COMPLETIONS).read(record.key), cell, record.submissions, study, channels, run)


def _judge(
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


def _score(
    keys: Keys,
    models: Models,
    run: RunFolder,
    workers: Workers,
    hits: Mapping[Cell, tuple[str, ...]],
    tell: Progress,
) -> None:
    tasks = [
        Task(SCORES, cell, keys.cell(cell), keys.scores(cell, found), found, models.behind(keys.study, cell))
        for cell, found in hits.items()
        if found
    ]
    _do(tasks, SCORES, run, workers, tell)
