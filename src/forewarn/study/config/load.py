"""What a study's file says, made: problems, checkpoints, donors, chat format, and the study itself.

Paths in a file are relative to the file's folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forewarn.checkpoints.convert import Converter
from forewarn.checkpoints.find import find_checkpoints
from forewarn.checkpoints.hub import is_hub_name, local_folder
from forewarn.checkpoints.load import load_tokenizer
from forewarn.checkpoints.remote import is_url
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError, ModelError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.formats import ChannelFormat, CodeRule, detect_format
from forewarn.problems.assemble import assemble
from forewarn.problems.files import load
from forewarn.records import SUBJECT, Policy, Problem
from forewarn.study.config.environment import own_problems
from forewarn.study.config.file import read_study_file
from forewarn.study.config.schema import AUTO, CUSTOM, CheckpointTable, DonorTable, ProblemsTable, StudyTable
from forewarn.study.config.spans import planned_span
from forewarn.study.config.training import training_of
from forewarn.study.config.watching import AlarmsTable, alarms_of
from forewarn.study.models import Machine
from forewarn.study.plan import Study
from forewarn.study.stages.judging import Sandboxing


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study and how its file wants it run."""

    study: Study
    machine: Machine
    sandboxing: Sandboxing
    text: bytes
    """the file, to be kept in the run folder"""
    alarms: AlarmsTable | None = None
    """what a watcher is alarmed at; its types are named"""


def load_study(path: Path) -> LoadedStudy:
    """Read a study's TOML file. Raises InputError or ModelError, naming the file and the key at fault."""
    return study_of_tables(*read_study_file(path), path)


def study_of_tables(tables: StudyTable, text: bytes, path: Path) -> LoadedStudy:
    """The study that a file's tables describe; they may be changed before. ``path``: the file, which errors name."""
    home = path.resolve().parent
    checkpoints = _checkpoints(tables, path, home)
    donors = []
    for i, entry in enumerate(tables.donors, 1):
        with _at(f"{path}: donors[{i}]"):
            donors.append(donor_source(entry, home))
    problems = problems_of(tables, path)
    engine = tables.engine
    with _at(f"{path}: engine"):
        machine = Machine(
            workers=engine.workers,
            threads=engine.threads,
            device=engine.device,
            batch_size=engine.batch_size,
            engine=engine.kind,
            retries=engine.retries,
            load=engine.load,
        )
    with _at(f"{path}: format"):
        form = chosen_format(tables, (*checkpoints, *donors))
    with _at(f"{path}: answer"):
        rule = CodeRule(tables.answer.block, tables.answer.stop)
    measured = tuple(dict.fromkeys(problem.exploit_type for problem in problems))
    with _at(f"{path}: training"):
        training = None if tables.training is None else training_of(tables.training, measured)
    alarms = chosen_alarms(tables, measured, path)
    with _at(str(path)):
        study = Study(
            name=tables.name,
            problems=problems,
            checkpoints=checkpoints,
            donors=tuple(donors),
            spans=tuple(planned_span(span, f"spans[{i}]", tables, problems) for i, span in enumerate(tables.spans, 1)),
            policy=policy_of(tables),
            seed=tables.seed,
            channel_format=form,
            system=tables.format.system,
            code_rule=rule,
            level=tables.level,
            dtype=engine.dtype,
            training=training,
        )
    return LoadedStudy(study, machine, sandboxing_of(tables, tables.problems, path), text, alarms)


def chosen_alarms(tables: StudyTable, measured: Sequence[str], path: Path) -> AlarmsTable | None:
    """The file's alarms with their types named. Raises InputError for a type that the study does not measure."""
    with _at(f"{path}: alarms"):
        return None if tables.alarms is None else alarms_of(tables.alarms, measured)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Errors within are prefixed with the place in the file."""
    try:
        yield
    except (InputError, ModelError) as error:
        raise type(error)(f"{where}: {error}") from None


def policy_of(tables: StudyTable) -> Policy:
    return Policy(**tables.policy.model_dump())


def problems_of(tables: StudyTable, path: Path) -> tuple[Problem, ...]:
    """The problems that the study of a file measures."""
    with _at(f"{path}: problems"):
        return chosen_problems(tables.problems, path.resolve().parent)


def chosen_problems(table: ProblemsTable, home: Path) -> tuple[Problem, ...]:
    """The problems that a [problems] table keeps, in their order. Raises InputError where a filter keeps none."""
    problems = _all_problems(table, home)
    for key, kept in (("types", "exploit_type"), ("tasks", "task_id"), ("ids", "problem_id")):
        wanted: tuple[str, ...] = getattr(table, key)
        if not wanted:
            continue
        there = {getattr(problem, kept) for problem in problems}
        if unknown := [name for name in wanted if name not in there]:
            known = ", ".join(EXPLOIT_TYPES) if key == "types" else f"{len(there)} others"
            raise InputError(f"{key} names {unknown[0]!r}, of which there is no problem; there are {known}")
        problems = [problem for problem in problems if getattr(problem, kept) in wanted]
        if not problems:
            raise InputError(f"no problem is left after {key} = {list(wanted)}: the filters exclude each other")
    if table.limit is not None:
        seen: Counter[str] = Counter()
        kept_problems = []
        for problem in problems:
            seen[problem.exploit_type] += 1
            if seen[problem.exploit_type] <= table.limit:
                kept_problems.append(problem)
        problems = kept_problems
    return tuple(problems)


def _all_problems(table: ProblemsTable, home: Path) -> list[Problem]:
    if table.environment is not None:
        if table.file is not None:
            raise InputError(f"environment = {table.environment!r} beside file = {table.file!r}: give one of them")
        return list(own_problems(home / table.environment).problems)
    return load(home / table.file) if table.file is not None else assemble(seed=table.seed)


def sandboxing_of(tables: StudyTable, problems: ProblemsTable, path: Path) -> Sandboxing:
    """How submissions to these problems are judged. No submission may read the study's file or the problems'."""
    home, sandbox = path.resolve().parent, tables.sandbox
    held = [home / name for name in (problems.file, problems.environment) if name is not None]
    types = EXPLOIT_TYPES if problems.environment is None else own_problems(home / problems.environment).types
    return Sandboxing(
        workers=sandbox.workers,
        level=sandbox.level,
        timeout_s=sandbox.timeout_s,
        types=types,
        unreadable=(path.resolve(), *held),
    )


def _checkpoints(tables: StudyTable, path: Path, home: Path) -> tuple[ModelSource, ...]:
    """Every entry's checkpoints, all of them in order of step."""
    found: list[ModelSource] = []
    for i, entry in enumerate(tables.checkpoints, 1):
        where = f"{path}: checkpoints[{i}]"
        with _at(where):
            if is_url(entry.path):
                raise InputError(
                    f"path = {entry.path!r} is in a storage, which `forewarn watch` alone follows: download it, and "
                    "give the folder"
                )
            sources = find_checkpoints(
                placed(entry.path, home),
                base=None if entry.base is None else placed(entry.base, home),
                step=entry.step,
                name=entry.name,
                converter=_converter(entry, home),
            )
        if entry.steps:
            lacking = sorted(set(entry.steps) - {source.step for source in sources})
            if lacking:
                there = ", ".join(str(source.step) for source in sources)
                raise InputError(f"{where}.steps names step {lacking[0]}, which {entry.path} lacks; it has {there}")
            sources = tuple(source for source in sources if source.step in entry.steps)
        found += sources
    return tuple(sorted(found, key=lambda source: source.step))


def _converter(entry: CheckpointTable, home: Path) -> Converter | None:
    return None if entry.convert is None else Converter(entry.convert, home / entry.converted, entry.convert_shell)


def placed(name: str, home: Path) -> str:
    """A path of the file: relative ones start at the file's folder; a hub name stays as it is."""
    return name if is_hub_name(name, home) else os.path.normpath(home / name)


def donor_source(table: DonorTable, home: Path) -> ModelSource:
    """A donor's model, or its adapter with the base. Raises InputError where there is nothing yet."""
    if table.name == SUBJECT:
        raise InputError(f"name = {table.name!r} is what the subject's own spans are called: give another")
    made = table.training is not None or table.refinement is not None
    where = os.path.normpath(home / table.path) if made else placed(table.path, home)
    if not Path(where).is_dir() and not is_hub_name(where):
        remedy = "give a model or adapter folder"
        if made:
            verb = "train-donor" if table.training else f"refine-donor --donor {table.name}"
            remedy = f"run `forewarn {verb}` on this file first"
        raise InputError(f"path = {table.path!r} is not there: {remedy}")
    folder = local_folder(where)
    base = None if table.base is None else placed(table.base, home)
    [source] = find_checkpoints(str(folder), base=base, step=0, name=table.name)
    return source


def chosen_format(tables: StudyTable, sources: Sequence[ModelSource]) -> str | ChannelFormat:
    """The format that the file names or declares, or the one that the models' own template writes."""
    table = tables.format
    if table.custom is not None:
        if table.name not in (AUTO, CUSTOM):
            raise InputError(f"name = {table.name!r} and a [format.custom]: give one of them")
        return ChannelFormat(name=CUSTOM, **table.custom.model_dump())
    if table.name == CUSTOM:
        raise InputError("name = 'custom' needs a [format.custom] that declares it")
    if table.name != AUTO:
        return table.name
    for source in sources:
        if (Path(source.folder) / "tokenizer.json").is_file():
            return detect_format(load_tokenizer(source.folder), system=table.system).name
    raise ModelError("no model of the study has a tokenizer to tell the format by: name it")
