"""Doing tasks, in this process or in several: one torch thread and one set of models each.

Workers are fresh processes (spawn) that take one task at a time over a pipe, write its shard themselves, and go away
when their parent does. A worker that dies is replaced, and its task done later in another; a task over which workers
die again and again is left out, with the reason. Not here: what a task is (``work.py``).
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Self

from forewarn import errors
from forewarn.engines.kind import EngineKind
from forewarn.engines.registry import DEFAULT_ENGINE, ENGINES, EngineSpec
from forewarn.errors import ForewarnError, InputError
from forewarn.store import RunFolder
from forewarn.study.plan import Study
from forewarn.study.room import ModelRoom
from forewarn.study.task_queue import Failed, TaskQueue
from forewarn.study.work import Task, do

ENDED = 128 + signal.SIGTERM
"""exit status of a worker that was told to end"""
IDLE_S, CLOSING_S, LAST_S = 1.0, 15.0, 5.0
"""how long a worker may take to leave when it has nothing to do, to close its models when it is told to, and to be gone
once its pipe is closed"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where models run."""

    workers: int = 1
    """processes; 1: this one"""
    threads: int = 1
    """torch threads of each: more than one makes small models slower on a busy machine"""
    device: str = "cpu"
    batch_size: int = 512
    """most rows decoded together"""
    engine: str = DEFAULT_ENGINE
    """"transformers"; "vllm", in this process; or the URL of a vLLM server"""
    retries: int = 2
    """how often a task whose worker died is tried again in another; with one worker this process does the work, and
    its death is the study's"""
    engines: Mapping[str, EngineKind] = field(default_factory=lambda: ENGINES, repr=False)
    """the engines by name; one of your own goes beside them"""

    @property
    def spec(self) -> EngineSpec:
        return EngineSpec(self.engine, device=self.device, batch_size=self.batch_size, engines=self.engines)

    def __post_init__(self) -> None:
        kind = self.spec.kind  # refuses an unknown engine
        if kind.one_worker and self.workers > 1:
            raise InputError(f"workers is {self.workers}: {kind.one_worker}; give 1")
        if self.retries < 0:
            raise InputError(f"retries is {self.retries}: give 0 or more")
        if self.workers < 1 or self.threads < 1 or self.batch_size < 1:
            raise InputError(
                f"workers {self.workers}, threads {self.threads}, batch_size {self.batch_size}: give 1 or more of each"
            )


class Workers:
    """Does tasks. Models and processes start with the first task and stay until ``close``. A context manager.

    ``failed``: the tasks that were left out because workers died over them.
    """

    def __init__(self, study: Study, root: Path, machine: Machine) -> None:
        self._study, self._root, self._machine = study, root, machine
        self._room: ModelRoom | None = None
        self._processes: dict[Connection, SpawnProcess] = {}
        self.failed: list[Failed] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def do(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Do every task; yields each when its shard is on disk. What can't be done is in ``failed`` afterwards.

        Raises the worker's own ForewarnError.
        """
        if not tasks:
            return iter(())
        return self._do_here(tasks) if self._machine.workers == 1 else self._do_there(tasks)

    def _do_here(self, tasks: Sequence[Task]) -> Iterator[Task]:
        for task in tasks:
            with _threads(self._machine.threads):
                if self._room is None:
                    self._room = _make_room(self._study, self._machine)
                do(task, self._study, self._room, RunFolder(self._root))
            yield task

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._study, self._root, self._machine)
        process = context.Process(target=_worker, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def _do_there(self, tasks: Sequence[Task]) -> Iterator[Task]:
        queue = TaskQueue(tasks, self._machine.retries, self._machine.workers)
        doing: dict[Connection, Task] = {}
        self._hand_out(queue, doing)
        while doing:
            for ready in wait(list(doing)):
                assert isinstance(ready, Connection)
                task = doing.pop(ready)
                try:
                    answer = ready.recv()
                except (EOFError, ConnectionError):
                    queue.died(task, self._bury(ready))
                    continue
                if answer is not None:
                    kind, message = answer
                    raise getattr(errors, kind)(message)
                queue.done()
                self._hand_out(queue, doing)
                yield task
            self._hand_out(queue, doing)
        self.failed += queue.failed

    def _hand_out(self, queue: TaskQueue, doing: dict[Connection, Task]) -> None:
        """Give tasks to the workers that have none, and start as many as are wanted and not there."""
        while queue.left and len(doing) < self._machine.workers:
            idle = next((connection for connection in self._processes if connection not in doing), None)
            connection = self._start() if idle is None else idle
            task = queue.left.popleft()
            try:
                connection.send(task)
                doing[connection] = task
            except ConnectionError:
                queue.died(task, self._bury(connection))

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
        """End the worker processes, each after it has closed its models. May be called twice."""
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
        if self._room is not None:
            self._room.close()
        self._room = None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _make_room(study: Study, machine: Machine) -> ModelRoom:
    return ModelRoom(study, machine.spec)


def _worker(connection: Connection, study: Study, root: Path, machine: Machine) -> None:
    """A worker's life. At its end, whatever brings it, it closes its models: a server keeps what was loaded there."""
    import torch

    torch.set_num_threads(machine.threads)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))  # from ``Workers.close``, in the middle of a task
    rooms: list[ModelRoom] = []
    try:
        _work(connection, study, root, machine, rooms)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for room in rooms:
            room.close()


def _work(connection: Connection, study: Study, root: Path, machine: Machine, rooms: list[ModelRoom]) -> None:
    """Tasks in, None (done) or (error class, message) out, until one fails or the other end of the pipe is closed."""
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionError):
            return
        answer: tuple[str, str] | None = None
        try:
            if not rooms:
                rooms.append(_make_room(study, machine))
            do(task, study, rooms[0], RunFolder(root))
        except ForewarnError as error:
            kind = type(error).__name__
            answer = (kind if kind != "MissingExtraError" else "ForewarnError", str(error))
        try:
            connection.send(answer)
        except ConnectionError:
            return
        if answer is not None:
            return
