"""Which task comes next, and which one is left out because workers die over it. Not here: the workers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.study.work import Task


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that was left out."""

    task: Task
    reason: str


class TaskQueue:
    """Tasks still to do, and how often workers died over each. ``failed``: those that were left out."""

    def __init__(self, tasks: Sequence[Task], retries: int, workers: int) -> None:
        self.left = deque(tasks)
        self.failed: list[Failed] = []
        self._tries = retries + 1
        self._most_in_a_row = self._tries * (workers + 2)
        self._died: Counter[tuple[str, str]] = Counter()
        self._in_a_row = 0

    def done(self) -> None:
        """A worker did one."""
        self._in_a_row = 0

    def died(self, task: Task, reason: str) -> None:
        """Try the task again, after the others; or leave it out. Where workers do nothing but die, leave all out."""
        key = task.stage, task.key
        self._died[key] += 1
        self._in_a_row += 1
        if self._died[key] < self._tries:
            self.left.append(task)
        else:
            times = f"{self._tries} workers died over it, the last" if self._tries > 1 else "its worker"
            self.failed.append(Failed(task, f"{times} {reason}"))
        if self._in_a_row >= self._most_in_a_row:
            given_up = f"given up after {self._in_a_row} workers died one after the other, the last {reason}"
            self.failed += [Failed(other, given_up) for other in self.left]
            self.left.clear()
