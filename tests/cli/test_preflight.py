"""``forewarn preflight`` on a study file: the table, JSON, resumption, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.cli.app import main
from forewarn.problems.files import export
from tests.test_plan import FILE
from tests.tiny_world import EXPLOIT_TYPE, TinyWorld

TRAINING = f"""
[training]
rollouts = 32
paid = 0.9

[training.types.{EXPLOIT_TYPE}]
first_step = 2
"""


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(world.subject, tmp_path / "base")
    shutil.copytree(world.donor, tmp_path / "donor")
    export(world.problems, tmp_path / "problems.jsonl")
    (tmp_path / "study.toml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def test_what_a_planned_run_has_in_store(home: Path, said: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = said("preflight", "study.toml", "--steps", 100, "--rollouts", 64)
    assert code == 0, err
    for words in (EXPLOIT_TYPE, "P(found)", "Before training: 100 steps from", "runs/tiny-preflight"):
        assert words in out
    completions = sorted((home / "runs" / "tiny-preflight" / "completions").iterdir())
    code, out, _ = said("preflight", "study.toml", "--steps", 100, "--rollouts", 64, "--json")
    [one] = json.loads(out)
    assert one["exploit_type"] == EXPLOIT_TYPE
    assert 0 < one["probability"] <= 1
    assert one["log10_p"] is not None
    assert sorted((home / "runs" / "tiny-preflight" / "completions").iterdir()) == completions

    (home / "study.toml").write_text(FILE + TRAINING)
    code, out, _ = said("preflight", "study.toml", "--steps", 100, "--json")
    assert code == 0
    assert json.loads(out)[0]["step_interval"][0] >= 1
    assert sorted((home / "runs" / "tiny-preflight" / "completions").iterdir()) == completions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--steps", 10), "study.toml has no [training] table: give --rollouts"),
        (("--steps", 10, "--rollouts", -1), "--rollouts is -1.0"),
        (("--steps", 0, "--rollouts", 1), "--steps"),
        (("--steps", 10, "--rollouts", 1, "--threshold", 2), "threshold is 2.0"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    home: Path, said: Callable[..., tuple[int, str, str]], options: tuple[object, ...], words: str
) -> None:
    code, out, err = said("preflight", "study.toml", *options)
    assert code == 2
    assert words in err
    assert out == ""
    assert not (home / "runs").exists() or "--threshold" in options
