"""What hostile submissions do to others: to neighbours that run at the same time, and to the processes that hold them.

    python benchmarks/sandbox_hostile.py --neighbours 1000      # honest runs beside a bomb of threads: how many harmed
    python benchmarks/sandbox_hostile.py --runs 5000            # hostile runs: memory, descriptors, time before, after

A neighbour is harmed if its result is missing or wrong, or its execution invalid. Ends with 1 where one is, or where
something grew. Not covered: faults from outside (``sandbox_fuzz.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.attacks.catalogue.memory import ONE_STACK
from tests.attacks.test_memory_of_runs import HOSTILE, handles, rss_kb, template_of

from forewarn.sandbox import codec
from forewarn.sandbox.execution import Level, SandboxFault
from forewarn.sandbox.host import Sandbox

HONEST = "def solve(n):\n    return n * n"
GROWN_KB = 64 << 10, 2 << 10, 2 << 10
"""what the judging process, the keeper and the template may grow by: floods of 16 MiB leave some in the allocator"""
SLOWER = 2.0
"""an honest execution afterwards takes no more than so many times what it took; a busy machine alone does that much"""


def execute(sandbox: Sandbox, source: str, timeout_s: float, *args: int) -> bytes:
    request = {"code": source, "entry_point": "solve", "cases": [codec.encode(args)], "child": ""}
    return sandbox.execute(request, None, timeout_s).frames


def neighbours(level: Level, n: int) -> int:
    """``n`` honest runs beside a hostile one. Returns how many were harmed."""
    hostile, honest = Sandbox(level, 512), Sandbox(level, 512)
    stop, bombs, harmed = threading.Event(), 0, 0

    def attack() -> None:
        nonlocal bombs
        while not stop.is_set():
            with contextlib.suppress(SandboxFault):
                execute(hostile, ONE_STACK, 2.0)
                bombs += 1

    attacking = threading.Thread(target=attack)
    attacking.start()
    try:
        for i in range(n):
            try:
                harmed += f'"v":{i * i},'.encode() not in execute(honest, HONEST, 10.0, i)
            except SandboxFault as fault:
                print(f"run {i}: {fault}")
                harmed += 1
    finally:
        stop.set()
        attacking.join()
        hostile.close()
        honest.close()
    print(f"{level}: neighbours harmed: {harmed} of {n}, beside {bombs} bombs of threads")
    return harmed


def flat(level: Level, n: int) -> bool:
    """``n`` hostile runs. Returns whether everything stayed as it was."""
    import os

    sandbox = Sandbox(level, 512)

    def hostile(count: int) -> None:
        for i in range(count):
            with contextlib.suppress(SandboxFault):
                execute(sandbox, HOSTILE[i % len(HOSTILE)].replace("def solve()", "def solve(*args)"), 0.2)

    def honest_ms() -> float:
        found = []
        for i in range(100):
            start = time.perf_counter()
            execute(sandbox, HONEST, 10.0, i)
            found.append(1000 * (time.perf_counter() - start))
        return median(found)

    def state() -> tuple[list[int], list[int]]:
        assert sandbox.pid is not None
        pids = os.getpid(), sandbox.pid, template_of(sandbox)
        return [rss_kb(pid) for pid in pids], [handles(pid) for pid in pids]

    try:
        hostile(3 * len(HOSTILE))
        before_ms, (memory, files) = honest_ms(), state()
        starts = sandbox.starts
        hostile(n)
        after_ms, (memory_after, files_after) = honest_ms(), state()
        same = sandbox.starts == starts
    finally:
        sandbox.close()
    grown = [after - before for before, after in zip(memory, memory_after, strict=True)]
    print(f"{level}: {n} hostile runs, {'one zygote' if same else 'more than one zygote'}")
    print(f"  resident KiB of judge, keeper, template: {memory} before, {memory_after} after")
    print(f"  descriptors: {files} before, {files_after} after")
    print(f"  an honest execution: {before_ms:.1f} ms before, {after_ms:.1f} ms after")
    small = all(more < most for more, most in zip(grown, GROWN_KB, strict=True))
    return same and small and files == files_after and after_ms < SLOWER * before_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", choices=("strict", "hardened"), default="strict")
    parser.add_argument("--neighbours", type=int, default=0, help="honest runs beside a bomb of threads")
    parser.add_argument("--runs", type=int, default=0, help="hostile runs in a row")
    options = parser.parse_args()
    good = True
    if options.neighbours:
        good &= neighbours(options.level, options.neighbours) == 0
    if options.runs:
        good &= flat(options.level, options.runs)
    sys.exit(not good)


if __name__ == "__main__":
    main()
