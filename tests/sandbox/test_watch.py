"""When a child's time is up: what it used or chose to wait for counts, what the machine withheld does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.sandbox.inside.watch import LATE_S, Child, left_s, longest_s, watch

SECONDS = st.floats(0, 1e4)


def never() -> float:
    raise AssertionError("asked for what does not matter yet")


def test_before_its_time_nothing_else_is_asked() -> None:
    assert left_s(0.5, never, 2.0) == 1.5


def test_a_child_that_had_a_core_ends_at_its_limit() -> None:
    assert left_s(2.0, lambda: 0.0, 2.0) == "deadline"


def test_waiting_for_a_core_is_added() -> None:
    assert left_s(2.0, lambda: 1.5, 2.0) == pytest.approx(1.5)
    assert left_s(3.6, lambda: 1.5, 2.0) == "deadline"


def test_waiting_is_added_up_to_a_bound() -> None:
    longest = longest_s(2.0)
    assert left_s(longest - 1, lambda: longest - 2, 2.0) == pytest.approx(1.0)
    assert left_s(longest, lambda: longest - 1, 2.0) == "starved"


@given(spent_s=SECONDS, share=st.floats(0, 1), timeout_s=st.floats(0.01, 100))
def test_it_ends_in_bounded_time_and_for_the_right_reason(spent_s: float, share: float, timeout_s: float) -> None:
    waited = share * spent_s
    answer = left_s(spent_s, lambda: waited, timeout_s)
    if answer == "deadline":
        assert spent_s - waited >= timeout_s * (1 - 1e-9)
    elif answer == "starved":
        assert spent_s >= longest_s(timeout_s)
        assert spent_s - waited < timeout_s * (1 + 1e-9)
    else:
        assert isinstance(answer, float)
        assert answer > 0
        assert spent_s + answer <= longest_s(timeout_s) * (1 + 1e-9)


def test_a_process_that_waits_for_its_own_threads_does_not_wait_for_others() -> None:
    script = (
        "import os, threading, hashlib\n"
        f"os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\n"
        "def burn():\n    data = bytes(1 << 22)\n    while True:\n        hashlib.sha256(data).digest()\n"
        "for _ in range(7):\n    threading.Thread(target=burn, daemon=True).start()\n"
        "print(flush=True)\nburn()"
    )
    proc = os.open("/proc", os.O_PATH)
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            child = Child(process.pid, time.monotonic(), 1.0, 1.0, proc)
            before, since = (child.used_s(), child.waited_s()), time.monotonic()
            time.sleep(1.0)
            used, waited = child.used_s(), child.waited_s()
            wall = time.monotonic() - since
        finally:
            process.kill()
            os.close(proc)
    # On one core what it used and what it waited for others is all there is; its eight threads wait 7/8 of the time.
    assert used - before[0] > 0
    assert (used - before[0]) + (waited - before[1]) < 1.1 * wall + 0.2


def test_the_limit_of_cpu_time_is_looked_at_before_it_can_be_passed() -> None:
    child = Child(os.getpid(), time.monotonic(), None, None, -1)
    assert child.left_s() is None
    used = child.used_s()
    assert used == pytest.approx(time.process_time(), abs=0.05)
    limited = Child(os.getpid(), time.monotonic(), None, used + 10.0, -1)
    left = limited.left_s()
    assert isinstance(left, float)
    assert 0 < left <= 10.0 / (os.cpu_count() or 1) + 0.01
    assert Child(os.getpid(), time.monotonic(), None, used / 2, -1).left_s() == "cpu"


class Quiet:
    """A child that asks nothing."""

    def handles(self) -> Sequence[int]:
        return ()

    def answer(self, handle: int) -> None:
        raise AssertionError(handle)


class Held(Quiet):
    """A child that waits for one answer, without which it does not end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ours, self._theirs = os.pipe()
        os.write(self._theirs, b"?")

    def handles(self) -> Sequence[int]:
        return (self._ours,)

    def answer(self, handle: int) -> None:
        os.read(handle, 1)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def sleeper(seconds: float | None, late_s: float, timeout_s: float) -> Iterator[tuple[Child, subprocess.Popen[bytes]]]:
    """A process that ends by itself after so long, or once its input is closed, watched from so late on."""
    proc = os.open("/proc", os.O_PATH)
    script = "read line" if seconds is None else f"exec sleep {seconds}"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE) as process:
        try:
            yield Child(process.pid, time.monotonic() - late_s, timeout_s, None, proc), process
        finally:
            process.kill()
            os.close(proc)


def test_a_child_that_ended_while_its_keeper_was_held_up_is_not_late() -> None:
    with sleeper(0, late_s=100.0, timeout_s=0.5) as (child, process):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert watch(child, (), Quiet()) is None


def test_a_child_that_waited_for_a_keeper_held_up_goes_on() -> None:
    with sleeper(None, late_s=100.0, timeout_s=0.5) as (child, process):
        held = Held(process)
        assert watch(child, (), held) is None
        held.close()


@pytest.mark.parametrize("late_s", [0.0, LATE_S / 2, 0.5, 100.0])
def test_a_child_that_does_not_end_ends_soon_after_its_keeper_looks(late_s: float) -> None:
    with sleeper(60, late_s, timeout_s=0.4) as (child, _):
        since = time.monotonic()
        assert watch(child, (), Quiet()) == "deadline"
        assert time.monotonic() - child.start >= 0.4
        assert time.monotonic() - since < 0.4 + child.waited_s() + 1.0


@contextmanager
def crowd(core: int, n: int) -> Iterator[None]:
    """So many processes that never rest, all on one core."""
    script = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"
    burners = [subprocess.Popen([sys.executable, "-I", "-S", "-c", script]) for _ in range(n)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_a_child_that_waits_for_a_core_at_its_deadline_is_not_late() -> None:
    """At the lowest priority in a crowd, a wait for a core is longer than the time limit, and the kernel does not
    show a wait before its end."""
    core = min(os.sched_getaffinity(0))
    work = (
        f"import os, time\nos.sched_setaffinity(0, [{core}])\nos.nice(19)\nprint(flush=True)\n"
        "most = float(input())\nwhile time.process_time() < most: pass"
    )
    proc = os.open("/proc", os.O_PATH)
    command = [sys.executable, "-I", "-S", "-c", work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        child = Child(process.pid, time.monotonic(), None, None, proc)
        with crowd(core, 6):
            process.stdin.write(f"{child.used_s() + 0.01}\n".encode())
            process.stdin.flush()
            start = time.monotonic() - child.waited_s()
            found = watch(Child(process.pid, start, 0.2, None, proc), (), Quiet())
        process.kill()
    os.close(proc)
    assert found in (None, "starved")


def test_a_child_that_runs_or_sleeps_is_not_queued() -> None:
    proc = os.open("/proc", os.O_PATH)
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        assert not Child(process.pid, time.monotonic(), 1.0, None, proc).is_queued()
        process.kill()
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) as process:
        time.sleep(0.2)
        child = Child(process.pid, time.monotonic(), 1.0, None, proc)
        queued = [child.is_queued() for _ in range(20)]
        process.kill()
    os.close(proc)
    assert not all(queued)


@pytest.mark.parametrize(("work", "gives"), [("time.sleep(1e-9)", True), ("pass", False), ("time.sleep(0.05)", False)])
def test_a_child_that_sleeps_again_and_again_is_the_cause_of_its_waits(work: str, gives: bool) -> None:
    """Otherwise, beside others, it would wait for a core until the machine counts as too busy, having used nothing."""
    proc = os.open("/proc", os.O_PATH)
    command = [sys.executable, "-I", "-S", "-c", f"import time\nprint(flush=True)\nwhile True: {work}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        child = Child(process.pid, time.monotonic(), 1.0, None, proc)
        until = time.monotonic() + (30.0 if gives else 1.0)
        while time.monotonic() < until and not child.gives_its_core_away():
            time.sleep(0.05)
        found = child.gives_its_core_away()
        process.kill()
    os.close(proc)
    assert found is gives
