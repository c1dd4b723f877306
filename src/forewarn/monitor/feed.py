"""Alerts on their way to sinks: one bounded queue and one thread for each, so that no sink can hold up anything.

A sink that raises, hangs or is offline is said once; what it did not take is counted. The run's own ``alerts.jsonl`` is
written first, by the caller itself: it is the truth, and can be replayed to any sink later.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from forewarn.errors import ForewarnError
from forewarn.monitor.sinks.base import Sink, SinkFault, SinkKind
from forewarn.monitor.sinks.jsonl import Jsonl, read_alerts
from forewarn.records import Alert

ALERTS_FILE = "alerts.jsonl"
CAPACITY = 1000
"""alerts that wait for one sink"""
CLOSING_S = 20.0
"""how long sinks may take to be through when the end has come"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the alerts for one sink so far."""

    title: str
    posted: int
    lost: int
    """that it refused, for which its queue had no room, or that it did not get to before the end"""
    fault: str | None
    """the first thing that went wrong"""


class Feed:
    """The way to one sink. The sink is opened, used and closed in a thread of its own, and by nobody else.

    ``say``: told of the first fault, in one sentence.
    """

    def __init__(self, kind: SinkKind, place: str, *, say: Say, capacity: int = CAPACITY) -> None:
        self._kind, self._place, self._say = kind, place, say
        self._queue: queue.Queue[Alert | None] = queue.Queue(capacity)
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._offered = self._posted = 0
        self._fault: str | None = None
        # a daemon: the process ends though the sink hangs
        self._thread = threading.Thread(target=self._work, name=f"sink {kind.title}", daemon=True)
        self._thread.start()

    def post(self, alert: Alert) -> None:
        """Hand an alert over; returns at once, whatever the sink does."""
        self._offered += 1
        try:
            self._queue.put_nowait(alert)
        except queue.Full:
            self._failed("it is too slow or hangs, and its queue is full")

    def close(self, deadline_s: float = CLOSING_S) -> Taken:
        """Let the sink finish what waits, for so long at most."""
        self.end()
        self._thread.join(max(0.0, deadline_s))
        if self._thread.is_alive():
            self._failed(f"it hangs, and was left after {deadline_s:g} s")
        return self.taken

    def end(self) -> None:
        """Tell the sink that nothing more comes; returns at once."""
        self._ending.set()
        with suppress(queue.Full):  # then it sees the mark once it is through
            self._queue.put_nowait(None)

    @property
    def taken(self) -> Taken:
        """What became of the alerts so far; those that wait count as lost until they are posted."""
        return Taken(self._kind.title, self._posted, self._offered - self._posted, self._fault)

    def _failed(self, reason: str) -> None:
        with self._lock:
            first = self._fault is None
            self._fault = self._fault or reason
        if first:
            self._say(
                f"{self._kind.title}: {reason}; everything else goes on, and the alerts are kept in {ALERTS_FILE}"
            )

    def _work(self) -> None:
        ended = False
        try:
            self._deliver()
            ended = True
        finally:
            if not ended:  # a bug of ours or theirs ends this thread alone, and keeps its traceback
                self._failed("it broke, with the error above or below")

    def _deliver(self) -> None:
        sink: Sink | None = None
        while (alert := self._queue.get()) is not None:
            try:
                if sink is None:
                    sink = self._kind.open(self._place)
                sink.post(alert)
                self._posted += 1
            except (SinkFault, ForewarnError) as error:
                self._failed(str(error))
            if self._ending.is_set() and self._queue.empty():
                break
        if sink is not None:
            try:
                sink.close()
            except SinkFault as error:
                self._failed(str(error))


class Feeds:
    """Every alert of a run: into its ``alerts.jsonl`` first, then to each sink. A context manager."""

    def __init__(
        self, root: Path, sinks: Sequence[tuple[SinkKind, str]], *, say: Say, capacity: int = CAPACITY
    ) -> None:
        self._truth, self._path, self._say = Jsonl(str(root / ALERTS_FILE)), root / ALERTS_FILE, say
        self._unwritten = False
        self._feeds = [Feed(kind, place, say=say, capacity=capacity) for kind, place in sinks]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def post(self, alert: Alert) -> None:
        """Keep an alert, and hand it to every sink. Never raises for what a sink or a disk does."""
        try:
            self._truth.post(alert)
        except SinkFault as error:
            if not self._unwritten:
                self._say(f"{error}; alerts go to their sinks all the same, and can't be replayed later")
            self._unwritten = True
        self._hand_out([alert])

    def replay(self) -> int:
        """Hand what the run's file holds to every sink again, in order; returns how many alerts that is."""
        alerts = read_alerts(self._path)
        self._hand_out(alerts)
        return len(alerts)

    def _hand_out(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            for feed in self._feeds:
                feed.post(alert)

    def close(self, deadline_s: float = CLOSING_S) -> list[Taken]:
        """End every sink, within the deadline together; what became of the alerts for each."""
        end = time.monotonic() + deadline_s
        for feed in self._feeds:
            feed.end()
        return [feed.close(max(0.0, end - time.monotonic())) for feed in self._feeds]
