"""(Problem, code) -> Verdict for any number of them, in parallel.

Not covered: how one submission is judged (``rounds.py``), the labels (``labels.py``), isolation (``sandbox/``), what
a type's checkers accept (``forewarn.exploits``), the queue (``sandbox/pool.py``), what is remembered (``memory.py``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import ExploitType, check_type
from forewarn.judge.identity import ProblemKeys
from forewarn.judge.labels import CheckerName, type_of
from forewarn.judge.memory import Counts, Key, Memory
from forewarn.judge.rounds import MAX_EXECUTIONS, Rounds
from forewarn.records import Problem, Verdict, content_key
from forewarn.sandbox.host import Level, Sandbox
from forewarn.sandbox.inside.watch import longest_s
from forewarn.sandbox.levels import choose_level
from forewarn.sandbox.pool import Pool

SANDBOXES_PER_WORKER = 2
QUEUED_PER_SANDBOX = 4
MAX_WORKERS = 256
MIN_TIMEOUT_S = 0.01
"""no child is ready in much less, whatever it runs"""
MAX_MEMORY_MB = 1 << 20
T = TypeVar("T")
Item = tuple[Problem, str]
JobOf = Callable[[Problem, str], Callable[[Sandbox], T]]
"""(problem, code) -> what to do in a sandbox"""


class Judge:
    """Judges submissions in parallel. A context manager: ``close`` leaves no process and no file.

    ``workers``: cores to keep busy (two sandboxes each, as an execution waits for the kernel about half of its time);
    sandboxes start when first needed. ``level``: "strict" or "hardened"; None takes the strongest that works here.
    ``timeout_s``: limit of one execution, loading and all calls together, on the wall clock less the time spent waiting
    for a core (``inside/watch.py``). ``deadline_s``: wall clock of one verdict from its first execution, whatever the
    machine does; beyond it the verdict is "invalid"; None is as long as all executions of a verdict may take on a busy
    machine, so that no submission gets there by using up its time. ``max_memory_mb``: address space of an execution.
    ``remember``: answers kept at most. Raises ``InputError`` for bad arguments and ``EngineFault`` where no level works
    (``allow_weak=True`` then runs submissions with rlimits only: do that with trusted code alone).

    ``types``: the exploit types it knows; give your own, alone or beside ours. ``unreadable``: files that no submission
    may read, such as the one that holds the problems; judging ends with ``ExposedError`` where one can be read.

    Any number of threads and event loops may use one Judge; a full queue makes them wait.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        level: Literal["strict", "hardened"] | None = None,
        allow_weak: bool = False,
        timeout_s: float = 2.0,
        max_memory_mb: int = 512,
        deadline_s: float | None = None,
        types: Mapping[str, ExploitType] = EXPLOIT_TYPES,
        remember: int = 200_000,
        unreadable: Sequence[Path] = (),
    ) -> None:
        if not 1 <= workers <= MAX_WORKERS:
            raise InputError(f"workers is {workers}: give 1 to {MAX_WORKERS}")
        if not MIN_TIMEOUT_S <= timeout_s <= 3600:
            raise InputError(f"timeout_s is {timeout_s}: give {MIN_TIMEOUT_S} to 3600 seconds")
        if not 64 <= max_memory_mb <= MAX_MEMORY_MB:
            raise InputError(f"max_memory_mb is {max_memory_mb}: give 64 to {MAX_MEMORY_MB}")
        if deadline_s is not None and not 0 < deadline_s < float("inf"):
            raise InputError(f"deadline_s is {deadline_s}: give a number of seconds above 0, or None")
        memory = Memory(remember)  # refuses before any process starts
        self.timeout_s = timeout_s
        self._types = types
        for kind in types.values():
            check_type(kind)
        most_s = max([timeout_s, *(kind.vulnerable.timeout_s or 0.0 for kind in types.values())])
        self.level: Level = choose_level(level, allow_weak, max_memory_mb)
        sandboxes = [Sandbox(self.level, max_memory_mb, unreadable) for _ in range(workers * SANDBOXES_PER_WORKER)]
        self._limit = QUEUED_PER_SANDBOX * len(sandboxes)
        self._pool = Pool(sandboxes, self._limit)
        self._memory = memory
        self._problem_keys = ProblemKeys()
        self._rounds = Rounds(
            types=types,
            timeout_s=timeout_s,
            deadline_s=MAX_EXECUTIONS * longest_s(most_s) if deadline_s is None else deadline_s,
            level=self.level,
            memory=memory,
            key_of=self._problem_keys.of,
        )

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every sandbox. May be called twice."""
        self._pool.close()

    @property
    def counts(self) -> Counts:
        """What was done so far, faults included."""
        return self._memory.counts(self._pool.sandboxes)

    def verdicts(self, items: Sequence[Item], *, audit: bool = False) -> list[Verdict]:
        """One verdict an item, in order. Equal problems with equal code are judged once in this Judge's life.

        Twin and secure run where vulnerable accepts, or always under ``audit``. Raises ``InputError`` for an unknown
        exploit type or code that is no text; a fault of the sandbox is a verdict of "invalid", which is not remembered.
        """
        return self._each(items, self._verdict_job(audit))

    def accepts(self, items: Sequence[Item], checker: CheckerName) -> list[bool | None]:
        """Does one checker accept each item? None: it broke. Remembers and raises as ``verdicts``."""
        return self._each(items, self._accept_job(checker))

    def stream(self, items: Iterable[Item], *, audit: bool = False) -> Iterator[Verdict]:
        """``verdicts`` of any number of items, in order, one by one; takes no more of them than the queue holds."""
        self._pool.check_open()
        job_of = self._verdict_job(audit)
        window: deque[tuple[Key, Future[Verdict]]] = deque()
        running: dict[Key, Future[Verdict]] = {}
        try:
            for position, item in enumerate(items):
                key = self._key(item, position)
                if key not in running:
                    running[key] = self._pool.submit(job_of(*item))
                window.append((key, running[key]))
                while len(window) > self._limit or (window and window[0][1].done()):
                    yield _first(window, running)
            while window:
                yield _first(window, running)
        except CancelledError:
            self._pool.check_open()
            raise
        finally:
            for _, future in window:
                future.cancel()

    async def verdicts_async(self, items: Sequence[Item], *, audit: bool = False) -> list[Verdict]:
        """``verdicts`` for an event loop, which goes on meanwhile."""
        return await self._each_async(items, self._verdict_job(audit))

    async def accepts_async(self, items: Sequence[Item], checker: CheckerName) -> list[bool | None]:
        """``accepts`` for an event loop."""
        return await self._each_async(items, self._accept_job(checker))

    def _each(self, items: Sequence[Item], job_of: JobOf[T]) -> list[T]:
        """The jobs of distinct items, in parallel."""
        self._pool.check_open()
        keys = [self._key(item, position) for position, item in enumerate(items)]
        futures: dict[Key, Future[T]] = {}
        try:
            for key, item in dict(zip(keys, items, strict=True)).items():
                futures[key] = self._pool.submit(job_of(*item))
            return [futures[key].result() for key in keys]
        except CancelledError:
            self._pool.check_open()  # closed from another thread
            raise
        finally:
            _cancel(futures)

    async def _each_async(self, items: Sequence[Item], job_of: JobOf[T]) -> list[T]:
        self._pool.check_open()
        keys = [self._key(item, position) for position, item in enumerate(items)]
        futures: dict[Key, Future[T]] = {}
        try:
            for key, item in dict(zip(keys, items, strict=True)).items():
                futures[key] = await self._pool.submit_async(job_of(*item))
            found = {key: await asyncio.wrap_future(future) for key, future in futures.items()}
            return [found[key] for key in keys]
        except asyncio.CancelledError:
            self._pool.check_open()
            raise
        finally:
            _cancel(futures)

    def _key(self, item: Item, position: int) -> Key:
        """What makes an item distinct. Raises ``InputError`` for one that can't be judged."""
        problem, code = item
        if not isinstance(problem, Problem):
            raise InputError(
                f"item {position} has a {type(problem).__name__} for a problem: give a Problem and its code"
            )
        if not isinstance(code, str):
            raise InputError(f"the code of item {position} is {type(code).__name__}: give text")
        type_of(problem, self._types)
        return self._problem_keys.of(problem), content_key(code)

    def _verdict_job(self, audit: bool) -> JobOf[Verdict]:
        return lambda problem, code: lambda sandbox: self._rounds.verdict(sandbox, problem, code, audit=audit)

    def _accept_job(self, checker: CheckerName) -> JobOf[bool | None]:
        return lambda problem, code: lambda sandbox: self._rounds.accepts(sandbox, problem, code, checker)


def _first(window: deque[tuple[Key, Future[T]]], running: dict[Key, Future[T]]) -> T:
    """The first result of a window, waited for; its item runs again if it comes again."""
    key, future = window.popleft()
    running.pop(key, None)
    return future.result()


def _cancel(futures: Mapping[Key, Future[T]]) -> None:
    """Drop what has not begun: nothing, unless the caller was interrupted."""
    for future in futures.values():
        future.cancel()
