"""Time, memory and output: the deadline always holds, and the next run is not disturbed."""

from __future__ import annotations

import os
import re

import pytest

from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.counter import FOLDERS
from forewarn.sandbox.inside.watch import cpu_limit_s, longest_s
from forewarn.sandbox.link import MAX_OUTPUT_BYTES
from tests.attacks.arena import Weakened
from tests.attacks.conftest import Attack, execute_in, returned, run_in

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
    assert execution.cpu_s <= cpu_limit_s(timeout_s) + 1.1


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
    assert execution.cpu_s <= cpu_limit_s(1.0) + 1.1


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


TRICKS = {
    "a lower limit of CPU time": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass",
    "a lower limit by the other call": "import ctypes\nctypes.CDLL(None).syscall(160, 0, (ctypes.c_ulong * 2)(1, 1))\n"
    "while True: pass",
    "a lower limit of memory": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1, 1))",
    "a lower limit of the stack": "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (4096, 4096))\n"
    "def f(n): return f(n + 1)\nimport sys\nsys.setrecursionlimit(10**6)\nf(0)",
    "killing itself": "import os\nos.kill(os.getpid(), 9)",
    "stopping itself": "import os\nos.kill(os.getpid(), 19)",
    "waiting for its own threads": "import threading\nfor _ in range(40):\n"
    "    threading.Thread(target=lambda: all(iter(lambda: True, False)), daemon=True).start()\nwhile True: pass",
    "a closed channel": "import os\nos.close(3)\nos._exit(0)",
    "a channel put elsewhere": "import os\nos.dup2(3, 20)\nos.dup2(0, 3)\nos._exit(0)",
    "a signal when its parent dies": "import ctypes\nctypes.CDLL(None).prctl(1, 9, 0, 0, 0)",
    "an alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nwhile True: pass",
    "another machine's calls": "import ctypes\nctypes.CDLL(None).syscall(0x40000027)",
    "no descriptor left": "import os\ntry:\n    while True: os.dup(0)\nexcept OSError: pass",
    "a claim of not being ready": "import os, struct\nos.write(3, struct.pack('<I', 4) + b'!\"no\"')\nos._exit(4)",
    "the memory of the machine": "x = []\nwhile True: x.append(bytearray(1 << 20))",
}


@pytest.mark.parametrize("name", TRICKS)
def test_no_submission_makes_its_verdict_invalid(sandbox: Sandbox, name: str) -> None:
    source = f"{TRICKS[name]}\ndef solve():\n    return 1"
    execution = execute_in(sandbox, source, timeout_s=1.0)  # raises a fault where it could
    assert execution.exit_status is not None or execution.signal is not None


def test_time_awake_at_the_clocks_ticks_is_not_charged_twice(sandbox: Sandbox) -> None:
    # RLIMIT_CPU goes by ticks and ends by SIGKILL, as a kill from outside does: only the keeper's account may end it.
    execution = execute_in(sandbox, "def solve():\n    return __import__('resource').getrlimit(0)[0]", timeout_s=1.0)
    (limit,) = re.findall(rb'"v":(\d+)', execution.frames)
    assert int(limit) > (os.cpu_count() or 1) * longest_s(1.0)


def test_the_keeper_ends_what_uses_many_cores(sandbox: Sandbox) -> None:
    source = """
    import hashlib, threading
    def solve():
        def burn():
            data = bytes(1 << 22)
            while True:
                hashlib.sha256(data).digest()
        for _ in range(3):
            threading.Thread(target=burn, daemon=True).start()
        burn()
    """
    execution = execute_in(sandbox, source, timeout_s=1.0)
    assert execution.killed in ("cpu", "deadline")
    assert execution.cpu_s < cpu_limit_s(1.0) + 0.5


@pytest.mark.parametrize(
    ("off", "made"),
    [(["own root"], FOLDERS), (["own root", "small disk"], FOLDERS + 9), (["own root", "counted threads"], 0)],
)
def test_folders_on_a_disk_of_the_machine_are_counted(off: list[str], made: int) -> None:
    # They are slow to remove, so that who makes many keeps the next one waiting, and seems a fault of ours.
    source = """
    import os
    def solve(most):
        made, here = 0, os.open(".", os.O_RDONLY)
        try:
            while made < most:
                os.mkdir(str(made), dir_fd=here if made % 2 else None)
                made += 1
        except OSError:
            pass
        return made
    """
    sandbox = Weakened("hardened", 512, off)
    try:
        assert returned(run_in(sandbox, source, FOLDERS + 9)) == made
        assert returned(run_in(sandbox, "import os\ndef solve():\n    return os.listdir('.')")) == []
    finally:
        sandbox.close()
