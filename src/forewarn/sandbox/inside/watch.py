"""The time limits of one child, and its end. Runs in the keeper.

A submission is charged for the time that it used or chose to wait for: wall clock, minus the time that it was ready
without a core. If the machine gives it no core for long, the machine is at fault: "invalid", never a "no".
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
"""an execution that waits for a core gets that time in addition to its own, up to a total of
``STRETCH * timeout_s + PATIENCE_S`` of wall clock"""
LATE_S = 0.05
"""seconds; if a check of a child comes later than this, the keeper was stopped or had no core itself"""
QUEUED_S = 0.02
"""seconds; a child that is ready but uses nothing of a core for so long is waiting for one"""
SLEEPS = 200
SLEEPS_PER_PREEMPTION = 0.25
"""a program that slept more often than both of these allow is itself the cause of its waits for a core. Programs that
compute are preempted, and hardly ever sleep"""
_CORES = os.cpu_count() or 1


class Questions(Protocol):
    """The requests that a child's keeper answers while it waits."""

    def handles(self) -> Sequence[int]:
        """Return descriptors that are readable once a request is waiting."""

    def answer(self, handle: int) -> None:
        """Answer the waiting request on one of them."""


def longest_s(timeout_s: float) -> float:
    """Return the wall-clock time after which an execution ends on any machine, seconds."""
    return STRETCH * timeout_s + PATIENCE_S


def left_s(spent_s: float, waited_s: Callable[[], float], timeout_s: float) -> float | str:
    """Return the seconds until the next check of a child, or why it has to end now.

    ``spent_s``: its wall clock so far; ``waited_s``: the part of it spent waiting for a core (called only if it
    matters). "deadline": it had ``timeout_s`` without waiting. "starved": it did not get that within ``longest_s``.
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
    """Return the CPU limit of all threads for a wall-clock limit; it matters for threads that use several cores."""
    return int(timeout_s) + 2


@dataclass(frozen=True)
class Child:
    """A watched child."""

    pid: int
    start: float
    """start on the monotonic clock"""
    timeout_s: float | None
    """limit of wall clock, seconds; None: unlimited"""
    cpu_s: float | None
    """limit of CPU time, seconds; None: unlimited"""
    proc: int
    """a descriptor of /proc"""

    def used_s(self) -> float:
        """Return the CPU seconds of all its threads so far, counted exactly (man 3 clock_getcpuclockid)."""
        with contextlib.suppress(OSError):
            return time.clock_gettime((~self.pid << 3) | 2)
        return 0.0

    def waited_s(self) -> float:
        """Return the seconds that it was ready without a core because of other processes.

        This is the longest wait of its threads, minus the time in which its own threads ran, since it did not wait for
        others then. It is 0 if the kernel does not record waits (Linux Documentation/scheduler/sched-stats.rst,
        schedstat).
        """
        return self._longest_wait()[0]

    def _longest_wait(self) -> tuple[float, str]:
        """Return that wait, and the id of the thread whose it is; empty if none waited."""
        longest, whose, used = 0.0, "", self.used_s()
        for thread, text in self._of_threads("schedstat"):
            ran, waited = (int(number) / 1e9 for number in text.split()[:2])
            longest, whose = max((longest, whose), (waited - max(0.0, used - ran), thread))
        return longest, whose

    def gives_its_core_away(self) -> bool:
        """Return whether the thread that waited longest did so by its own choice: it slept again and again, for as
        short as it can, and each time it woke it had to wait for a core behind others."""
        whose = self._longest_wait()[1]
        for thread, text in self._of_threads("status"):
            if thread == whose:
                counts = [int(line.split()[1]) for line in text.splitlines() if "voluntary_ctxt_switches:" in line]
                slept, preempted = counts if len(counts) == 2 else (0, 0)
                return slept > SLEEPS and slept > SLEEPS_PER_PREEMPTION * preempted
        return False

    def is_queued(self) -> bool:
        """Return whether one of its threads is ready and none of them gets a core at the moment.

        The kernel adds a wait to schedstat only once it has ended (Linux kernel/sched/stats.h, sched_info_arrive), so
        ``waited_s`` does not contain the current one, which at a low priority can last for seconds.
        """
        used = self.used_s()
        if "R" not in self._states():
            return False
        time.sleep(QUEUED_S)
        return self.used_s() == used and "R" in self._states()

    def _states(self) -> set[str]:
        """Return the states of its threads, letters as in /proc (man 5 proc_pid_stat)."""
        # a thread can choose its name, which stands in parentheses before the state
        return {text.rpartition(")")[2].split()[0] for _, text in self._of_threads("stat")}

    def _of_threads(self, name: str) -> list[tuple[str, str]]:
        """Return the id of each of its threads and the content of that thread's file ``name`` in /proc."""
        found: list[tuple[str, str]] = []
        with contextlib.suppress(OSError):
            tasks = os.open(f"{self.pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)
            try:
                for thread in os.listdir(tasks):
                    with contextlib.suppress(OSError):  # the thread has ended
                        handle = os.open(f"{thread}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tasks)
                        with open(handle, "rb") as file:
                            found.append((thread, file.read().decode("latin-1")))
            finally:
                os.close(tasks)
        return found

    def left_s(self, excused_s: float = 0.0) -> float | str | None:
        """Return the seconds until the next check, or why the child has to end now; None if it has no limits.

        ``excused_s``: wall clock that is not counted.
        """
        found: list[float] = []
        if self.timeout_s is not None:
            left = self._clock_left_s(excused_s, self.timeout_s)
            if isinstance(left, str):
                return left
            found.append(left)
        if self.cpu_s is not None:
            left = self.cpu_s - self.used_s()
            if left <= 0:
                return "cpu"
            found.append(left / _CORES + 0.005)
        return min(found, default=None)

    def _clock_left_s(self, excused_s: float, timeout_s: float) -> float | str:
        """Return the seconds until its wall clock has to be checked again, or why it has to end now."""
        left = left_s(self._spent_s(excused_s), self.waited_s, timeout_s)
        if left not in ("deadline", "starved"):
            return left
        queued = left == "deadline" and self.is_queued()
        if left == "deadline":  # a wait may have ended and be known now
            left = left_s(self._spent_s(excused_s), self.waited_s, timeout_s)
        if left == "deadline" and queued:
            left = QUEUED_S if self._spent_s(excused_s) < longest_s(timeout_s) else "starved"
        return "deadline" if left == "starved" and self.gives_its_core_away() else left

    def _spent_s(self, excused_s: float) -> float:
        return time.monotonic() - self.start - excused_s


def watch(child: Child, alarms: Sequence[int], questions: Questions) -> str | None:
    """Wait for a child's end. Returns why it has to be killed, or None if it ended by itself.

    ``alarms``: descriptors that are readable once its end is requested, or its host has ended ("asked").
    ``questions``: the requests to answer meanwhile.

    A delay of the keeper must not count as the child's time. A child that has already ended is therefore not killed,
    and if a check comes late, the time since the previous check is not counted. This is done only once, or a keeper
    that is always a little late would never end a child.
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
    """Wait until one of some descriptors is readable, and return those that are; None: without a time limit."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    return {handle for handle, _ in poll.poll(None if most_s is None else math.ceil(most_s * 1000))}


def kill_group(pid: int) -> None:
    """Kill a child that has not been waited for yet, and its process group."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_orphans(proc: int, spare: int) -> None:
    """Kill and reap all remaining children except ``spare``: as subreaper, the keeper inherits every process that a
    child left, including daemons in their own sessions. Needs a kernel with /proc/<pid>/task/<tid>/children."""
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
            os.kill(pid, signal.SIGKILL)  # not waited for yet, so the id can't have been reused
            os.waitpid(pid, 0)
