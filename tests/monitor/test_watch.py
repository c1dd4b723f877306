"""Following a training: what is kept, in which order it is measured, what becomes of faults, kills and pruning."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forewarn.errors import InputError
from forewarn.monitor.feed import ALERTS_FILE, Feeds
from forewarn.monitor.pins import Pin
from forewarn.monitor.state import next_of, read_state
from forewarn.monitor.watch import TRIES, Watcher
from forewarn.study import read_results
from tests.command import Said
from tests.monitor.trainer import Trainer, watcher
from tests.tiny_world import TinyWorld


def kept(*steps: int) -> list[Pin]:
    return [Pin(f"checkpoint-{step}", step, Path(), Path()) for step in steps]


@pytest.mark.parametrize(
    ("pending", "measured", "chosen"),
    [
        ((), (), None),
        ((5, 9, 100), (), 5),  # the first of a run before all
        ((9, 50, 100), (5,), 100),  # then the newest
        ((9, 50, 100), (5, 200), 50),  # then what is furthest from all that is known
        ((9, 150, 190), (5, 50, 200), 9),
        ((120,), (5, 100), 120),
    ],
)
def test_the_order_of_measuring(pending: tuple[int, ...], measured: tuple[int, ...], chosen: int | None) -> None:
    found = next_of(kept(*pending), kept(*measured))
    assert (None if found is None else found.step) == chosen


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_half_a_checkpoint_is_never_measured_and_a_pruned_one_is_kept(home: Path, trainer: Trainer) -> None:
    lines: list[str] = []
    one = watcher(home, lines)
    trainer.begin(1)
    assert [one.look(), one.look()] == [[], []]
    trainer.finish(1)
    assert one.look() == []  # it changed since the look before
    assert [pin.name for pin in one.look()] == ["checkpoint-1"]
    trainer.prune(1)
    assert one.look() == []
    assert one.measure_next() is not None, lines
    assert [pin.name for pin in one.measured] == ["checkpoint-1"]
    assert not list((home / "runs" / "tiny" / "checkpoints").rglob("optimizer*"))
    assert lines == ["measuring checkpoint-1 (step 1)"]
    assert one.measure_next() is None


def test_each_checkpoint_adds_to_the_answer_and_measures_nothing_twice(home: Path, trainer: Trainer) -> None:
    one, root = watcher(home), home / "runs" / "tiny"
    trainer.save(1)
    one.look(), one.look()
    first = one.measure_next()
    assert first is not None
    before = listing(root / "completions")
    for step in (4, 20):
        trainer.save(step)
    one.look(), one.look()
    assert one.measure_next() is not None
    assert [pin.step for pin in one.measured] == [1, 20]
    answer = one.measure_next()
    assert answer is not None
    assert [pin.step for pin in one.measured] == [1, 4, 20]
    assert before.items() <= listing(root / "completions").items()
    assert {cell.step for cell in read_results(root).estimates} == {1, 4, 20}
    assert answer[0].step == 20
    assert len((root / ALERTS_FILE).read_text().splitlines()) == 3
    assert (root / "report" / "report.html").is_file()


def test_a_failure_stays_pending_is_told_and_does_not_stop_the_others(home: Path, trainer: Trainer) -> None:
    lines: list[str] = []
    one, root = watcher(home, lines), home / "runs" / "tiny"
    trainer.save(1)
    trainer.save(4)
    one.look(), one.look()
    (root / "checkpoints" / "checkpoint-1" / "config.json").rename(home / "aside.json")
    assert [one.measure_next() for _ in range(TRIES)] == [None] * TRIES
    assert f"{lines[-1]}".startswith("checkpoint-1 is not measured and will be tried again: ")
    assert one.measure_next() is not None  # checkpoint-4
    state = read_state(root)
    assert state is not None
    assert state.measured == ("checkpoint-4",)
    assert state.pending == ("checkpoint-1",)
    assert state.failed["checkpoint-1"].times == TRIES
    (home / "aside.json").rename(root / "checkpoints" / "checkpoint-1" / "config.json")
    assert one.measure_next() is not None, lines
    assert [pin.step for pin in one.measured] == [1, 4]
    state = read_state(root)
    assert state is not None
    assert not state.failed


def test_the_command_follows_and_status_tells(home: Path, trainer: Trainer, said: Said) -> None:
    for step in (1, 20):
        trainer.save(step)
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1, "--alert", "jsonl=mine.jsonl")
    assert code == 0, err
    assert "checkpoint-20 is whole (step 20), and kept" in err
    assert "measuring checkpoint-1 (step 1); 1 more wait" in err
    assert len((home / "mine.jsonl").read_text().splitlines()) == 2
    code, out, _ = said("status", "runs/tiny")
    assert code == 0
    assert "measured" in out
    trainer.save(30)
    one = watcher(home)
    one.look(), one.look()
    code, out, _ = said("status", "runs/tiny", "--json")
    assert code == 4
    assert json.loads(out)["watch"]["pending"] == ["checkpoint-30"]
    assert said("watch", "study.toml", "--until", 30, "--every", 0.1)[0] == 0
    assert [pin.step for pin in watcher(home).measured] == [1, 20, 30]


def test_one_round_tries_every_checkpoint_though_one_fails(home: Path, trainer: Trainer, said: Said) -> None:
    for step in (1, 20):
        trainer.save(step)
    config = home / "out" / "checkpoint-1" / "config.json"
    config.write_text(config.read_text().replace("Qwen3ForCausalLM", "NoSuchModel").replace("qwen3", "nosuch"))
    code, _, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert code == 4
    assert "checkpoint-1 is not measured and will be tried again" in err
    assert [pin.step for pin in watcher(home).measured] == [20]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('path = "out"', 'path = "out/*"', "is a glob: give the trainer's output folder"),
        ('path = "out"', 'path = "out"\nstep = 3', "checkpoints[1].step is given"),
        ('path = "out"', 'path = "out"\n[[checkpoints]]\npath = "base"', "has 2 [[checkpoints]] entries"),
    ],
)
def test_a_study_that_names_no_training_is_one_sentence(home: Path, said: Said, old: str, new: str, words: str) -> None:
    (home / "study.toml").write_text((home / "study.toml").read_text().replace(old, new))
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert (code, out) == (2, "")
    assert words in err
    assert not (home / "runs").exists()


def test_two_trainings_in_one_folder_are_refused(home: Path, world: TinyWorld) -> None:
    for name in ("checkpoints", "checkpoints_b"):
        folder = home / "out" / name / "step_1"
        folder.parent.mkdir()
        shutil.copytree(world.subject, folder)
        (folder / ".checkpoint_complete").touch()
    for name in ("a_checkpoints", "b_checkpoints"):
        (home / "out" / name).mkdir()
        shutil.copytree(world.subject, home / "out" / name / "step_1")
        (home / "out" / name / "step_1" / ".checkpoint_complete").touch()
    with pytest.raises(InputError, match="holds two trainings"):
        watcher(home).look()


def test_a_watcher_that_is_killed_goes_on_and_measures_nothing_twice(home: Path, trainer: Trainer) -> None:
    for step in (1, 20, 30):
        trainer.save(step)
    command = [sys.executable, "-m", "forewarn", "watch", "study.toml", "--until", "30", "--every", "0.1"]
    completions = home / "runs" / "tiny" / "completions"
    done: dict[str, bytes] = {}
    for _ in range(3):
        process = subprocess.Popen(
            command, cwd=home, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 120
        while process.poll() is None and len(shards_in(completions)) <= len(done) and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = {path.name: path.read_bytes() for path in shards_in(completions)}
        assert done.items() <= found.items()
        done = found
    assert done
    again = watcher(home)
    again.look(), again.look()
    while again.measure_next() is not None:
        pass
    assert [pin.step for pin in again.measured] == [1, 20, 30]
    assert done.items() <= listing(completions).items()
    whole = watcher_elsewhere(home)
    assert estimates(home / "runs" / "tiny") == estimates(whole)


def shards_in(folder: Path) -> list[Path]:
    """The shards that are written whole."""
    return [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]


def watcher_elsewhere(home: Path) -> Path:
    """The same study measured without a kill."""
    root = home / "runs" / "whole"
    one = Watcher(home / "study.toml", root, Feeds(root, (), say=print), say=print)
    one.look(), one.look()
    while one.measure_next() is not None:
        pass
    return root


def test_a_checkpoint_that_is_written_again_is_measured_again_and_the_answer_has_the_last(
    home: Path, trainer: Trainer
) -> None:
    lines: list[str] = []
    one, root = watcher(home, lines), home / "runs" / "tiny"
    trainer.save(4)
    one.look(), one.look()
    assert one.measure_next() is not None, lines
    first = estimates(root)
    trainer.rewrite(4, trainer.later)
    assert [one.look(), [pin.name for pin in one.look()]] == [[], ["checkpoint-4~2"]]
    assert [pin.name for pin in one.pending] == ["checkpoint-4~2"]
    assert one.measure_next() is not None, lines
    assert [(name, step) for name, step in cells(root)] == [("checkpoint-4~2", 4)]
    assert estimates(root)[0][1:] != first[0][1:]
    trainer.rewrite(4, trainer.later)  # the same again: nothing is to be done
    assert [one.look(), one.look(), one.measure_next()] == [[], [], None]


def test_a_measured_checkpoint_that_its_trainer_writes_into_holds_up_nothing(
    home: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With links, as for files too large to be copied: what is kept changes with what the trainer writes."""
    monkeypatch.setattr("forewarn.monitor.pins.COPIED_BYTES", 0)
    lines: list[str] = []
    one, root = watcher(home, lines), home / "runs" / "tiny"
    trainer.save(1)
    one.look(), one.look()
    assert one.measure_next() is not None, lines
    content = (trainer.later / "model.safetensors").read_bytes()
    with (home / "out" / "checkpoint-1" / "model.safetensors").open("wb") as file:
        file.write(content[: len(content) // 2])
    trainer.save(20)
    one.look(), one.look()
    assert one.measure_next() is not None, lines
    assert [step for _, step in cells(root)] == [20]
    with (home / "out" / "checkpoint-1" / "model.safetensors").open("wb") as file:
        file.write(content)
    trainer.finish(1)
    one.look(), one.look()
    assert one.measure_next() is not None, lines
    assert cells(root) == [("checkpoint-1~2", 1), ("checkpoint-20", 20)]


def cells(root: Path) -> list[tuple[str, int]]:
    return [(cell.checkpoint_id, cell.step) for cell in read_results(root).estimates]


def estimates(root: Path) -> list[tuple[str, float | None, int]]:
    return [(c.checkpoint_id, c.estimate.log10_p, c.estimate.n_hits) for c in read_results(root).estimates]
