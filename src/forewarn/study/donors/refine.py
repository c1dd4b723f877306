"""``forewarn refine-donor``: a donor of a study's file, fitted to exploits of the subject with their reasoning.

They come from a batch that the file's other donors draw, from RL, or from a run's training rollouts. Not here: drawing
and fitting (``batch.py``), the RL (``reinforce.py``), reading rollouts (``rollouts.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from forewarn.checkpoints.ends import model_ends
from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.load import check_device, load_tokenizer
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.formats import Channels, CodeRule, bind
from forewarn.records import Problem
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import (
    chosen_format,
    chosen_problems,
    placed,
    sandboxing_of,
)
from forewarn.study.config.schema import DonorTable, RefinementTable, StudyTable
from forewarn.study.donors.batch import draw_exploits, fit_donor
from forewarn.study.donors.batch_plan import batch_study, starting_adapter
from forewarn.study.donors.folder import as_kept, check_place, check_same, set_aside, settings_of
from forewarn.study.donors.refined import RefinedDonor, asked_of, made_before, write_made
from forewarn.study.donors.reinforce import Reinforcement, keep_seeds, reinforce
from forewarn.study.donors.rollouts import Labels, rollout_exploits
from forewarn.study.donors.rounds import Rounds, draw_rounds, keep_rounds
from forewarn.study.stages.judging import Progress, Sandboxing, open_judge
from forewarn.training.refine import WeightedExploit, found_by_group
from forewarn.training.reward import judge_completions
from forewarn.training.sft import SETTINGS_FILE


def refine_donor(
    path: Path,
    *,
    donor: str,
    rollouts: Path | None = None,
    run_folder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> RefinedDonor:
    """Make the donor that a study's file describes in [donors.refinement]; one that is there whole is left alone.

    The batch is drawn into ``run_folder`` (default: ``runs/NAME-refinement-DONOR``) and resumed there, and so is the
    training of a table with ``rl`` (``runs/NAME-rl-DONOR``). With ``rollouts``, a JSONL or Parquet file, the exploits
    among these take the batch's place. Raises InputError where the file has no such donor, where its table can't be
    followed, and where the donor's folder holds something else.
    """
    tables, text = read_study_file(path)
    return refine_described(
        tables, text, path, donor=donor, rollouts=rollouts, run_folder=run_folder, progress=progress
    )


def refine_described(
    tables: StudyTable,
    text: bytes,
    path: Path,
    *,
    donor: str,
    rollouts: Path | None = None,
    run_folder: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> RefinedDonor:
    """The same for a file's tables, which may be changed before."""
    home = path.resolve().parent
    chosen, table = _chosen(tables, donor, path)
    where, folder = f"{path}: donor {donor!r}", Path(os.path.normpath(home / chosen.path))  # never a hub name
    if chosen.base is None:
        raise InputError(f"{where} has no base: give the model that it is trained from")
    _check_device(tables, path)
    check_place(where, folder, home, placed(chosen.base, home))
    if rollouts is not None:
        _check_beside(rollouts, table, where)
    asked = asked_of(table, rollouts)
    if (folder / SETTINGS_FILE).exists():
        held = made_before(where, folder, asked)
        check_same(where, folder, settings_of(table))
        return replace(held, name=donor)
    tell = progress or (lambda stage, done, total: None)
    torch.set_num_threads(tables.engine.threads)
    base = local_folder(placed(chosen.base, home))
    problems = chosen_problems(table.problems or tables.problems, home)
    start = starting_adapter(tables, text, path, chosen, table, base)

    def fit(stage: str, exploits: Sequence[WeightedExploit], into: Path) -> tuple[float, ...]:
        return _fit(exploits, base, into, stage, table, tables, start, tell)

    with set_aside(folder) as unfinished:
        made: Reinforcement | None = None
        rounds: Rounds | None = None
        if table.rl is not None:
            loaded = batch_study(tables, text, path, chosen, table)
            made = reinforce(loaded, chosen, table, run_folder, home=home, where=where, progress=tell)
            exploits: Sequence[WeightedExploit] = made.exploits
        elif rollouts is not None:
            exploits = _of_rollouts(rollouts, tables, path, donor, table, base)
        else:
            rounds = _rounds(tables, text, path, chosen, table, run_folder, asked, fit, tell)
            exploits = rounds.exploits
        found = dict.fromkeys((p.exploit_type for p in problems), 0) | dict(found_by_group(exploits))
        losses = fit(f"donor {donor}", exploits, unfinished)
        if made is not None:
            keep_seeds(made, unfinished)
        if rounds is not None:
            keep_rounds(rounds, unfinished)
        n_examples = table.examples * sum(n > 0 for n in found.values())
        refined = RefinedDonor(
            donor, folder, found, n_examples, losses,
            () if made is None else made.seeds, () if rounds is None else rounds.results,
        )  # fmt: skip
        write_made(unfinished, refined, asked)
    return refined


def _check_beside(rollouts: Path, table: RefinementTable, where: str) -> None:
    """Raise InputError where the table has what draws completions of its own, beside rollouts."""
    drawing = {"rl": "give the rollouts a donor of their own", "rounds": "only batches have rounds"}
    key = "rl" if table.rl is not None else "rounds" if table.rounds > 1 else None
    if key is not None:
        raise InputError(f"{where} has refinement.{key} beside --rollouts {rollouts}: {drawing[key]}")


def _fit(
    exploits: Sequence[WeightedExploit],
    base: Path,
    folder: Path,
    stage: str,
    table: RefinementTable,
    tables: StudyTable,
    start: Path | None,
    tell: Progress,
) -> tuple[float, ...]:
    """Fit a donor into ``folder``; returns the losses."""
    return fit_donor(
        base,
        exploits,
        folder,
        settings_of(table),
        examples_per_type=table.examples,
        max_share=table.max_share,
        seed=table.seed,
        device=tables.engine.device,
        progress=tell,
        stage=stage,
        start=start,
    ).losses


def _check_device(tables: StudyTable, path: Path) -> None:
    try:
        check_device(tables.engine.device)
    except InputError as error:
        raise InputError(f"{path}: engine: {error}") from None


def _of_rollouts(
    rollouts: Path, tables: StudyTable, path: Path, donor: str, table: RefinementTable, base: Path
) -> list[WeightedExploit]:
    """The exploits of a file of rollouts; those without a label are judged."""
    chosen, channels = table.problems or tables.problems, _channels(tables, donor, base)
    problems = chosen_problems(chosen, path.resolve().parent)
    sandboxing = sandboxing_of(tables, chosen, path)
    return rollout_exploits(rollouts, problems, channels, labels=_labels(channels, sandboxing))


def _channels(tables: StudyTable, donor: str, base: Path) -> Channels:
    """The file's chat format on the donor's base."""
    return bind(
        chosen_format(tables, [ModelSource(donor, str(base))]),
        load_tokenizer(base),
        system=tables.format.system,
        ends=model_ends([str(base)]),
        code_rule=CodeRule(tables.answer.block, tables.answer.stop),
    )


def _labels(channels: Channels, sandboxing: Sandboxing) -> Labels:
    """Labels by a Judge that is opened only where rollouts have none."""

    def judged(owners: Sequence[Problem], completions: Sequence[Sequence[int]]) -> list[str]:
        with open_judge(sandboxing) as judge:
            return [one.label for one in judge_completions(owners, completions, channels, judge)]

    return judged


def _rounds(
    tables: StudyTable,
    text: bytes,
    path: Path,
    donor: DonorTable,
    table: RefinementTable,
    run_folder: Path | None,
    asked: Mapping[str, Any],
    fit: Callable[[str, Sequence[WeightedExploit], Path], object],
    tell: Progress,
) -> Rounds:
    """The exploits of the batch of each round, and the donors between them."""
    name = f"{tables.name}-refinement-{donor.name}"

    def part(number: int) -> str:
        return f"round {number} of {table.rounds}: " if table.rounds > 1 else ""

    def draw(number: int, newest: Path | None, folder: Path) -> Sequence[WeightedExploit]:
        loaded = batch_study(tables, text, path, donor, table, number=number, newest=newest)
        return draw_exploits(
            loaded.study,
            folder,
            machine=loaded.machine,
            sandboxing=loaded.sandboxing,
            progress=lambda stage, done, total: tell(f"{part(number)}batch for {donor.name}: {stage}", done, total),
        )

    return draw_rounds(
        table.rounds,
        run_folder or Path("runs") / re.sub(r"[^\w.-]+", "-", name),
        draw=draw,
        fit=lambda number, exploits, folder: fit(f"{part(number)}donor {donor.name}", exploits, folder),
        asked={"asked": {key: value for key, value in asked.items() if key != "rounds"}}
        | {"settings": as_kept(settings_of(table))},
    )


def _chosen(tables: StudyTable, name: str, path: Path) -> tuple[DonorTable, RefinementTable]:
    for table in tables.donors:
        if table.name == name and table.refinement is not None:
            if table.training is not None:
                raise InputError(f"{path}: donor {name!r} has both training and refinement: give it one of them")
            return table, table.refinement
    names = ", ".join(d.name for d in tables.donors if d.refinement is not None) or "none"
    raise InputError(f"{path} has no donor {name!r} with a [donors.refinement] table; it has {names}")
