"""What is kept of a checkpoint: links and copies, what the trainer does to its folder later, and who keeps it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.places import spot_of
from forewarn.checkpoints.polls import SETTLED_S, Polls
from forewarn.monitor import pins
from forewarn.monitor.keeping import Keeping
from forewarn.monitor.pins import pin, pins_in
from tests.tiny_world import TinyWorld


def write(world: TinyWorld, out: Path, step: int, *, model: Path | None = None) -> Spot:
    """A checkpoint of a whole model, written over what is there."""
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (model or world.subject).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "optimizer.pt").write_bytes(b"0" * 10)
    (folder / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
    spot = spot_of(folder)
    assert spot is not None
    return spot


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("limit", [0, 2**30], ids=["links", "copies"])
def test_what_is_kept_outlives_pruning_and_is_listed_by_step(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(pins, "COPIED_BYTES", limit)
    spots = [write(world, tmp_path / "out", step) for step in (100, 9)]
    kept = [pin(spot, tmp_path / "run") for spot in spots]
    assert [one.step for one in pins_in(tmp_path / "run")] == [9, 100]
    inode = (spots[0].folder / "model.safetensors").stat().st_ino
    assert kept[0] is not None
    assert ((kept[0].folder / "model.safetensors").stat().st_ino == inode) == (limit == 0)
    assert not list((tmp_path / "run").rglob("optimizer*"))
    shutil.rmtree(tmp_path / "out")
    assert all(one.intact and weights(one.weights) == weights(world.subject) for one in pins_in(tmp_path / "run"))


@pytest.mark.parametrize("limit", [0, 2**30], ids=["links", "copies"])
def test_a_checkpoint_that_its_trainer_writes_again_is_kept_anew(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(pins, "COPIED_BYTES", limit)
    out, root = tmp_path / "out", tmp_path / "run"
    first = pin(write(world, out, 4), root)
    assert first is not None
    assert pin(write(world, out, 4), tmp_path / "other") is not None
    again = pin(write(world, out, 4, model=world.later), root)
    assert again is not None
    assert (again.name, again.step, again.spot) == ("checkpoint-4~2", 4, "checkpoint-4")
    assert [one.name for one in pins_in(root)] == ["checkpoint-4~2"]
    assert weights(again.weights) == weights(world.later)
    assert not first.folder.exists()
    third = pin(write(world, out, 4), root)
    assert third is not None
    assert third.name == "checkpoint-4~3"


def test_the_same_content_written_again_is_the_same_checkpoint(world: TinyWorld, tmp_path: Path) -> None:
    out, root = tmp_path / "out", tmp_path / "run"
    first = pin(write(world, out, 4), root)
    assert first is not None
    os.utime(write(world, out, 4).folder / "model.safetensors", (1e9, 1e9))
    spot = spot_of(out / "checkpoint-4")
    assert spot is not None
    again = pin(spot, root)
    assert again is not None
    assert (again.name, again.folder) == (first.name, first.folder)
    assert again.written != first.written
    assert again.intact
    (out / "checkpoint-4" / "trainer_state.json").write_text('{"global_step": 4, "log_history": [1]}')
    assert pin(spot, root) == again


def test_what_an_earlier_version_kept_is_read(world: TinyWorld, tmp_path: Path) -> None:
    root = tmp_path / "run"
    spot = write(world, tmp_path / "out", 4)
    assert pin(spot, root) is not None
    (root / "checkpoints" / "checkpoint-4.json").write_text('{"name": "checkpoint-4", "step": 4, "weights": "."}')
    [held] = pins_in(root)
    assert (held.name, held.spot, held.intact) == ("checkpoint-4", "checkpoint-4", True)
    assert pin(spot, root) == held


def test_a_sign_that_is_older_than_the_weights_is_not_believed_at_once(world: TinyWorld, tmp_path: Path) -> None:
    """A trainer that resumes writes over a whole checkpoint, whose sign is there from the first time on."""
    now = [0.0]
    folder = write(world, tmp_path, 4).folder
    polls = Polls(tmp_path, clock=lambda: now[0])
    polls.look()
    assert [spot.step for spot in polls.look()] == [4]
    (folder / "model.safetensors").write_bytes(weights(world.later))
    later = (folder / "trainer_state.json").stat().st_mtime + 5
    os.utime(folder / "model.safetensors", (later, later))
    assert [polls.look() for _ in range(3)] == [[], [], []]
    now[0] += SETTLED_S - 1
    assert polls.look() == []
    now[0] += 1  # copied without its order, or by a trainer that died: it will not change any more
    assert [spot.step for spot in polls.look()] == [4]
    os.utime(folder / "trainer_state.json", (later + 1, later + 1))
    assert [polls.look(), [spot.step for spot in polls.look()]] == [[], [4]]


def soon(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_checkpoints_are_kept_while_something_else_goes_on(world: TinyWorld, tmp_path: Path) -> None:
    """A trainer that keeps one checkpoint, and a watcher that is busy with another all the time."""
    out, root = tmp_path / "out", tmp_path / "run"
    stale = root / "checkpoints" / f".checkpoint-1{pins.UNFINISHED}7-7"
    stale.mkdir(parents=True)
    os.utime(stale, (1e9, 1e9))
    with Keeping(out, root, every=0.02):
        assert not stale.exists()
        for step in (1, 2, 3):
            write(world, out, step)
            assert soon(lambda step=step: [one.step for one in pins_in(root)] == list(range(1, step + 1)))  # type: ignore[misc]
            shutil.rmtree(out / f"checkpoint-{step}")
    assert all(one.intact for one in pins_in(root))
    assert not list(root.rglob(f".*{pins.UNFINISHED}*"))


@pytest.mark.parametrize("left", ["trainer_state.json", "model.safetensors", "config.json"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_that_is_being_pruned_is_not_kept_in_part(
    world: TinyWorld, tmp_path: Path, left: str, version: int
) -> None:
    """A trainer deletes file by file, and a watcher that saw the checkpoint whole may come in between."""
    out, root, polls = tmp_path / "out", tmp_path / "run", Polls(tmp_path / "out")
    if version == 2:
        assert pin(write(world, out, 4), root) is not None
        write(world, out, 4, model=world.later)
    else:
        write(world, out, 4)
    polls.look()
    [spot] = polls.look()
    for path in (out / "checkpoint-4").iterdir():
        if path.name != left:
            path.unlink()
    before = pins_in(root)
    assert pin(spot, root, seen=polls.seen(spot)) is None
    assert pins_in(root) == before
    assert all(one.intact for one in before)
    assert not list(root.rglob("*~2*"))


def test_a_checkpoint_that_is_pruned_while_it_is_kept_is_kept_whole_or_not_at_all(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = pins._link

    def slow(source: str, target: str) -> str:
        made = link(source, target)
        if Path(source).name == "config.json":
            shutil.rmtree(tmp_path / "out" / "checkpoint-1")
        return made

    monkeypatch.setattr(pins, "_link", slow)
    spot = write(world, tmp_path / "out", 1)
    assert pin(spot, tmp_path / "run") is None
    assert not pins_in(tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_callback_and_a_watcher_may_keep_the_same_checkpoint_at_once(world: TinyWorld, tmp_path: Path) -> None:
    root = tmp_path / "run"
    for step in range(8):
        spot = write(world, tmp_path / "out", step)
        with ThreadPoolExecutor(4) as threads:
            kept = list(threads.map(lambda _, spot=spot: pin(spot, root), range(4)))  # type: ignore[misc]
        assert len(set(kept)) == 1
        assert kept[0] is not None
        assert kept[0].intact
        assert weights(kept[0].weights) == weights(world.subject)
    assert len(pins_in(root)) == 8
