"""Training the donors that a study's file describes: each problem's question answered by its exploit, no reasoning."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.load import check_device, load_model, load_tokenizer, longest_row
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.formats import bind
from forewarn.store import read_json
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import chosen_format, chosen_problems, placed
from forewarn.study.config.schema import DonorTable, StudyTable
from forewarn.study.donors.folder import check_place, check_same, set_aside, settings_of
from forewarn.training.sft import SETTINGS_FILE, check_lengths, donor_examples, save, sft


@dataclass(frozen=True, slots=True)
class TrainedDonor:
    """A donor as it was left."""

    name: str
    folder: Path
    n_examples: int
    n_target_tokens: int
    losses: tuple[float, ...]
    """of each step, nats a target token; empty where the donor was there already"""
    last_loss: float | None
    """of its last step, also where the donor was there already; None where its settings don't say"""


def train_donors(
    path: Path, *, only: str | None = None, progress: Callable[[str, int, int], None] | None = None
) -> list[TrainedDonor]:
    """Train the donors of a study's file that have a [donors.training] table; one that is there whole is left alone.

    Raises InputError where there is none to train, or none named ``only``.
    """
    tables, _ = read_study_file(path)
    home = path.resolve().parent
    wanted = [d for d in tables.donors if d.training is not None and only in (None, d.name)]
    if not wanted:
        names = ", ".join(d.name for d in tables.donors if d.training is not None) or "none"
        raise InputError(f"{path} has no donor {only or 'with a [donors.training] table'} to train; it has {names}")
    try:
        check_device(tables.engine.device)
    except InputError as error:
        raise InputError(f"{path}: engine: {error}") from None
    torch.set_num_threads(tables.engine.threads)
    return [_train(tables, donor, path, home, progress or (lambda stage, done, total: None)) for donor in wanted]


def _train(
    tables: StudyTable, donor: DonorTable, path: Path, home: Path, progress: Callable[[str, int, int], None]
) -> TrainedDonor:
    table = donor.training
    assert table is not None
    folder = Path(os.path.normpath(home / donor.path))
    where = f"{path}: donor {donor.name!r}"
    if donor.base is None:
        raise InputError(f"{where} has no base: give the model that it is trained from")
    settings = settings_of(table)
    check_place(where, folder, home, placed(donor.base, home))
    if (folder / SETTINGS_FILE).exists():
        check_same(where, folder, settings)
        summary = read_json(folder / SETTINGS_FILE)
        loss = summary.get("last_loss") if isinstance(summary, dict) else None
        return TrainedDonor(donor.name, folder, 0, 0, (), loss if isinstance(loss, float) else None)
    base = local_folder(placed(donor.base, home))
    channels = bind(
        chosen_format(tables, [ModelSource(donor.name, str(base))]), load_tokenizer(base), system=tables.format.system
    )
    problems = chosen_problems(table.problems or tables.problems, home)
    if lacking := [problem.problem_id for problem in problems if not problem.exploit]:
        raise InputError(
            f"{where}: problem {lacking[0]} has no exploit to train on ({len(lacking)} of {len(problems)} have none): "
            "fit the donor to exploits of a run's rollouts or by RL instead, with forewarn refine-donor"
        )
    examples = donor_examples(problems, channels)
    check_lengths(examples, longest_row(base), [f"problem {problem.problem_id}" for problem in problems])
    with set_aside(folder) as unfinished:
        model = load_model(base, device=tables.engine.device)
        result = sft(
            model, examples, settings, progress=lambda step, steps, _: progress(f"donor {donor.name}", step, steps)
        )
        save(result, unfinished, settings, base=base)
    return TrainedDonor(donor.name, folder, len(examples), result.n_target_tokens, result.losses, result.losses[-1])
