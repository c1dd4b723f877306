"""A donor that no longer reaches is refined beside the measuring, and its successor writes at later checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.errors import StoreError
from forewarn.monitor.state import Refining, State, read_state, write_state
from forewarn.study import read_completions, read_results
from forewarn.study.folder.manifest import purpose_of
from forewarn.study.results import reach
from tests.command import Said
from tests.monitor.trainer import Trainer, watcher

TRAINING = """[donors.training]
epochs = 6.0
batch_size = 8
learning_rate = 2e-2
rank = 4
alpha = 8.0
"""
"""how a successor is trained"""
WAIT_S = 900.0


@pytest.fixture
def refining_home(home: Path) -> Path:
    """The working folder, with a study whose donors are refined."""
    study = home / "study.toml"
    text = study.read_text().replace("[policy]", "[watch]\nrefine = true\n[policy]")
    study.write_text(text.replace('path = "donor"\nbase = "base"\n', 'path = "donor"\nbase = "base"\n' + TRAINING))
    return home


def test_a_state_keeps_what_is_being_refined(tmp_path: Path) -> None:
    state = State(refining=Refining("donor", "donor-20", "checkpoint-20", {"other": "other-9"}))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    held = json.loads((tmp_path / "watch.json").read_text())
    held["refining"].pop("name")
    (tmp_path / "watch.json").write_text(json.dumps(held))
    with pytest.raises(StoreError, match="delete it, and nothing is drawn twice"):
        read_state(tmp_path)


def test_what_can_not_be_refined_is_said_once_and_measuring_goes_on(refining_home: Path, trainer: Trainer) -> None:
    root, lines = refining_home / "runs" / "tiny", list[str]()
    trainer.save(1)
    one = watcher(refining_home, lines)
    one.look(), one.look()
    state = read_state(root)
    assert state is not None
    write_state(root, replace(state, refining=Refining("donor", "donor-7", "checkpoint-7", {})))
    one.look(), one.look()
    assert [line for line in lines if "not refined" in line] == [
        "donor is not refined: checkpoint-7 is no longer in the run folder"
    ]
    assert not one.succession.goes_on
    assert one.measure_next() is not None, lines


@pytest.mark.slow
def test_a_donor_that_no_longer_reaches_is_refined_beside_the_measuring(
    refining_home: Path, trainer: Trainer, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two checkpoints of so small a world never differ by ten: here a donor has to get better to be kept
    monkeypatch.setattr(reach, "FELL_TO", 5.0)
    monkeypatch.setattr(reach, "COUNTED", 10**6)
    monkeypatch.setattr(reach, "LEAST_ESS", 0.0)
    root, lines = refining_home / "runs" / "tiny", list[str]()
    one = watcher(refining_home, lines)
    for step in (1, 20, 25):
        trainer.save(step)
        one.look(), one.look()
        assert one.succession.goes_on == (step == 25)  # it is refined while the next is measured
        assert one.measure_next() is not None, lines
    said_lost = [line for line in lines if line.startswith("donor no longer reaches")]
    assert any("of tiny at step 20: " in line for line in said_lost), lines
    assert "refining donor at checkpoint-20 into donor-20" in " ".join(lines)
    assert "donor is being refined into donor-20, by exploits at checkpoint-20." in said("status", "runs/tiny")[1]
    monkeypatch.setattr(reach, "FELL_TO", 0.0)
    one.succession.wait()
    trainer.save(30)
    one.look(), one.look()
    assert one.measure_next() is not None, lines
    state = read_state(root)
    assert state is not None
    assert state.refining is None
    assert state.drawn["checkpoint-20"].donors == state.drawn["checkpoint-25"].donors == {}
    assert state.drawn["checkpoint-30"].donors == {"donor": "donor-20"}
    assert purpose_of(root / "refinements" / "donor-20") == "refinement"
    drawn = read_completions(root)
    by = {name: set(own["donor"]) for (name,), own in drawn.partition_by("checkpoint_id", as_dict=True).items()}
    assert by == {
        "checkpoint-1": {"subject", "donor"},
        "checkpoint-20": {"subject", "donor"},
        "checkpoint-25": {"subject", "donor"},
        "checkpoint-30": {"subject", "donor-20"},
    }
    assert drawn.height == 4 * 72  # nothing of the batch
    last = next(cell for cell in read_results(root).estimates if cell.step == 30)
    assert last.estimate.n_hits > 0

    trainer.save(40)
    again = watcher(refining_home, lines)  # as after a kill: the donors of each checkpoint stay what they were
    again.look(), again.look()
    assert again.measure_next() is not None, lines
    assert {cell.step for cell in read_results(root).estimates} == {1, 20, 25, 30, 40}
    donors = json.loads(said("status", "runs/tiny", "--json")[1])["donors"]
    assert {one["donor"] for one in donors} >= {"donor", "donor-20"}
    assert "What donors reach" in said("status", "runs/tiny")[1]


Watching = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def watching(refining_home: Path) -> Iterator[Watching]:
    """`forewarn watch --once` of a run folder in a process of its own, which leaves no donor half refined unless it is
    killed."""
    begun: list[subprocess.Popen[bytes]] = []

    def watch(root: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "forewarn", "watch", "study.toml", "--run-folder", str(root)]
        command += ["--once", "--every", "0.2"]
        begun.append(subprocess.Popen(command, cwd=refining_home, env=os.environ | {"OMP_NUM_THREADS": "1"}))
        return begun[-1]

    yield watch
    for one in begun:
        one.kill()
        one.wait()


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> (inode, time) of the whole shards in a folder."""
    found = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


@pytest.mark.slow
def test_killed_at_any_moment_the_refining_loses_nothing(
    refining_home: Path, trainer: Trainer, watching: Watching
) -> None:
    root, calm = refining_home / "runs" / "tiny", refining_home / "runs" / "calm"
    for step in (1, 20):
        trainer.save(step)
    assert watching(root).wait(WAIT_S) == 0
    state = read_state(root)
    assert state is not None
    write_state(root, replace(state, refining=Refining("donor", "donor-20", "checkpoint-20", {})))
    shutil.copytree(root, calm)
    assert watching(calm).wait(WAIT_S) == 0  # undisturbed

    batch, donors = root / "refinements" / "donor-20", root / "donors"
    before: dict[str, tuple[int, int]] = {}
    moments: tuple[Callable[[], bool], ...] = (
        lambda: batch.is_dir(),
        lambda: bool(written(batch / "completions")),
        lambda: bool(list(donors.glob(".*.unfinished-*"))),
        lambda: (donors / "donor-20").is_dir(),
    )
    for i, moment in enumerate(moments):
        process = watching(root)
        until(moment)
        mine = children(process.pid)
        if i == 1:  # the refining process alone, which is replaced
            for pid in mine:
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        process.kill()
        process.wait()
        until(lambda mine=mine: not any(Path(f"/proc/{pid}").exists() for pid in mine))  # type: ignore[misc]
        now = written(batch / "completions")
        assert before.items() <= now.items(), "a shard was written twice or is gone"
        before = now
    assert watching(root).wait(WAIT_S) == 0
    assert before.items() <= written(batch / "completions").items()
    for folder in (root, calm):
        done = read_state(folder)
        assert done is not None
        assert (done.refining, done.refined) == (None, {"donor": "donor-20"})
    weights = "donors/donor-20/adapter_model.safetensors"
    assert (root / weights).read_bytes() == (calm / weights).read_bytes()
    assert written(batch / "completions").keys() == written(calm / "refinements/donor-20/completions").keys()
