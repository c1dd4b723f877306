"""When a child's time is up: what it used or chose to wait for counts, what the machine withheld does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.sandbox.inside.watch import Child, left_s, longest_s

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
