"""What no waiting cures: a study whose base or donors are not there, or whose checkpoints are not of its models.

Asked before a watcher measures anything, so that it ends with one sentence instead of trying again and again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.layouts.plain import PLAIN
from forewarn.checkpoints.layouts.trl import TRL
from forewarn.checkpoints.receipts import adapter_weights_file, read_object, weight_files
from forewarn.checkpoints.sources import ModelSource, source_in
from forewarn.checkpoints.tensors import tensor_shapes
from forewarn.errors import HalfWrittenError, InputError, ModelError
from forewarn.study.config.load import chosen_problems, donor_source, placed
from forewarn.study.config.schema import StudyTable

_LORA = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(?:\.\w+)?\.weight")
_LAYER = re.compile(r"\.layers\.(\d+)\.")


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Errors within are prefixed with the place in the file."""
    try:
        yield
    except (InputError, ModelError) as error:
        raise InputError(f"{where}: {error}") from None


class Fit:
    """A study's base and donors, which are looked at once, and checkpoints that have to fit them."""

    def __init__(self, tables: StudyTable, file: Path) -> None:
        """Raises InputError where the base, a donor or the problems are not there."""
        self._file, home = file, file.resolve().parent
        [entry] = tables.checkpoints
        self._base = None if entry.base is None else placed(entry.base, home)
        if tables.problems.file is not None or tables.problems.environment is not None:
            with _at(f"{file}: problems"):
                chosen_problems(tables.problems, home)
        if self._base is not None:
            with _at(f"{file}: checkpoints[1].base"):
                weight_files(local_folder(self._base))
        self._donors: list[ModelSource] = []
        for i, donor in enumerate(tables.donors, 1):
            with _at(f"{file}: donors[{i}]"):
                self._donors.append(donor_source(donor, home))

    def check(self, name: str, weights: Path) -> None:
        """Raise InputError where a checkpoint's model or adapter is of another model than the study's.

        What can't be told from its files is left to the measurement.
        """
        try:
            source = source_in(weights, 0, self._base)
        except HalfWrittenError:
            return
        except (InputError, ModelError) as error:
            raise InputError(f"{self._file} doesn't fit {name}: {error}") from None
        why = _other_base(source) if source.adapter is not None else None
        why = why or next((found for one in self._donors if (found := _other_family(source, one))), None)
        if why is not None:
            raise InputError(f"{self._file} doesn't fit {name}: {why}")


def _other_base(source: ModelSource) -> str | None:
    """Why the adapter can't be of this base; None: nothing speaks against it."""
    assert source.adapter is not None
    try:
        base = {
            name: shape for path in weight_files(Path(source.folder)) for name, shape in tensor_shapes(path).items()
        }
        adapter = tensor_shapes(adapter_weights_file(Path(source.adapter)))
    except ModelError:
        return None
    parts = [(match, shape) for name, shape in adapter.items() if (match := _LORA.fullmatch(name))]
    for match, shape in parts:
        own = base.get(f"{match['module']}.weight", [])
        theirs = shape[-1] if match["side"] == "A" else shape[0]
        if len(shape) == len(own) == 2 and theirs not in own:  # some models keep their weights transposed
            side = "inputs" if match["side"] == "A" else "outputs"
            return (
                f"its adapter is for {match['module']} with {theirs} {side}, and {source.folder} has it with "
                f"{own[0]} and {own[1]}: give the base that it was trained on"
            )
    layers, own_layers = _layers(match["module"] for match, _ in parts), _layers(base)
    if layers > own_layers > 0:
        return f"its adapter is for {layers} layers, and {source.folder} has {own_layers}: give the base it is of"
    return None


def _layers(names: Iterable[str]) -> int:
    """How many layers names of weights speak of; 0: they don't tell."""
    return max((int(match[1]) + 1 for name in names if (match := _LAYER.search(name))), default=0)


def _other_family(source: ModelSource, donor: ModelSource) -> str | None:
    """Why a donor can't write for this subject; None: nothing speaks against it."""
    sizes = [_vocabulary(Path(one.folder)) for one in (source, donor)]
    if None in sizes or sizes[0] == sizes[1]:
        return None
    return (
        f"its model has {sizes[0]} tokens in its vocabulary, and donor {donor.model_id} ({donor.folder}) has "
        f"{sizes[1]}: give a donor of the same family"
    )


def _vocabulary(folder: Path) -> int | None:
    try:
        held = read_object(folder / "config.json")
    except ModelError:
        return None
    size = held.get("vocab_size", (held.get("text_config") or {}).get("vocab_size"))
    return size if isinstance(size, int) else None


def check_one_training(run: Path, spots: Sequence[Spot]) -> None:
    """Raise InputError where the checkpoints in a folder are of two trainings: of two trainers, or with logs that
    contradict each other."""
    known = [spot for spot in spots if spot.layout is not PLAIN]  # a bare number may be anything
    layouts = {spot.layout.title.split(" (")[0]: spot for spot in known}  # one trainer may keep two forms
    if len(layouts) > 1:
        (one, first), (other, second), *_ = layouts.items()
        raise InputError(
            f"{run} holds two trainings: {first.name} is of {one}, {second.name} of {other}; give a folder of one"
        )
    logs = [(spot, _losses(spot.folder)) for spot in spots if spot.layout is TRL]
    for (earlier, before), (later, after) in pairwise(logs):
        step = next((step for step in sorted(before.keys() & after.keys()) if before[step] != after[step]), None)
        if step is not None:
            raise InputError(
                f"{run} holds two trainings: by {earlier.name} the loss at step {step} was {before[step]:g}, by "
                f"{later.name} {after[step]:g}; give a folder of one, or delete the checkpoints of the other"
            )


def _losses(folder: Path) -> dict[int, float]:
    """The losses that a trainer has logged by a checkpoint, by step."""
    try:
        held = json.loads((folder / "trainer_state.json").read_text()).get("log_history", [])
        return {int(one["step"]): float(one["loss"]) for one in held if "loss" in one and "step" in one}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
