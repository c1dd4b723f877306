"""Settings of the whole suite."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.command import Said
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


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command and returns its exit status, what it printed, and what it said on stderr."""
    from forewarn.cli.app import main

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: that world's models and problems, and the file of a study of them."""
    from forewarn.problems.files import export
    from tests.study_runner import TINY_FILE

    home = tmp_path / "home"
    shutil.copytree(world.subject, home / "base")
    shutil.copytree(world.donor, home / "donor")
    export(world.problems, home / "problems.jsonl")
    (home / "study.toml").write_text(TINY_FILE)
    monkeypatch.chdir(home)
    return home
