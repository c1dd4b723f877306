"""The deadline of one child, and its end. Runs in the zygote.

What counts against a submission is what it used or chose to wait for: wall clock, less the time that it stood ready
without a core. A machine that gives it no core for long is at fault, which is the caller's "invalid", never a "no".
"""

# ruff: noqa: PTH208
from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence

STRETCH = 5.0
PATIENCE_S = 20.0
"""an execution that waits for a core gets that time on top of its own, up to
``STRETCH * timeout_s + PATIENCE_S`` of wall clock in all"""


def longest_s(timeout_s: float) -> float:
    """Wall clock after which an execution ends on any machine."""
    return STRETCH * timeout_s + PATIENCE_S


def left_s(spent_s: float, waited_s: Callable[[], float], timeout_s: float) -> float | str:
    """Seconds until the next look at a child, or why it has to end now.

    ``spent_s``: its wall clock so far; ``waited_s``: how much of that it waited for a core (asked only when it
    matters). "deadline": it had ``timeout_s`` apart from waiting. "starved": it did not get that in ``longest_s``.
    """
    left = timeout_s - spent_s
    if left > 0:
        return left
    left += waited_s()
    if left <= 0:
        return "deadline"
    if spent_s >= longest_s(timeout_s):
        return "starved"
    return min(left, longest_s(timeout_s) - spent_s)


def waited_s(proc: int, pid: int) -> float:
    """Seconds that a process has stood ready without a core: of its threads, the one that waited longest.

    0 where the kernel keeps no account of it (Linux Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat).
    """
    longest = 0.0
    with contextlib.suppress(OSError):
        tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
        try:
            for name in os.listdir(tasks):
                with contextlib.suppress(OSError):  # a thread that is gone
                    handle = os.open(f"{name}/schedstat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tasks)
                    with open(handle) as file:
                        longest = max(longest, int(file.read().split()[1]) / 1e9)
        finally:
            os.close(tasks)
    return longest


def watch(alarms: Sequence[int], pid: int, start: float, timeout_s: float | None, proc: int) -> str | None:
    """Wait for a child's end. Returns why it has to be killed, None if it ended by itself.

    ``alarms``: descriptors that are readable once its end is asked for, or nobody waits for it any more ("asked").
    ``start``: on the monotonic clock. ``timeout_s``: None is no limit.
    """
    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        for handle in (process, *alarms):
            poll.register(handle, select.POLLIN)
        while True:
            left_ms: float | None = None
            if timeout_s is not None:
                left = left_s(time.monotonic() - start, lambda: waited_s(proc, pid), timeout_s)
                if isinstance(left, str):
                    return left
                left_ms = left * 1000 + 1
            ready = {handle for handle, _ in poll.poll(left_ms)}
            if process in ready:
                return None
            if ready:
                return "asked"
    finally:
        os.close(process)


def kill_group(pid: int) -> None:
    """Kill a child that was not yet waited for, and its process group."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_orphans(proc: int) -> None:
    """Kill and reap whatever children there still are: as their subreaper, the zygote inherits all that a child left,
    daemons in sessions of their own too. Finds none on kernels without /proc/<pid>/task/<tid>/children."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        try:
            handle = os.open("thread-self/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        except FileNotFoundError:
            return
        with open(handle) as file:
            for pid in map(int, file.read().split()):
                os.kill(pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
                os.waitpid(pid, 0)
