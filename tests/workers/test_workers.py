"""The worker mechanism: answers, deaths, faults, and the end of every worker with its parent, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.errors import EngineFault, IncompleteError, InputError
from forewarn.workers import TaskQueue, Workers, check_done
from tests.workers.rooms import OpenRoom

WAIT_S = 60.0


def noted(folder: Path, word: str) -> set[int]:
    return {int(path.name.rpartition("-")[2]) for path in folder.glob(f"{word}-*")}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_each_worker_opens_one_room_and_closes_it(tmp_path: Path) -> None:
    tasks = [f"task {i}" for i in range(12)]
    with Workers[str](OpenRoom(tmp_path), 2) as workers:
        done = list(workers.do(tasks))
        more = list(workers.do(["one more"]))
        assert not noted(tmp_path, "closed")
    assert sorted(one.task for one in done) == sorted(tasks)
    assert all(one.answer[1] == one.task for one in (*done, *more))
    pids = {one.answer[0] for one in done}
    assert os.getpid() not in pids
    assert noted(tmp_path, "opened") == noted(tmp_path, "closed") >= pids
    assert len(noted(tmp_path, "opened")) == 2
    assert not workers.failed


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    with Workers[str](OpenRoom(tmp_path), 1) as workers:
        workers.add(["b", "c"])
        workers.add(["a", "A"], first=True)
        found = [done.task for done in iter(workers.step, None)]
        assert found == ["a", "A", "b", "c"]
        assert not workers.busy
    assert noted(tmp_path, "opened") == noted(tmp_path, "closed") == {os.getpid()}


def test_one_worker_apart_is_a_process_that_is_asked_now_and_then(tmp_path: Path) -> None:
    with Workers[str](OpenRoom(tmp_path), 1, apart=True) as workers:
        workers.add(["die-once mark"])
        assert workers.step(0.0) is None  # it has begun, and nobody waits
        until(lambda: (tmp_path / "mark").exists())
        done = workers.step()
        assert done is not None
        assert done.answer[1] == "die-once mark"
        assert done.answer[0] != os.getpid()
    assert not workers.failed


def test_tasks_of_dead_workers_are_done_in_others_or_left_out(tmp_path: Path) -> None:
    tasks = ["a", "die-once mark", "die", "b", "c"]
    with Workers[str](OpenRoom(tmp_path), 2, retries=1) as workers:
        done = {one.task for one in workers.do(tasks)}
    assert done == {"a", "die-once mark", "b", "c"}
    [failed] = workers.failed
    assert failed.task == "die"
    assert failed.reason.startswith("2 workers died over it, the last killed by signal 9, SIGKILL")
    with pytest.raises(IncompleteError, match=r"1 of 5 words are missing: 2 workers died over it, .* same command"):
        check_done(workers.failed, len(tasks), "words")
    check_done([], len(tasks), "words")


def test_a_bug_in_a_task_is_a_death_with_its_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Workers[str](OpenRoom(tmp_path), 2, retries=0) as workers:
        assert [one.task for one in workers.do(["bug here", "a"])] == ["a"]
    assert "its worker ended with status 1; its own message" in workers.failed[0].reason
    assert "ZeroDivisionError: here" in capfd.readouterr().err


def test_a_fault_that_a_task_raises_is_raised_here(tmp_path: Path) -> None:
    for count in (1, 2):
        with Workers[str](OpenRoom(tmp_path), count) as workers, pytest.raises(InputError, match="value is 7: give"):
            list(workers.do(["bad 7", "a"]))
        # a class of another module's comes as the nearest that everybody knows
        with Workers[str](OpenRoom(tmp_path), count) as workers, pytest.raises(EngineFault, match="can be read"):
            list(workers.do(["exposed"]))
    assert noted(tmp_path, "opened") == noted(tmp_path, "closed")


def test_a_step_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    with Workers[str](OpenRoom(tmp_path), 2) as workers:
        assert workers.step() is None
        workers.add(["long"])
        start = time.monotonic()
        assert workers.step(0.2) is None
        assert workers.busy
        assert time.monotonic() - start < WAIT_S / 2
        until(lambda: bool(noted(tmp_path, "begun")))
    assert noted(tmp_path, "closed") == noted(tmp_path, "begun"), "told to end in the middle of its task"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: int) -> None:
    """Killed outright, told to end, or by Ctrl-C, which reaches the workers, too: all close their rooms and leave."""
    command = [sys.executable, "-m", "tests.workers.rooms", str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as parent:
        until(lambda: len(noted(tmp_path, "begun")) == 2)
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        _, said = parent.communicate(timeout=WAIT_S)  # its workers hold the other end: it is closed when they are gone
    begun = noted(tmp_path, "begun")
    until(lambda: not any(map(alive, begun)))
    assert noted(tmp_path, "closed") == begun
    assert said.count("Traceback") == (number == signal.SIGINT), said  # the parent's own


def test_a_task_is_tried_after_the_others_and_not_for_ever() -> None:
    queue: TaskQueue[str] = TaskQueue(retries=1, workers=2)
    queue.add(["first", "second", "third"])
    first = queue.left.popleft()
    queue.died(first, "killed")
    assert [queued.task for queued in queue.left] == ["second", "third", "first"]
    queue.left.clear()
    queue.died(first, "killed")
    assert not queue.left
    assert [(failed.task, failed.reason) for failed in queue.failed] == [
        ("first", "2 workers died over it, the last killed")
    ]


def test_where_every_worker_dies_the_rest_is_given_up() -> None:
    queue: TaskQueue[str] = TaskQueue(retries=2, workers=4)
    queue.add(map(str, range(100)))
    deaths = 0
    while queue.left:
        queue.died(queue.left.popleft(), "killed")
        deaths += 1
    assert deaths == 18
    assert len(queue.failed) == 100
    assert "given up after 18 workers died one after the other" in queue.failed[-1].reason
    queue = TaskQueue(retries=0, workers=4)
    queue.add(map(str, range(100)))
    for _ in range(50):  # every second one kills
        queue.died(queue.left.popleft(), "killed")
        queue.left.popleft()
        queue.done()
    assert len(queue.failed) == 50
