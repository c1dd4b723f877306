"""Running a study into a run folder: what is refused before it begins, the manifest, and the flow through the stages.

What is there under its content key is not done again, so that the same call after a crash, a kill or a grown study goes
on where it was. Not here: what is done next (``flow.py``), and reading the results (``results/``).
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from forewarn import __version__
from forewarn.formats import Channels, check_template
from forewarn.formats.code import READING
from forewarn.store import RunFolder, keep_whole, write_json
from forewarn.study.checks import Models, check_context, check_engine
from forewarn.study.folder.cells import read_completions
from forewarn.study.folder.manifest import (
    MANIFEST_FILE,
    Purpose,
    check_purpose,
    check_same_checkpoints,
    incomplete,
    plan_entries,
    training_entry,
    write_missing,
)
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.folder.vocabulary import write_vocabulary
from forewarn.study.keys import Keys, problem_key
from forewarn.study.models import Machine, study_channels
from forewarn.study.plan import Study
from forewarn.study.results.estimates import write_estimates
from forewarn.study.span_checks import check_anchors
from forewarn.study.stages.flow import Estimated, Flow
from forewarn.study.stages.judging import Judging, Progress, Sandboxing
from forewarn.study.stages.tasks import Task
from forewarn.study.stages.work import OpenStudyRoom
from forewarn.workers import Workers

STUDY_FILE = "study.toml"


def run_study(
    study: Study,
    root: Path,
    *,
    machine: Machine | None = None,
    sandboxing: Sandboxing | None = None,
    progress: Progress | None = None,
    estimated: Estimated | None = None,
    text: bytes | None = None,
    purpose: Purpose = "measurement",
) -> list[CellEstimate]:
    """Do what is missing of ``study`` in the run folder ``root`` and return every cell's estimate.

    ``estimated`` is told each cell's estimate as soon as it is there. ``text``: the study's file, kept as
    ``study.toml``. ``purpose``: the manifest's mark of a pilot or a refinement batch, of which no estimate, forecast or
    report is made. Raises InputError (a prompt that doesn't fit into a context, a policy that the engine can't score,
    the folder of a pilot), ModelError (damaged models, another tokenizer, no reasoning channel), StoreError (a folder
    that can't be written, is full, or holds another study), EngineFault (an engine or every isolation level broke),
    IncompleteError (workers died over a cell until it was left out; it carries the estimates of the others, and the
    same call tries again).
    """
    machine, sandboxing = machine or Machine(), sandboxing or Sandboxing()
    check_purpose(root, purpose)  # everything that can be refused is, before anything is written
    check_engine(study, machine.spec.kind)
    channels = study_channels(study)
    check_context(study, channels, machine.spec.kind)
    models = Models.of(study)
    keys = Keys(study, {name: held.key for name, held in models.receipts.items()}, channels.model_ends)
    run = RunFolder(root)
    check_same_checkpoints(root, keys.receipts)
    run.claim(keys.identity())
    if text is not None:
        keep_whole(root / STUDY_FILE, text)
    _write_manifest(run, study, keys, models, channels, purpose)
    write_vocabulary(root, channels)
    open_room = OpenStudyRoom(study, root, machine)
    with (
        Workers[Task](open_room, machine.workers, retries=machine.retries) as workers,
        Judging(study, run, sandboxing) as judging,
    ):
        rows = machine.rows_at_once
        flow = Flow(
            keys, models, channels, run, workers, judging, rows_at_once=rows, tell=progress, estimated=estimated
        )
        flow.run()
    return _write_results(study, root, flow)


def _write_results(study: Study, root: Path, flow: Flow) -> list[CellEstimate]:
    """Write what a run found, and return the estimates. Raises what is wrong with them as a whole."""
    found = [flow.found[cell] for cell in study.cells() if cell in flow.found]
    write_missing(root, flow.missing)
    write_estimates(root, found)
    estimates = [estimate for estimate, _ in found]
    if flow.missing:
        raise incomplete(root, flow.missing, len(list(study.cells())), estimates)
    drawn = [planned.span for spans in (study.spans, *study.own_spans.values()) for planned in spans]
    check_anchors(drawn, lambda: read_completions(root))
    return estimates


def study_problem_keys(study: Study) -> dict[str, str]:
    """The key of each problem by its id."""
    return {problem.problem_id: problem_key(problem) for problem in study.problems}


def _write_manifest(
    run: RunFolder, study: Study, keys: Keys, models: Models, channels: Channels, purpose: Purpose
) -> None:
    template = check_template(channels)
    cells = [keys.record(cell) for cell in study.cells()]
    manifest = plan_entries(study.level, study.spans, cells, study_problem_keys(study), study.own_spans) | {
        "study": study.name,
        "purpose": purpose,
        "seed": study.seed,
        "training": None if study.training is None else training_entry(study.training),
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
