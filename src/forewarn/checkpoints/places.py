"""The checkpoints in a run's folder, by the layouts of their trainers: where each is, its step, and what it lacks.

Not here: loading and receipts (``find.py``, ``receipts.py``), following a run that goes on (``polls.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from forewarn.checkpoints.layouts import LAYOUTS, Spot
from forewarn.checkpoints.layouts.base import is_model
from forewarn.checkpoints.receipts import check_files
from forewarn.errors import InputError, ModelError

_PARENTS, _DEEPEST = 3, 6
"""how far above a model its checkpoint's folder is looked for: wherever in it the model lies, and where its trainer
puts it"""


def spot_of(folder: Path) -> Spot | None:
    """The checkpoint that a folder is by its whole name; None where it is none."""
    folder = folder if folder.name else folder.absolute()
    for layout in LAYOUTS.values():
        match = layout.pattern.fullmatch(folder.name)
        if match is None or (layout.under is not None and not layout.under.fullmatch(folder.absolute().parent.name)):
            continue
        if layout.holds and not any((folder / inner).exists() for inner in layout.holds):
            continue
        return Spot(layout, folder, layout.step(folder, int(match["step"])), folder.name)
    return None


def spot_around(model: Path) -> Spot | None:
    """The checkpoint whose folder ``model`` is, or lies in."""
    own = spot_of(model)
    if own is not None:
        return own
    for depth, parent in enumerate(model.absolute().parents[:_DEEPEST], 1):
        found = spot_of(parent)
        if found is None or parent.name.isdigit():  # a bare number may be anything there
            continue
        usual = model.absolute().relative_to(parent).as_posix() in found.layout.weights_in
        if usual or (depth <= _PARENTS and not found.layout.by_epoch):
            return found
    return None


def spots_in(run: Path) -> list[Spot]:
    """The checkpoints of a training in its output folder, or one folder below where its trainer keeps them apart.

    Ordered by step. Raises InputError where there are two trainings.
    """
    listed = [spot for layout in LAYOUTS.values() if layout.listed is not None for spot in layout.listed(run, layout)]
    if listed:
        return _by_step(listed)
    inside = _folders(run)
    direct = [spot for folder in inside if (spot := spot_of(folder)) is not None]
    if direct:
        return _by_step(direct)
    below = {folder: _kept_apart(folder) for folder in inside}
    below = {folder: spots for folder, spots in below.items() if spots}
    for layout in LAYOUTS.values():  # a trainer may keep both weights and its own form: the first layout is the better
        mine = [folder for folder, spots in below.items() if spots[0].layout is layout]
        if len(mine) > 1:
            raise InputError(f"{run} holds two trainings, {mine[0].name} and {mine[1].name}: give one of them")
        if mine:
            return _by_step(below[mine[0]])
    return []


def _kept_apart(folder: Path) -> list[Spot]:
    if not any(layout.under is not None and layout.under.fullmatch(folder.name) for layout in LAYOUTS.values()):
        return []
    spots = [spot for inner in _folders(folder) if (spot := spot_of(inner)) is not None]
    return [spot for spot in spots if spot.layout.under is not None]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(inner for inner in folder.iterdir() if inner.is_dir())
    except OSError:  # not there, or not any more
        return []


def _by_step(spots: Iterable[Spot]) -> list[Spot]:
    return sorted(spots, key=lambda spot: (spot.step, spot.name))


def model_in(spot: Spot) -> Path | None:
    """Where a checkpoint has a model or an adapter in Hugging Face form, with weights; None where it has none."""
    settings = [inner for name in spot.layout.weights_in if is_model(inner := spot.folder / name)]
    return next((inner for inner in settings if _has_weights(inner)), settings[0] if settings else None)


def _has_weights(folder: Path) -> bool:
    return any(
        path.suffix in (".safetensors", ".bin") or path.name.endswith(".index.json") for path in folder.iterdir()
    )


def needs_converter(spot: Spot) -> bool:
    """Whether its weights are in its trainer's own form alone."""
    if spot.remote is not None:
        return True
    model = model_in(spot)
    if model is not None and _has_weights(model):
        return False
    return any(next(spot.folder.glob(shards), None) is not None for shards in spot.layout.shards)


def unmarked(spots: Sequence[Spot], *, watched: bool = False) -> dict[Path, str]:
    """Folder -> what its trainer's sign of a whole checkpoint lacks, for those that lack it.

    Checkpoints that were copied without the sign are whole unless another of the same layout has it; in a run that is
    ``watched`` while it goes on, each needs it where its trainer always leaves one.
    """
    lacking: dict[Path, str] = {}
    for layout in LAYOUTS.values():
        mine = [spot for spot in spots if spot.layout is layout]
        said = {spot.folder: layout.unmarked(spot) for spot in mine if spot.remote is None}
        if (watched and layout.always_marked) or None in said.values():
            lacking |= {folder: reason for folder, reason in said.items() if reason is not None}
    return lacking


def unwritten(spot: Spot) -> str | None:
    """What the files of a checkpoint lack, whatever its trainer's sign says; None: they are whole."""
    if spot.remote is not None or needs_converter(spot):
        return None
    model = model_in(spot)
    if model is None:
        return "has no model or adapter yet"
    try:
        check_files(model)
    except ModelError as error:
        return str(error)
    return None


def layouts_shown() -> str:
    """What checkpoints' folders may be called, for errors."""
    return ", ".join(dict.fromkeys(layout.shown for layout in LAYOUTS.values()))
