"""(Problem, code) -> Verdict, for any number of submissions in parallel.

Not covered: how one submission is judged (``rounds.py``), the labels (``labels.py``), isolation (``sandbox/``), what
a type's checkers accept (``forewarn.exploits``), the queue (``sandbox/pool.py``), remembered answers (``memory.py``).
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
from forewarn.exploits.base import ExploitType, check_type, secure_of
from forewarn.judge.identity import ProblemKeys
from forewarn.judge.labels import CheckerName, type_of
from forewarn.judge.memory import Counts, Key, Memory
from forewarn.judge.rounds import MAX_EXECUTIONS, Rounds
from forewarn.records import Problem, Verdict, content_key
from forewarn.sandbox.execution import Level
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.watch import longest_s
from forewarn.sandbox.levels import choose_level
from forewarn.sandbox.pool import Pool

SANDBOXES_PER_WORKER = 2
QUEUED_PER_SANDBOX = 4
MAX_WORKERS = 256
MIN_TIMEOUT_S = 0.2
"""seconds; a child needs up to 0.05 to read the largest source, and a program that uses up the whole limit before it
begins would be "invalid" instead of "failed" """
MAX_MEMORY_MB = 1 << 20
T = TypeVar("T")
Item = tuple[Problem, str]
JobOf = Callable[[Problem, str], Callable[[Sandbox], T]]
"""(problem, code) -> what to do in a sandbox"""


class Judge:
    """Judges submissions in parallel. Use it as a context manager: ``close`` removes its processes and files.

    ``workers``: cores to keep busy, with two sandboxes each, since an execution waits for the kernel about half of its
    time. Sandboxes start when first needed. ``level``: "strict" or "hardened"; None takes the strongest that works on
    this machine. ``timeout_s``: limit of one execution, for loading and all calls together, in wall-clock time minus
    the time spent waiting for a core (``inside/watch.py``). ``deadline_s``: wall-clock limit of one verdict from its
    first execution, whatever the machine does; a verdict that takes longer is "invalid". The default, None, allows
    what all executions of a verdict may take on a busy machine, so that a submission can't become "invalid" by using
    up its time. ``max_memory_mb``: address space of an execution. ``remember``: maximum number of remembered answers.

    ``types``: the known exploit types; give your own, alone or together with forewarn's. ``unreadable``: files that
    submissions must not be able to read, such as the problem file; judging ends with ``ExposedError`` if one can be
    read. ``allow_weak``: if no level works, run submissions with resource limits only; use it for trusted code alone.
    Raises ``InputError`` for bad arguments, and ``EngineFault`` if no level works.

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
        memory = Memory(remember)  # raises for a bad argument before any process starts
        self.timeout_s = timeout_s
        self._types = types
        for kind in types.values():
            check_type(kind)
        checkers = [each for kind in types.values() for each in (kind.vulnerable, kind.patched, secure_of(kind))]
        most_s = max([timeout_s, *(checker.timeout_s or 0.0 for checker in checkers)])
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
        """Stop every sandbox. A second call does nothing."""
        self._pool.close()

    @property
    def counts(self) -> Counts:
        """What the Judge has done so far, faults included."""
        return self._memory.counts(self._pool.sandboxes)

    def verdicts(self, items: Sequence[Item], *, audit: bool = False) -> list[Verdict]:
        """Return one verdict per item, in order. This Judge judges equal code for equal problems only once.

        The twin and the secure judgement count if the vulnerable checker accepts, or always under ``audit``. Raises
        ``InputError`` for an unknown exploit type or code that is not text. A fault of the sandbox gives the verdict
        "invalid", which is not remembered.
        """
        return self._each(items, self._verdict_job(audit))

    def accepts(self, items: Sequence[Item], checker: CheckerName) -> list[bool | None]:
        """Return whether one checker accepts each item; None: it broke. Remembers and raises like ``verdicts``."""
        return self._each(items, self._accept_job(checker))

    def stream(self, items: Iterable[Item], *, audit: bool = False) -> Iterator[Verdict]:
        """Yield the verdicts of any number of items, in order; reads only as many items ahead as the queue can take."""
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
        """Return the same as ``verdicts`` without blocking the event loop."""
        return await self._each_async(items, self._verdict_job(audit))

    async def accepts_async(self, items: Sequence[Item], checker: CheckerName) -> list[bool | None]:
        """Return the same as ``accepts`` without blocking the event loop."""
        return await self._each_async(items, self._accept_job(checker))

    def _each(self, items: Sequence[Item], job_of: JobOf[T]) -> list[T]:
        """Run the jobs of distinct items in parallel."""
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
        """Return the key that makes an item distinct. Raises ``InputError`` for one that can't be judged."""
        problem, code = item
        if not isinstance(problem, Problem):
            raise InputError(
                f"item {position} has a {type(problem).__name__} instead of a Problem: give a Problem and its code"
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
    """Wait for the first result of a window and remove it; a later equal item then runs again."""
    key, future = window.popleft()
    running.pop(key, None)
    return future.result()


def _cancel(futures: Mapping[Key, Future[T]]) -> None:
    """Cancel jobs that have not begun; there are some only if the caller was interrupted."""
    for future in futures.values():
        future.cancel()
