"""Time, memory and output: the deadline always holds, and the next run is not disturbed."""

from __future__ import annotations

import time

import pytest

from forewarn.judge.sandbox import SandboxFault
from tests.attacks.conftest import Attack, returned

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
def test_the_deadline_holds(attack: Attack, name: str) -> None:
    start = time.monotonic()
    try:
        ending = attack(STUCK[name], timeout_s=0.4).ending
    except SandboxFault as fault:  # what a loop on a crowded machine is called: bounded in time all the same
        ending = "deadline" if "too busy" in str(fault) else str(fault)
    assert ending == "deadline"
    assert time.monotonic() - start < 4.0


def test_burning_many_cores_ends_too(attack: Attack) -> None:
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
    assert attack(source, timeout_s=1.0).ending in ("deadline", "cpu", "signal")


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


def test_a_flood_of_results_ends_early(attack: Attack) -> None:
    start = time.monotonic()
    run = attack("import os\ndef solve():\n    while True:\n        os.write(3, b'x' * 65536)", timeout_s=20.0)
    assert run.ending == "flood"
    assert time.monotonic() - start < 10


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
    run = attack("import time\ndef solve():\n    time.sleep(0.3)\n    return 1")
    assert 0.29 < run.calls[0].seconds < 2.0
