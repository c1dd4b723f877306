"""Training the subject that a study's file describes, through TRL: its checkpoints are what the study then measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.load import check_device, load_tokenizer
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError, need_extra
from forewarn.formats import Channels, CodeRule, bind
from forewarn.records import Problem, content_key
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import chosen_format, chosen_problems, placed, policy_of, sandboxing_of
from forewarn.study.config.schema import StudyTable, SubjectTrainingTable
from forewarn.study.keys import problem_content
from forewarn.study.stages.judging import open_judge
from forewarn.study.subject.examples import subject_examples
from forewarn.study.subject.receipt import claim, receipt_of
from forewarn.training.schedule import log_spaced_steps
from forewarn.training.settings import LoraSettings, SubjectSettings
from forewarn.training.sft import Example

ROLLOUTS_FILE = "rollouts.jsonl"
"""in the subject's folder: every completion that GRPO rewarded, with its label"""


@dataclass(frozen=True, slots=True)
class TrainedSubject:
    """A subject as it was left."""

    folder: Path
    steps: int
    checkpoints: tuple[int, ...]
    n_examples: int
    """examples (SFT) or problems (GRPO)"""
    was_there: bool
    """whether an earlier call had finished it"""


def train_subject(path: Path, *, progress: Callable[[str, int, int], None] | None = None) -> TrainedSubject:
    """Train the subject of a study's file as its [subject_training] says, or go on where an earlier call was cut off.

    Raises InputError where the file has no such table or its values can't be meant, and where the folder holds a
    subject that was trained otherwise.
    """
    need_extra("trl", "train")
    need_extra("datasets", "train")
    from forewarn.training.subject import check_settings, last_checkpoint

    tables, _ = read_study_file(path)
    home, table = path.resolve().parent, tables.subject_training
    if table is None:
        raise InputError(f"{path} has no [subject_training]: docs/study.md describes its keys")
    where = f"{path}: subject_training"
    settings, folder = _settings(table, where), Path(os.path.normpath(home / table.path))
    try:
        check_device(tables.engine.device)
    except InputError as error:
        raise InputError(f"{path}: engine: {error}") from None
    torch.set_num_threads(tables.engine.threads)
    base = local_folder(placed(table.base, home))
    start = None if table.start is None else Path(os.path.normpath(home / table.start))
    channels = _channels(tables, base)
    problems = chosen_problems(table.problems or tables.problems, home)
    examples = subject_examples(table, problems, channels, home, where, base) if table.method == "sft" else []
    n = len(examples) or len(problems)
    check_settings(settings, n)
    data = content_key(examples if table.method == "sft" else list(map(problem_content, problems)))
    claim(folder, receipt_of(settings, base, start, data, channels), where)
    last = last_checkpoint(folder)
    if last is not None and last[0] == settings.steps:
        return TrainedSubject(folder, settings.steps, settings.checkpoints, n, was_there=True)

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(f"subject by {table.method}", done, total)

    if table.method == "sft":
        _run_sft(examples, base, start, folder, settings, channels, tables, tell)
    else:
        _run_grpo(problems, base, start, folder, settings, channels, tables, path, tell)
    return TrainedSubject(folder, settings.steps, settings.checkpoints, n, was_there=False)


def _run_sft(
    examples: Sequence[Example],
    base: Path,
    start: Path | None,
    folder: Path,
    settings: SubjectSettings,
    channels: Channels,
    tables: StudyTable,
    tell: Callable[[int, int], None],
) -> None:
    from forewarn.training.begin import trained_model
    from forewarn.training.subject import train_by_sft

    model = trained_model(base, start, settings, device=tables.engine.device)
    train_by_sft(model, examples, folder, settings, channels=channels, progress=tell)


def _run_grpo(
    problems: Sequence[Problem],
    base: Path,
    start: Path | None,
    folder: Path,
    settings: SubjectSettings,
    channels: Channels,
    tables: StudyTable,
    path: Path,
    tell: Callable[[int, int], None],
) -> None:
    from forewarn.training.begin import trained_model
    from forewarn.training.reward import RolloutLog, judged_reward
    from forewarn.training.subject import last_checkpoint, train_by_grpo

    last, table = last_checkpoint(folder), tables.subject_training
    assert table is not None
    # the judge's processes start before the model is loaded: forking a large process takes longer
    with (
        open_judge(sandboxing_of(tables, table.problems or tables.problems, path)) as judge,
        closing(RolloutLog(folder / ROLLOUTS_FILE, done_steps=0 if last is None else last[0])) as log,
    ):
        reward = judged_reward(problems, channels=channels, judge=judge, log=log)
        model = trained_model(base, start, settings, device=tables.engine.device)
        train_by_grpo(
            model, problems, reward, folder, settings, channels=channels, policy=policy_of(tables), progress=tell
        )


def _settings(table: SubjectTrainingTable, where: str) -> SubjectSettings:
    try:
        steps = table.checkpoints
        if isinstance(steps, int):
            steps = log_spaced_steps(1, table.steps, min(steps, table.steps))
        return SubjectSettings(
            method=table.method,
            steps=table.steps,
            checkpoints=steps,
            learning_rate=table.learning_rate,
            lora=LoraSettings(table.rank, table.alpha, table.target_modules),
            seed=table.seed,
            batch_size=table.batch_size,
            micro_batch=table.micro_batch or table.batch_size,
            group=table.group,
            schedule=table.schedule,
            warmup_steps=table.warmup_steps,
            weight_decay=table.weight_decay,
            max_grad_norm=table.max_grad_norm,
            tf32=table.tf32,
            gradient_checkpointing=table.gradient_checkpointing,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _channels(tables: StudyTable, base: Path) -> Channels:
    return bind(
        chosen_format(tables, [ModelSource("base", str(base))]),
        load_tokenizer(base),
        system=tables.format.system,
        code_rule=CodeRule(tables.answer.block, tables.answer.stop),
    )
