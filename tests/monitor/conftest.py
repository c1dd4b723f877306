"""Fixtures of the watcher's tests: a study of a training, and its trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.monitor.trainer import Trainer
from tests.study_runner import TINY_FILE
from tests.tiny_world import TinyWorld


@pytest.fixture
def home(home: Path) -> Path:
    """The working folder, with a study of the training whose checkpoints will be in ``out``."""
    (home / "out").mkdir()
    text = TINY_FILE.replace('path = "base"', 'path = "out"', 1)
    assert text != TINY_FILE
    (home / "study.toml").write_text("".join(line for line in text.splitlines(True) if "step = " not in line))
    return home


@pytest.fixture
def trainer(world: TinyWorld, home: Path) -> Trainer:
    return Trainer(world, home / "out")
