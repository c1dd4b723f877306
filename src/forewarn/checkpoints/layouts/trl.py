"""TRL and transformers' Trainer: ``checkpoint-N``, with the trainer's state written last."""

from __future__ import annotations

import json
import re
from pathlib import Path

from forewarn.checkpoints.layouts.base import TRAINER_STATE, Layout, Spot


def state_step(folder: Path) -> int | None:
    """The trainer's own count of steps; None where its state is missing, cut short or of another shape."""
    try:
        return int(json.loads((folder / TRAINER_STATE).read_text())["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unmarked(spot: Spot) -> str | None:
    if state_step(spot.folder) is not None:
        return None
    there = (spot.folder / TRAINER_STATE).exists()
    return f"has a {TRAINER_STATE} that doesn't have its global_step" if there else f"lacks {TRAINER_STATE}"


def step(folder: Path, number: int) -> int:
    """A run that was resumed may number its folders from its own start."""
    counted = state_step(folder)
    return number if counted is None else counted


TRL = Layout(
    title="TRL",
    pattern=re.compile(r"checkpoint-(?P<step>\d+)"),
    shown="checkpoint-N",
    step=step,
    unmarked=unmarked,
    # FSDP with sharded state: no weights in Hugging Face form
    shards=("pytorch_model_fsdp_0/*.distcp",),
    shards_in="pytorch_model_fsdp_0",
    convert=("accelerate", "merge-weights", "{source}", "{target}"),
)
