"""Which task comes next, and which one is left out because workers die over it. Not here: the workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from forewarn.errors import IncompleteError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed(Generic[T]):
    """A task that was left out."""

    task: T
    reason: str


@dataclass(slots=True)
class Queued(Generic[T]):
    """A task and how often a worker died over it."""

    task: T
    deaths: int = 0


def check_done(failed: Sequence[Failed[T]], n_tasks: int, what: str) -> None:
    """Raise IncompleteError where tasks were left out. ``what``: what they make, in the plural."""
    if failed:
        raise IncompleteError(
            f"{len(failed)} of {n_tasks} {what} are missing: {failed[0].reason}. The others are kept; give the same "
            "command again to try these again, with fewer workers if memory was short"
        )


class TaskQueue(Generic[T]):
    """Tasks still to do. ``failed``: those that were left out."""

    def __init__(self, retries: int, workers: int) -> None:
        self.left: deque[Queued[T]] = deque()
        self.failed: list[Failed[T]] = []
        self._tries = retries + 1
        self._most_in_a_row = self._tries * (workers + 2)
        self._in_a_row = 0

    def add(self, tasks: Iterable[T], *, first: bool = False) -> None:
        """Queue tasks behind those that are there, or, as ``first``, before them."""
        queued = [Queued(task) for task in tasks]
        if first:
            self.left.extendleft(reversed(queued))
        else:
            self.left.extend(queued)

    def done(self) -> None:
        """A worker finished a task."""
        self._in_a_row = 0

    def died(self, queued: Queued[T], reason: str) -> None:
        """Try the task again, after the others; or leave it out. Where workers do nothing but die, leave all out."""
        queued.deaths += 1
        self._in_a_row += 1
        if queued.deaths < self._tries:
            self.left.append(queued)
        else:
            times = f"{self._tries} workers died over it, the last" if self._tries > 1 else "its worker"
            self.failed.append(Failed(queued.task, f"{times} {reason}"))
        if self._in_a_row >= self._most_in_a_row:
            given_up = f"given up after {self._in_a_row} workers died one after the other, the last {reason}"
            self.failed += [Failed(other.task, given_up) for other in self.left]
            self.left.clear()
