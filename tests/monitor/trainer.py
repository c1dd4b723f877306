"""A trainer's folder as tests of the watcher fill it, and the watcher of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from forewarn.monitor.feed import Feeds
from forewarn.monitor.watch import Watcher
from tests.tiny_world import TinyWorld


class Trainer:
    """Writes checkpoints as TRL does: weights first, ``trainer_state.json`` last."""

    def __init__(self, world: TinyWorld, folder: Path) -> None:
        self.folder = folder
        self.later = world.later
        self._models = (world.subject, world.later)

    def begin(self, step: int) -> Path:
        """A checkpoint without the trainer's sign that it is whole."""
        checkpoint = self.folder / f"checkpoint-{step}"
        shutil.copytree(self._models[step > 10], checkpoint)
        (checkpoint / "optimizer.pt").write_bytes(b"0" * 1000)
        return checkpoint

    def finish(self, step: int) -> None:
        (self.folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    def save(self, step: int) -> None:
        self.begin(step)
        self.finish(step)

    def rewrite(self, step: int, model: Path) -> None:
        """Write a checkpoint again, into the files that are there."""
        for path in model.iterdir():
            (self.folder / f"checkpoint-{step}" / path.name).write_bytes(path.read_bytes())
        self.finish(step)

    def prune(self, step: int) -> None:
        shutil.rmtree(self.folder / f"checkpoint-{step}")


def watcher(
    home: Path, lines: list[str] | None = None, root: Path | None = None, clock: Callable[[], float] = time.time
) -> Watcher:
    """The watcher of the study in ``home``; ``lines``: takes what it says."""
    root = root or home / "runs" / "tiny"
    said = lines if lines is not None else []
    return Watcher(home / "study.toml", root, Feeds(root, (), say=print), say=said.append, clock=clock)
