"""Sandboxes in parallel: one thread each behind a bounded queue, for sync and async callers.

A job is a function of a sandbox. At most ``limit`` jobs are waiting or running; further callers wait their turn in
order (backpressure). Not covered: what a job does with its sandbox.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from forewarn.errors import InputError
from forewarn.sandbox.host import Sandbox

T = TypeVar("T")


class Slots:
    """Places in a bounded queue, given out in the order of requests."""

    def __init__(self, n: int) -> None:
        self._free = n
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def ask(self) -> Future[None]:
        """Return a future that is done once the caller has a place. Cancel it to withdraw the request."""
        place: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                place.set_running_or_notify_cancel()
                place.set_result(None)
            else:
                self._waiting.append(place)
        return place

    def give_back(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._free += 1
                    return
                place = self._waiting.popleft()
            if place.set_running_or_notify_cancel():  # else it was cancelled: the next in line
                place.set_result(None)
                return

    def fail(self, error: Exception) -> None:
        """Release all waiting callers with an error."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for place in waiting:
            if place.set_running_or_notify_cancel():
                place.set_exception(error)


class Pool:
    """Runs jobs on ``sandboxes``, one per sandbox at a time. ``close`` removes its threads, processes and files."""

    def __init__(self, sandboxes: Sequence[Sandbox], limit: int) -> None:
        self.sandboxes = sandboxes
        self._slots = Slots(limit)
        self._free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        for sandbox in sandboxes:
            self._free.put(sandbox)
        self._threads = ThreadPoolExecutor(len(sandboxes), thread_name_prefix="judge")
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Callable[[Sandbox], T]) -> Future[T]:
        """Queue a job; waits while the queue is full. Raises ``InputError`` once closed."""
        self.check_open()
        self._slots.ask().result()
        return self._put(job)

    async def submit_async(self, job: Callable[[Sandbox], T]) -> Future[T]:
        """Queue a job without blocking the event loop. Raises as ``submit`` does."""
        self.check_open()
        place = self._slots.ask()
        try:
            await asyncio.wrap_future(place)
        except asyncio.CancelledError:
            if not place.cancel():  # it was given at the same moment
                self._slots.give_back()
            raise
        return self._put(job)

    def check_open(self) -> None:
        """Raise ``InputError`` if the pool is closed."""
        if self._closed:
            raise _closed()

    def close(self) -> None:
        """Cancel waiting jobs, let running ones end (within their deadline), and stop every sandbox. A second call does
        nothing."""
        with self._lock:
            self._closed = True
        self._slots.fail(_closed())
        self._threads.shutdown(wait=True, cancel_futures=True)
        for sandbox in self.sandboxes:
            sandbox.close()

    def _put(self, job: Callable[[Sandbox], T]) -> Future[T]:
        with self._lock:
            if self._closed:
                self._slots.give_back()
                raise _closed()
            future = self._threads.submit(self._run, job)
        future.add_done_callback(lambda _: self._slots.give_back())
        return future

    def _run(self, job: Callable[[Sandbox], T]) -> T:
        sandbox = self._free.get()
        try:
            return job(sandbox)
        finally:
            self._free.put(sandbox)


def _closed() -> InputError:
    return InputError("this Judge is closed: open another")
