"""Where trainers put a checkpoint's model, and what its step is by the names of its folders.

Not here: what a model folder must hold (``receipts.py``), steps by a trainer's own state (``checkpoints.py``).
"""

from __future__ import annotations

import re
from pathlib import Path

_NAMED = r"(?:checkpoint|ckpt|global_step|step)[-_]?"
STEP = re.compile(rf"(?:^|{_NAMED})(\d+)(?:[-_]hf)?$")
_PARENT = re.compile(rf"^{_NAMED}(\d+)$")
"""a parent folder's name that tells the step; a bare number may be anything there"""
_INSIDE = ("actor/huggingface", "huggingface", "actor")
"""where trainers keep the model in a checkpoint's folder, if not at its top"""
_PARENTS = 3
"""how far above a model its checkpoint's folder is looked for"""


def is_model(folder: Path) -> bool:
    """Does it hold a model or an adapter itself?"""
    return (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()


def model_in(folder: Path) -> Path:
    """Where the model of a checkpoint's folder lies: in it, or where trainers put it; the folder itself if nowhere."""
    return next((inner for inner in (folder, *(folder / name for name in _INSIDE)) if is_model(inner)), folder)


def named_step(folder: Path) -> int | None:
    """The step in a folder's name, or in that of the checkpoint's folder around it (verl's global_step_N/actor/...)."""
    if own := STEP.search(folder.name):
        return int(own.group(1))
    around = _around(folder)
    return None if around is None else around[1]


def _around(folder: Path) -> tuple[str, int] | None:
    """Name and step of the checkpoint's folder around a model that lies inside it."""
    for parent in folder.absolute().parents[:_PARENTS]:
        if named := _PARENT.search(parent.name):
            return parent.name, int(named.group(1))
    return None


def name_of(folder: Path) -> str:
    """What a checkpoint is called: its folder's name, or that of the folder around it which tells the step."""
    around = None if STEP.search(folder.name) else _around(folder)
    return folder.name if around is None else around[0]
