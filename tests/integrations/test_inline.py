"""Measuring while the training waits: a real training, a real measurement, a time limit that is kept."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from forewarn.errors import InputError
from forewarn.integrations.inline import LOG_FILE, alone, check_inline
from forewarn.integrations.trl import ForewarnCallback
from forewarn.monitor.pins import pins_in
from forewarn.study import read_results
from tests.integrations.test_trl import events, trainer
from tests.study_runner import TINY_FILE
from tests.tiny_world import TinyWorld


@pytest.fixture
def home(home: Path) -> Path:
    """The working folder, with a study of the training whose checkpoints will be in ``out``."""
    text = TINY_FILE.replace('path = "base"\nstep = 1', 'path = "out"', 1).replace("count = 12", "count = 2")
    (home / "study.toml").write_text(text)
    return home


def test_a_checkpoint_is_measured_while_the_training_waits(home: Path, world: TinyWorld) -> None:
    root = home / "runs"
    callback = ForewarnCallback(root, steps=[3], inline=True, study=home / "study.toml", time_limit_s=250)
    one = trainer(world.subject, home / "out", callback, steps=5)
    one.train()
    assert one.state.global_step == 5
    [told] = [event for event in events(root) if event["event"] == "measured"]
    assert (told["checkpoint"], told["status"]) == ("checkpoint-3", 0), (root / LOG_FILE).read_text()
    assert {cell.step for cell in read_results(root).estimates} == {3}
    assert callback.measuring_seconds >= told["seconds"] - 0.1
    assert callback.seconds < callback.measuring_seconds


def test_a_measurement_over_its_limit_is_ended_and_the_training_goes_on(
    home: Path, world: TinyWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    root = home / "runs"
    callback = ForewarnCallback(root, steps=[2], inline=True, study=home / "study.toml", time_limit_s=0.3)
    one = trainer(world.subject, home / "out", callback, steps=3)
    start = time.monotonic()
    one.train()
    assert one.state.global_step == 3
    assert time.monotonic() - start < 60
    assert [event["status"] for event in events(root) if event["event"] == "measured"] == [None]
    assert "checkpoint-2 was not measured within 0.3 s" in capsys.readouterr().out
    assert [pin.name for pin in pins_in(root)] == ["checkpoint-2"]
    assert not [args for args in commands() if str(home / "study.toml") in args]


def commands() -> list[str]:
    """Command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_measurement_that_fails_is_said_and_the_training_goes_on(
    home: Path, world: TinyWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "problems.jsonl").unlink()
    callback = ForewarnCallback(home / "runs", steps=[2], inline=True, study=home / "study.toml", time_limit_s=250)
    one = trainer(world.subject, home / "out", callback, steps=3)
    one.train()
    assert one.state.global_step == 3
    said = capsys.readouterr().out
    assert "forewarn: checkpoint-2 is not measured (status " in said
    assert "the training goes on" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"inline": True}, "inline measures by a study"),
        ({"time_limit_s": 0}, "time_limit_s is 0"),
        ({"time_limit_s": float("nan")}, "time_limit_s is nan"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForewarnCallback(tmp_path, **arguments)


def test_a_study_of_another_training_is_refused_before_the_first_step(home: Path, world: TinyWorld) -> None:
    callback = ForewarnCallback(home / "runs", steps=[2], inline=True, study=home / "study.toml")
    one = trainer(world.subject, home / "elsewhere", callback, steps=3)
    with pytest.raises(InputError, match=r"watches .*out, and the training writes to .*elsewhere"):
        one.train()
    assert one.state.global_step == 0


def test_a_limit_that_others_do_not_wait_for_is_refused(home: Path) -> None:
    check_inline(home / "study.toml", home / "out", time_limit_s=600, ddp_timeout_s=1800)
    check_inline(home / "study.toml", home / "out", time_limit_s=9000, ddp_timeout_s=None)
    with pytest.raises(InputError, match="time_limit_s is 1800"):
        check_inline(home / "study.toml", home / "out", time_limit_s=1800, ddp_timeout_s=1800)


def test_a_measurement_is_not_told_of_the_other_processes() -> None:
    told = {"RANK": "1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "x", "PATH": os.environ["PATH"]}
    assert alone(told) == {"PATH": os.environ["PATH"]}
