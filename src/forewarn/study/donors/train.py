"""Training the donors that a study's file describes: each problem's question answered by its exploit, no reasoning."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from forewarn.checkpoints.find import ModelSource
from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.load import check_device, load_model, load_tokenizer, longest_row
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.formats import bind
from forewarn.store import read_json
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import chosen_format, chosen_problems, placed
from forewarn.study.config.schema import DonorTable, StudyTable, TrainingTable
from forewarn.training.settings import LoraSettings, SFTSettings
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
    settings = _settings(table)
    _check_place(where, folder, home, placed(donor.base, home))
    if (folder / SETTINGS_FILE).exists():
        _check_same(where, folder, settings)
        summary = read_json(folder / SETTINGS_FILE)
        loss = summary.get("last_loss") if isinstance(summary, dict) else None
        return TrainedDonor(donor.name, folder, 0, 0, (), loss if isinstance(loss, float) else None)
    base = local_folder(placed(donor.base, home))
    channels = bind(
        chosen_format(tables, [ModelSource(donor.name, str(base))]), load_tokenizer(base), system=tables.format.system
    )
    problems = chosen_problems(table.problems or tables.problems, home)
    examples = donor_examples(problems, channels)
    check_lengths(examples, longest_row(base), [f"problem {problem.problem_id}" for problem in problems])
    with _set_aside(folder) as unfinished:
        model = load_model(base, device=tables.engine.device)
        result = sft(
            model, examples, settings, progress=lambda step, steps, _: progress(f"donor {donor.name}", step, steps)
        )
        save(result, unfinished, settings, base=base)
    return TrainedDonor(donor.name, folder, len(examples), result.n_target_tokens, result.losses, result.losses[-1])


def _settings(table: TrainingTable) -> SFTSettings:
    return SFTSettings(
        seed=table.seed,
        epochs=table.epochs,
        batch_size=table.batch_size,
        micro_batch_tokens=table.micro_batch_tokens,
        learning_rate=table.learning_rate,
        lora=LoraSettings(table.rank, table.alpha, table.target_modules),
    )


def _check_place(where: str, folder: Path, home: Path, base: str) -> None:
    """Raise InputError unless a donor is, or can be, in ``folder``: nothing that is not ours is written over."""
    real = folder.resolve()
    if home.is_relative_to(real):
        raise InputError(
            f"{where}: path {folder} is the folder of the file itself or above it: give a folder of its own"
        )
    if Path(base).is_dir() and real == Path(base).resolve():
        raise InputError(f"{where}: path and base are both {folder}: give the donor a folder of its own")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{where}: path {folder} is a file: give a new folder")
    if folder.is_dir() and not (folder / SETTINGS_FILE).exists() and (held := _others(real)):
        raise InputError(
            f"{where}: {folder} holds other things ({held[0].name}) and no donor with its {SETTINGS_FILE}: "
            "give a new folder, or empty this one"
        )


def _check_same(where: str, folder: Path, settings: SFTSettings) -> None:
    """Raise InputError where the donor in ``folder`` was trained otherwise than the file says now."""
    held = read_json(folder / SETTINGS_FILE)
    before = held.get("settings") if isinstance(held, dict) else None
    if not isinstance(before, dict):
        raise ModelError(f"{folder / SETTINGS_FILE} holds no settings; give another path, or copy the donor again")
    now, before = (_flat(part) for part in (json.loads(json.dumps(asdict(settings))), before))
    differing = [
        f"{key} {before[key]!r} (now {now[key]!r})" for key in now if key in before and now[key] != before[key]
    ]
    if differing:
        raise InputError(
            f"{where}: the one in {folder} was trained with {', '.join(differing)}: "
            "give a new path to train another, or put the settings back"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, those of the LoRA among them."""
    lora = settings.get("lora")
    return {key: value for key, value in settings.items() if key != "lora"} | (lora if isinstance(lora, dict) else {})


def _unfinished(final: Path) -> str:
    """What the name of a donor's folder begins with until it is whole; one that a crash left behind is no obstacle."""
    return f".{final.name}.unfinished-"


def _others(folder: Path) -> list[Path]:
    """What is in a folder that is not ours."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(_unfinished(folder)))


@contextmanager
def _set_aside(folder: Path) -> Iterator[Path]:
    """A new folder whose files become those of ``folder`` at the end, or go where the work within fails.

    It is beside ``folder``, or in it where that is there already (it may be a mount). Raises StoreError where nothing
    can be written there, which is so before the work begins.
    """
    final = folder.resolve()
    there = final.is_dir()
    unfinished = (final if there else final.parent) / f"{_unfinished(final)}{os.getpid()}"
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
    except OSError as error:
        raise StoreError(f"can't write {folder}: {error.strerror or error}; give a path that can be written") from None
    try:
        yield unfinished
        try:
            if there and _others(final):
                raise OSError(f"something was put there meanwhile ({_others(final)[0].name})")
            if there:
                # the settings last: a folder without them was cut short
                for path in sorted(unfinished.iterdir(), key=lambda path: path.name == SETTINGS_FILE):
                    path.rename(final / path.name)
            else:
                unfinished.rename(final)  # refused where something was put there meanwhile
        except OSError as error:
            raise StoreError(
                f"can't write {folder}: {error.strerror or error}; give a new path and run the same command again"
            ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
