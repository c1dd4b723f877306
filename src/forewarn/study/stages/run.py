"""Running a study, stage by stage, into a run folder: completions, verdicts, scores, estimates.

Every stage looks at what is there under its content keys and does the rest, so that the same call after a crash, a
kill or a grown study goes on where it was. Not here: reading the results (``results/``).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from forewarn import __version__
from forewarn.formats import Channels, check_template
from forewarn.formats.code import READING
from forewarn.store import RunFolder, write_json, write_whole
from forewarn.study.checks import Models, check_context, check_engine
from forewarn.study.folder.cells import exploits_of, labelled
from forewarn.study.folder.manifest import MANIFEST_FILE, Missing, check_same_checkpoints, plan_entries, write_missing
from forewarn.study.folder.tables import COMPLETIONS, SCORES, SUBMISSIONS, CellEstimate
from forewarn.study.folder.vocabulary import write_vocabulary
from forewarn.study.keys import Keys, problem_key
from forewarn.study.models import Machine, study_channels
from forewarn.study.plan import Cell, Study
from forewarn.study.results.estimates import estimate_run
from forewarn.study.span_checks import check_anchors
from forewarn.study.stages.judging import Progress, Sandboxing, judge_cells
from forewarn.study.stages.work import OpenStudyRoom, Task, write_submissions
from forewarn.workers import Failed, Workers

STUDY_FILE = "study.toml"


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
    check_engine(study, machine.spec.kind)
    channels = study_channels(study)
    check_context(study, channels, machine.spec.kind)
    models = Models.of(study)
    keys = Keys(study, {name: held.key for name, held in models.receipts.items()}, channels.model_ends)
    run = RunFolder(root)
    check_same_checkpoints(root, keys.receipts)
    run.claim(keys.identity())
    if text is not None:
        write_whole(root / STUDY_FILE, text)
    _write_manifest(run, study, keys, models, channels)
    write_vocabulary(root, channels)
    with Workers[Task](OpenStudyRoom(study, root, machine), machine.workers, retries=machine.retries) as workers:
        _sample(study, keys, models, run, workers, tell)
        cells = [cell for cell in study.cells() if run.shards(COMPLETIONS).has(keys.cell(cell))]
        check_anchors(
            [planned.span for planned in study.spans],
            (run.shards(COMPLETIONS).read(keys.cell(cell)) for cell in cells),
        )
        _read_answers(study, cells, keys, channels, run)
        labels = judge_cells(study, cells, keys, run, sandboxing, tell)
        problem_keys = study_problem_keys(study)
        hits = {cell: exploits_of(labelled(run, keys.record(cell), problem_keys, labels)) for cell in cells}
        _score(keys, models, run, workers, hits, tell)
        write_missing(root, [_mark(failed) for failed in workers.failed])
    return estimate_run(root, progress=progress)


def _mark(failed: Failed[Task]) -> Missing:
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


def _do(tasks: Sequence[Task], stage: str, run: RunFolder, workers: Workers[Task], tell: Progress) -> None:
    missing = [task for task in tasks if not run.shards(stage).has(task.key)]
    done = len(tasks) - len(missing)
    tell(stage, done, len(tasks))
    for _ in workers.do(missing):
        done += 1
        tell(stage, done, len(tasks))


def _sample(study: Study, keys: Keys, models: Models, run: RunFolder, workers: Workers[Task], tell: Progress) -> None:
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


def _score(
    keys: Keys,
    models: Models,
    run: RunFolder,
    workers: Workers[Task],
    hits: Mapping[Cell, tuple[str, ...]],
    tell: Progress,
) -> None:
    tasks = [
        Task(SCORES, cell, keys.cell(cell), keys.scores(cell, found), found, models.behind(keys.study, cell))
        for cell, found in hits.items()
        if found
    ]
    _do(tasks, SCORES, run, workers, tell)
