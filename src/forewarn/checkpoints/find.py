"""Checkpoints as a study names them: one folder, a trainer's folder of them, a glob, or a hub revision; by step.

Covers whole models in transformers' format (merged ones too) and PEFT adapters. Not here: loading (``load.py``), hashes
(``receipts.py``), what a source is (``sources.py``).
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from forewarn.checkpoints.convert import Converter, converted
from forewarn.checkpoints.hub import is_hub_name, local_folder
from forewarn.checkpoints.layouts.base import TRAINER_STATE, Spot, is_model
from forewarn.checkpoints.places import (
    layouts_shown,
    model_in,
    needs_converter,
    spot_around,
    spot_of,
    spots_in,
    unmarked,
)
from forewarn.checkpoints.sources import ModelSource, receipt, source_in
from forewarn.errors import HalfWrittenError, InputError, ModelError
from forewarn.text import printable


def trainer_checkpoints(
    run: Path, *, base: str | None = None, converter: Converter | None = None
) -> tuple[ModelSource, ...]:
    """The checkpoints in a trainer's output folder, by the layouts in ``LAYOUTS``, ordered by step.

    Each may hold a whole model, or a PEFT adapter on ``base`` (default: the base its config names), or be made into one
    by ``converter``. A folder that is still being written is left out if it is the newest and refused otherwise. Raises
    InputError where there is none, or two trainings.
    """
    spots = spots_in(run)
    if not spots:
        raise InputError(f"{run} has no checkpoints (trainers' folders are {layouts_shown()})")
    inside = (folder for folder in run.iterdir() if folder.is_dir())
    _skip(sorted(folder for folder in inside if spot_of(folder) is None and is_model(folder)))
    return _ordered(spots, base, converter)


def find_checkpoints(
    where: str,
    *,
    base: str | None = None,
    step: int | None = None,
    name: str | None = None,
    converter: Converter | None = None,
) -> tuple[ModelSource, ...]:
    """The checkpoints that ``where`` names, ordered by step.

    ``where``: a model or adapter folder; a trainer's output folder; a glob of either; ``org/name`` or
    ``org/name@revision`` on the hub. ``step`` and ``name`` are for a ``where`` that names one checkpoint.
    ``converter``: for checkpoints whose weights are in their trainer's own form. Raises InputError where ``where``
    names none or its step can't be told, ModelError where files are missing, half-written or not converted.
    """
    sources = _find(where, base, step, converter)
    if len(sources) > 1 and (step is not None or name is not None):
        raise InputError(f"{where} names {len(sources)} checkpoints: a step or a name can be given to one of them only")
    if name is not None:
        sources = (replace(sources[0], model_id=name),)
    return _distinct(sources)


def _find(where: str, base: str | None, step: int | None, converter: Converter | None) -> tuple[ModelSource, ...]:
    path = Path(where)
    if path.is_dir():
        own = _inside(path)
        if own is not None and converter is not None and needs_converter(own):
            return (_measured(own, base, converter, step),)
        # a trainer's folder often holds the final model beside its checkpoints: a step says that this one is meant
        if is_model(path) and (step is not None or not _holds_checkpoints(path)):
            return (_one(path, base, step, _name_of(path)),)
        if own is not None:
            return (_measured(own, base, converter, step),)
        return trainer_checkpoints(path, base=base, converter=converter)
    if glob.has_magic(where):
        matches = sorted(glob.glob(where, recursive=True))  # noqa: PTH207  Path.glob takes no absolute patterns
        folders = [Path(found) for found in matches if Path(found).is_dir()]
        models = [folder for folder in folders if is_model(folder)]
        if models:
            return _ordered(_without_unnumbered(models), base, converter)
        if within := [spot for folder in folders if (spot := _inside(folder)) is not None]:
            return _ordered(within, base, converter)
        runs = [folder for folder in folders if _holds_checkpoints(folder)]
        if not runs:
            raise InputError(f"the glob {where} matches no model, adapter or trainer's folder of checkpoints")
        each = (trainer_checkpoints(run, base=base, converter=converter) for run in runs)
        return tuple(sorted((source for run in each for source in run), key=lambda source: source.step))
    if is_hub_name(where):
        folder = local_folder(where)
        if is_model(folder):
            return (_one(folder, base, step, where.split("/", 1)[1]),)
        return trainer_checkpoints(folder, base=base, converter=converter)
    raise InputError(f"{where} is not a folder, a matching glob, or a hub name (org/name or org/name@revision)")


def _inside(folder: Path) -> Spot | None:
    """The checkpoint that a folder is, or a part of on the way to its weights; None where it has none, or where the
    folder is another part of it (verl's ``global_step_9/critic``)."""
    spot = spot_around(folder)
    if spot is None or (model_in(spot) is None and not needs_converter(spot)):
        return None
    weights = Path(spot.source) if needs_converter(spot) else model_in(spot)
    assert weights is not None
    on_the_way = (weights.absolute(), *weights.absolute().parents)
    within = needs_converter(spot) and folder.absolute().is_relative_to(weights.absolute())
    return spot if within or folder.absolute() in on_the_way else None


def _holds_checkpoints(folder: Path) -> bool:
    return any(model_in(spot) is not None or needs_converter(spot) for spot in spots_in(folder))


def _without_unnumbered(folders: Sequence[Path]) -> list[Path]:
    """Folders whose step can be told; the others are skipped with a note where they stand beside such ones."""
    told = [folder for folder in folders if (folder / TRAINER_STATE).is_file() or spot_around(folder) is not None]
    if not told:
        return list(folders)
    _skip([folder for folder in folders if folder not in told])
    return told


def _skip(folders: Sequence[Path]) -> None:
    for folder in folders:
        note = (
            f"note: {folder} is left out, as its step can't be told beside those that have one; to measure it too, "
            "name it as a checkpoint of its own, with its step"
        )
        print(printable(note), file=sys.stderr)


def _one(folder: Path, base: str | None, step: int | None, name: str) -> ModelSource:
    if step is None:
        step = _step_of(folder, name)
    if step is None:
        raise InputError(f"the step of {name} can't be told ({TRAINER_STATE} is missing, its name has none): give it")
    source = source_in(folder, step, base)
    receipt(source)
    return replace(source, model_id=name)


def _ordered(
    found: Sequence[Spot] | Sequence[Path], base: str | None, converter: Converter | None
) -> tuple[ModelSource, ...]:
    """Sources by step; the newest is left out, with a note on stderr, where it is half-written.

    ``found``: checkpoints, or folders that hold a model, inside a checkpoint or anywhere.
    """
    spots = [one if isinstance(one, Spot) else spot_around(one) for one in found]
    lacking = unmarked([spot for spot in spots if spot is not None])
    sources = []
    pairs: list[tuple[Spot | Path, Spot | None]] = list(zip(found, spots, strict=True))
    by_age = sorted(pairs, key=lambda pair: _age(*pair))
    for i, (one, spot) in enumerate(by_age):
        try:
            if spot is not None and spot.folder in lacking:
                raise HalfWrittenError(f"{spot.folder} {lacking[spot.folder]}: it is half-written")
            if isinstance(one, Spot):
                sources.append(_measured(one, base, converter, None))
            else:
                sources.append(_one(one, base, None, _name_of(one)))
        except HalfWrittenError as error:
            if i + 1 < len(by_age) or i == 0:
                raise
            where = one.folder if isinstance(one, Spot) else one
            print(printable(f"note: {where} is left out, as it is half-written: {error}"), file=sys.stderr)
    return tuple(sorted(sources, key=lambda source: source.step))


def _age(one: Spot | Path, spot: Spot | None) -> tuple[int, str]:
    """Order of writing, by the number in the name: a half-written folder may not tell its step."""
    name = one.name
    if spot is None:
        return 0, name
    match = spot.layout.pattern.fullmatch(spot.folder.name)
    return (spot.step if match is None else int(match["step"])), name


def _measured(spot: Spot, base: str | None, converter: Converter | None, step: int | None) -> ModelSource:
    """The model of a checkpoint, converted where its trainer left it in a form of its own."""
    if not needs_converter(spot):
        return _one(model_in(spot) or spot.folder, base, step, spot.name)
    if converter is None:
        raise ModelError(
            f"the weights of {spot.name} in {spot.folder} are in {spot.layout.title}'s own form: give the command that "
            "converts them (convert, docs/study.md)"
        )
    folder = converted(spot, converter)
    source = source_in(folder, spot.step if step is None else step, base)
    receipt(source)
    return replace(source, model_id=spot.name)


def _name_of(folder: Path) -> str:
    """What a checkpoint is called: its folder's name, or that of the checkpoint's folder around it."""
    around = spot_around(folder)
    return folder.name if around is None else around.name


def _step_of(folder: Path, name: str) -> int | None:
    """The trainer's own count of steps, else the one in the name; None where neither says."""
    state = folder / TRAINER_STATE
    if state.is_file():
        try:
            found = json.loads(state.read_text())
            return int(found["global_step"])
        except (OSError, ValueError, KeyError, TypeError):
            raise HalfWrittenError(
                f"{state} doesn't have its global_step: it is half-written; wait or copy it again"
            ) from None
    around = spot_of(Path(name.rsplit("@")[-1])) or spot_around(folder)
    return None if around is None else around.step


def _distinct(sources: Sequence[ModelSource]) -> tuple[ModelSource, ...]:
    """Names that tell the sources apart: checkpoints of several runs often share theirs."""
    counts = Counter(source.model_id for source in sources)
    if max(counts.values(), default=1) == 1:
        return tuple(sources)
    folders = [Path(source.adapter or source.folder).resolve() for source in sources]
    top = Path(os.path.commonpath(folders))
    return tuple(
        replace(source, model_id=folder.relative_to(top).as_posix())
        for source, folder in zip(sources, folders, strict=True)
    )
