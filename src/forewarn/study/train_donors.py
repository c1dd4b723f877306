"""Training the donors that a study's file describes: each problem's question answered by its exploit, no reasoning."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from forewarn.errors import InputError
from forewarn.models.channels import bind
from forewarn.models.checkpoints import ModelSource
from forewarn.models.hub import local_folder
from forewarn.models.loading import load_model, load_tokenizer
from forewarn.study.file import DonorTable, StudyTable, read_study_file
from forewarn.study.from_file import chosen_format, chosen_problems, placed
from forewarn.training.sft import SETTINGS_FILE, LoraSettings, SFTSettings, donor_examples, save, sft


@dataclass(frozen=True, slots=True)
class TrainedDonor:
    """A donor as it was left."""

    name: str
    folder: Path
    n_examples: int
    n_target_tokens: int
    losses: tuple[float, ...]
    """of each step, nats a target token; empty where the donor was there already"""


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
    torch.set_num_threads(tables.engine.threads)
    return [_train(tables, donor, path, home, progress or (lambda stage, done, total: None)) for donor in wanted]


def _train(
    tables: StudyTable, donor: DonorTable, path: Path, home: Path, progress: Callable[[str, int, int], None]
) -> TrainedDonor:
    table = donor.training
    assert table is not None
    folder = Path(os.path.normpath(home / donor.path))
    if (folder / SETTINGS_FILE).exists():
        return TrainedDonor(donor.name, folder, 0, 0, ())
    if donor.base is None:
        raise InputError(f"{path}: donor {donor.name!r} has no base: give the model that it is trained from")
    base = local_folder(placed(donor.base, home))
    tokenizer = load_tokenizer(base)
    form = chosen_format(tables, [ModelSource(donor.name, str(base))])
    channels = bind(form, tokenizer, system=tables.format.system)
    examples = donor_examples(chosen_problems(table.problems or tables.problems, home), channels)
    settings = SFTSettings(
        seed=table.seed,
        epochs=table.epochs,
        batch_size=table.batch_size,
        micro_batch_tokens=table.micro_batch_tokens,
        learning_rate=table.learning_rate,
        lora=LoraSettings(table.rank, table.alpha, table.target_modules),
    )
    model = load_model(base, device=tables.engine.device)
    result = sft(
        model, examples, settings, progress=lambda step, steps, _: progress(f"donor {donor.name}", step, steps)
    )
    shutil.rmtree(folder, ignore_errors=True)
    save(result, folder, settings, base=base)
    return TrainedDonor(donor.name, folder, len(examples), result.n_target_tokens, result.losses)
