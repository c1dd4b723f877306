"""The limits of time of one child, and its end. Runs in the keeper.

What counts against a submission is what it used or chose to wait for: wall clock, less the time that it stood ready
without a core. A machine that gives it no core for long is at fault, which is the caller's "invalid", never a "no".
"""

# ruff: noqa: PTH208
from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

STRETCH = 5.0
PATIENCE_S = 20.0
"""an execution that waits for a core gets that time on top of its own, up to
``STRETCH * timeout_s + PATIENCE_S`` of wall clock in all"""
LATE_S = 0.05
"""a look at a child that comes later than this was held up: the keeper was stopped, or had no core itself"""
_CORES = os.cpu_count() or 1


class Questions(Protocol):
    """What a child's keeper answers while it waits."""

    def handles(self) -> Sequence[int]:
        """Descriptors that are readable once there is something to answer."""

    def answer(self, handle: int) -> None:
        """Answer what there is on one of them."""


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


def cpu_limit_s(timeout_s: float) -> int:
    """CPU time of all threads that a limit of wall clock allows: behind it, for threads that burn several cores."""
    return int(timeout_s) + 2


@dataclass(frozen=True)
class Child:
    """A child that is watched."""

    pid: int
    start: float
    """on the monotonic clock"""
    timeout_s: float | None
    """None is no limit"""
    cpu_s: float | None
    """limit of CPU time; None is no limit"""
    proc: int
    """a descriptor of /proc"""

    def used_s(self) -> float:
        """CPU seconds of all its threads so far, by the exact account (man 3 clock_getcpuclockid)."""
        with contextlib.suppress(OSError):
            return time.clock_gettime((~self.pid << 3) | 2)
        return 0.0

    def waited_s(self) -> float:
        """Seconds that it stood ready without a core for the sake of others: of its threads, the one for which that is
        longest. As long as a thread of its own ran, it did not wait for others; so that much is taken off.

        0 where the kernel keeps no account of it (Linux Documentation/scheduler/sched-stats.rst, schedstat).
        """
        longest, used = 0.0, self.used_s()
        with contextlib.suppress(OSError):
            tasks = os.open(f"{self.pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)
            try:
                for name in os.listdir(tasks):
                    with contextlib.suppress(OSError):  # a thread that is gone
                        handle = os.open(f"{name}/schedstat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tasks)
                        with open(handle) as file:
                            ran, waited = (int(number) / 1e9 for number in file.read().split()[:2])
                        longest = max(longest, waited - max(0.0, used - ran))
            finally:
                os.close(tasks)
        return longest

    def left_s(self, excused_s: float = 0.0) -> float | str | None:
        """Seconds until the next look, or why it has to end now; None where nothing limits it. ``excused_s``: wall
        clock that is not counted."""
        found: list[float] = []
        if self.timeout_s is not None:
            left = left_s(time.monotonic() - self.start - excused_s, self.waited_s, self.timeout_s)
            if isinstance(left, str):
                return left
            found.append(left)
        if self.cpu_s is not None:
            left = self.cpu_s - self.used_s()
            if left <= 0:
                return "cpu"
            found.append(left / _CORES + 0.005)
        return min(found, default=None)


def watch(child: Child, alarms: Sequence[int], questions: Questions) -> str | None:
    """Wait for a child's end. Returns why it has to be killed, None if it ended by itself.

    ``alarms``: descriptors that are readable once its end is asked for, or nobody waits for it any more ("asked").
    ``questions``: what else to answer meanwhile.

    A keeper that was held up must not take that for the child's time: a child that has ended meanwhile is not ended
    again, and where the look came late, all since the look before is not counted. That is done once, or a keeper that
    is always a little late would never end a child.
    """
    process = os.pidfd_open(child.pid)
    looked, excused = child.start, 0.0
    due = child.start + (math.inf if child.timeout_s is None else child.timeout_s)
    try:
        while True:
            now, left = time.monotonic(), child.left_s(excused)
            ready = _ready((process, *alarms, *questions.handles()), 0.0 if isinstance(left, str) else left)
            if process in ready:
                return None
            if ready & {*alarms}:
                return "asked"
            for handle in ready:
                questions.answer(handle)
            if not isinstance(left, str):
                looked, due = now, math.inf if left is None else now + left
            elif left == "deadline" and not excused and now - due > LATE_S:
                excused = now - looked
            else:
                return left
    finally:
        os.close(process)


def _ready(handles: Sequence[int], most_s: float | None) -> set[int]:
    """Which of some descriptors are readable, waited for until one is; None is no limit."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    return {handle for handle, _ in poll.poll(None if most_s is None else math.ceil(most_s * 1000))}


def kill_group(pid: int) -> None:
    """Kill a child that was not yet waited for, and its process group."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_orphans(proc: int, spare: int) -> None:
    """Kill and reap whatever children there still are but ``spare``: as their subreaper, the keeper inherits all that a
    child left, daemons in sessions of their own too. Finds none on kernels without /proc/<pid>/task/<tid>/children."""
    while True:
        try:
            handle = os.open("thread-self/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        except FileNotFoundError:
            return
        with open(handle) as file:
            left = {int(pid) for pid in file.read().split()} - {spare}
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
            os.waitpid(pid, 0)
