"""The parent's side: starts workers, hands each one task at a time, replaces those that die, and ends all of them.

Workers are fresh processes (spawn). A worker that dies is replaced and its task done later in another; a task over
which workers die again and again is left out, with the reason.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, Self, TypeVar

from forewarn import errors
from forewarn.workers.tasks import Failed, Queued, TaskQueue
from forewarn.workers.worker import CLOSING_S, ENDED, OpenRoom, Room, live

IDLE_S, LAST_S = 1.0, 5.0
"""how long a worker may take to leave when it has nothing to do, and to be gone once its pipe is closed"""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A task that was done."""

    task: T
    answer: Any
    """what the room returned"""


class Workers(Generic[T]):
    """Does tasks in ``count`` processes, or, where that is 1, in this one, whose death is then everybody's.

    ``apart``: in a process of its own also where ``count`` is 1. Rooms and processes start with the first task and stay
    until ``close``. A context manager. ``retries``: how often a task whose worker died is tried again in another.
    ``failed``: the tasks that were left out.
    """

    def __init__(self, open_room: OpenRoom, count: int, *, retries: int = 2, apart: bool = False) -> None:
        self._open_room, self._count = open_room, count
        self._here = count == 1 and not apart
        self._queue: TaskQueue[T] = TaskQueue(retries, count)
        self._room: Room | None = None
        self._processes: dict[Connection, SpawnProcess] = {}
        self._doing: dict[Connection, Queued[T]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def failed(self) -> list[Failed[T]]:
        """The tasks that were left out because workers died over them."""
        return self._queue.failed

    @property
    def busy(self) -> bool:
        """Whether tasks are left, or being done."""
        return bool(self._queue.left or self._doing)

    def add(self, tasks: Iterable[T], *, first: bool = False) -> None:
        """Queue tasks behind those that wait, or, as ``first``, before them."""
        self._queue.add(tasks, first=first)

    def do(self, tasks: Iterable[T]) -> Iterator[Done[T]]:
        """Do these tasks; yields each as it is done. Raises the worker's own ForewarnError."""
        self.add(tasks)
        while self.busy:
            done = self.step()
            if done is not None:
                yield done

    def step(self, wait_s: float | None = None) -> Done[T] | None:
        """One task that was done; None where none is done within ``wait_s`` seconds (None: however long it takes), or
        nothing is left to do. In one process this does the next task. Raises the worker's own ForewarnError."""
        if self._here:
            return self._do_here()
        deadline = None if wait_s is None else time.monotonic() + wait_s
        self._hand_out()
        while self._doing:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait(list(self._doing), left)
            if not ready:
                return None
            [connection, *_] = ready
            assert isinstance(connection, Connection)
            queued = self._doing.pop(connection)
            try:
                answer, fault = connection.recv()
            except (EOFError, ConnectionError):
                self._queue.died(queued, self._bury(connection))
                self._hand_out()
                continue
            if fault is not None:
                kind, message = fault
                raise getattr(errors, kind)(message)
            self._queue.done()
            self._hand_out()
            return Done(queued.task, answer)
        return None

    def _do_here(self) -> Done[T] | None:
        if not self._queue.left:
            return None
        task = self._queue.left.popleft().task
        if self._room is None:
            self._room = self._open_room()
        return Done(task, self._room.do(task))

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # no daemon: an engine in a worker may have to start processes of its own
        process = context.Process(target=live, args=(theirs, self._open_room))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the worker has a handler of its own
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._processes[ours] = process
        return ours

    def _hand_out(self) -> None:
        """Give tasks to the workers that have none, and start as many as are wanted and not there."""
        while self._queue.left and len(self._doing) < self._count:
            idle = next((connection for connection in self._processes if connection not in self._doing), None)
            connection = self._start() if idle is None else idle
            queued = self._queue.left.popleft()
            try:
                connection.send(queued.task)
                self._doing[connection] = queued
            except ConnectionError:
                self._queue.died(queued, self._bury(connection))

    def _bury(self, connection: Connection) -> str:
        """Forget a dead worker, and say what it died of."""
        process = self._processes.pop(connection)
        connection.close()
        process.join(LAST_S)
        if process.is_alive():  # it closed its pipe and goes on
            process.kill()
            process.join()
        code = process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
            return f"killed by signal {-code}, {name}" + ", often for want of memory" * (-code == signal.SIGKILL)
        if code == ENDED:
            return "told to end by SIGTERM"
        return f"ended with status {code}; its own message, if any, is above"

    def close(self) -> None:
        """End the worker processes, each after it has closed its room. May be called twice."""
        self._doing.clear()
        for connection in self._processes:
            connection.close()  # an idle worker reads the end of its pipe and leaves
        for end in (SpawnProcess.terminate, SpawnProcess.kill):
            deadline = time.monotonic() + (IDLE_S if end is SpawnProcess.terminate else CLOSING_S)
            for process in self._processes.values():
                process.join(max(0.0, deadline - time.monotonic()))
                if process.is_alive():
                    end(process)
        for process in self._processes.values():
            process.join()
        self._processes.clear()
        room, self._room = self._room, None
        if room is not None:
            room.close()
