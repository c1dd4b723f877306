"""Time, memory and output: the deadline always holds, and the next run is not disturbed."""

from __future__ import annotations

import pytest

from forewarn.judge.inside.confine import cpu_seconds
from forewarn.judge.link import MAX_OUTPUT_BYTES
from forewarn.judge.sandbox import Sandbox
from tests.attacks.conftest import Attack, execute_in, returned

STUCK = {
    "loop": "def solve():\n    while True:\n        pass",
    "sleep": "import time\ndef solve():\n    time.sleep(60)",
    "loop at import": "while True:\n    pass",
    "caught": "def solve():\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "signals ignored": "import signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\ndef solve():\n    while True: pass",
    "in C": "def solve():\n    return sum(range(10**12))",
    "waiting thread": "import threading\ndef solve():\n    threading.Event().wait()",
    "in __del__": "class A:\n    def __del__(self):\n        while True: pass\ndef solve():\n    A()",
    "in __str__": "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef solve():\n    raise E",
    "channel closed": "import os, time\nos.close(3)\ndef solve():\n    time.sleep(60)\nsolve()",
}


@pytest.mark.parametrize("name", STUCK)
def test_the_deadline_holds(sandbox: Sandbox, name: str) -> None:
    timeout_s = 0.4
    execution = execute_in(sandbox, STUCK[name], timeout_s=timeout_s)
    assert execution.killed == "deadline"
    # Not before its time, and not long after: what it used is bounded by the kernel, on a crowded machine too.
    assert execution.seconds - execution.waited_s >= timeout_s
    assert execution.cpu_s <= cpu_seconds(timeout_s) + 1.1


def test_burning_many_cores_ends_too(sandbox: Sandbox) -> None:
    source = """
    import hashlib, threading
    def solve():
        data = b"x" * (1 << 22)
        def burn():
            while True:
                hashlib.sha256(data).digest()
        for _ in range(4):
            threading.Thread(target=burn, daemon=True).start()
        burn()
    """
    execution = execute_in(sandbox, source, timeout_s=1.0)
    assert execution.killed in ("deadline", "cpu")
    assert execution.cpu_s <= cpu_seconds(1.0) + 1.1


def test_memory_is_bounded(attack: Attack) -> None:
    source = """
    def solve():
        blocks = []
        try:
            while len(blocks) < 64:
                blocks.append(b"x" * 2**24)
        except MemoryError:
            pass
        count = len(blocks)
        blocks.clear()
        return count
    """
    count = returned(attack(source, timeout_s=30.0))
    assert isinstance(count, int)
    assert count < 32  # 16 MiB each, below 512 MiB


def test_a_gigabyte_at_once_is_a_memory_error(attack: Attack) -> None:
    assert "builtins.MemoryError" in attack("def solve():\n    return len(bytearray(2**30))").calls[0].error


def test_a_flood_of_prints_does_not_hang(attack: Attack) -> None:
    assert attack("def solve():\n    while True:\n        print('x' * 10_000)", timeout_s=0.5).ending == "deadline"


def test_a_flood_of_results_ends_early(sandbox: Sandbox) -> None:
    source = "import os\ndef solve():\n    while True:\n        os.write(3, b'x' * 65536)"
    execution = execute_in(sandbox, source, timeout_s=60.0)
    assert execution.killed == "flood"
    assert len(execution.frames) == MAX_OUTPUT_BYTES


def test_a_child_that_does_not_read_ends_at_its_deadline(attack: Attack) -> None:
    # More input than the socket buffers hold, and a submission that stops while some is still on its way.
    run = attack("def solve(data):\n    return len(data)", list(range(300_000)), timeout_s=5.0)
    assert returned(run) == 300_000


def test_deep_recursion_is_a_failure_of_its_own(attack: Attack) -> None:
    source = "import sys\nsys.setrecursionlimit(10**9)\ndef solve(n=0):\n    return solve(n + 1)"
    run = attack(source, timeout_s=5.0)
    assert run.ending in ("signal", "finished", "exited", "deadline")
    assert not run.calls[0].correct or run.calls[0].outcome == "raised"
    assert returned(attack("def solve():\n    return 1")) == 1


def test_seconds_are_those_of_the_wall(attack: Attack) -> None:
    run = attack("import time\ndef solve():\n    time.sleep(0.5)\n    return time.process_time()")
    cpu_s = returned(run)
    assert isinstance(cpu_s, float)
    assert cpu_s < 0.4 < run.calls[0].seconds  # the parent may have seen late that it was loaded
