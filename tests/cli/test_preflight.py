"""``forewarn preflight`` on a study file: the table, JSON, resumption, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import Said
from tests.study_runner import TINY_FILE
from tests.tiny_world import EXPLOIT_TYPE

TRAINING = f"""
[training]
rollouts = 32
paid = 0.9

[training.types.{EXPLOIT_TYPE}]
first_step = 2
"""


def test_what_a_planned_run_has_in_store(home: Path, said: Said) -> None:
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

    (home / "study.toml").write_text(TINY_FILE + TRAINING)
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
def test_what_cannot_be_meant_is_one_sentence(home: Path, said: Said, options: tuple[object, ...], words: str) -> None:
    code, out, err = said("preflight", "study.toml", *options)
    assert code == 2
    assert words in err
    assert out == ""
    assert not (home / "runs").exists() or "--threshold" in options
