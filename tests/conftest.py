"""Settings of the whole suite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.tiny_world import TinyWorld

# Two torch threads on a busy machine spin at barriers and run 2 to 40 times slower than one. Set before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    """The enumerable world, built once a run."""
    from tests.tiny_world import build  # torch and transformers: only where they are needed

    return build(tmp_path_factory.mktemp("tiny-world"))


@pytest.fixture(scope="session")
def finished_run(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small study of that world. Tests that write take a copy."""
    from forewarn.study import run_study
    from tests.study_runner import tiny_study

    root = tmp_path_factory.mktemp("runs") / "tiny"
    run_study(tiny_study(world, count=20), root)
    return root
