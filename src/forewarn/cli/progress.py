"""Progress with time left: bars on a terminal, an occasional plain line elsewhere. Always on stderr.

Library calls report with ``progress(stage, done, total)`` and need not know which kind is in use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forewarn.cli.say import say
from forewarn.text import printable

if TYPE_CHECKING:
    from rich.console import Console

ProgressCallback = Callable[[str, int, int], None]
"""``(stage, done, total)``: ``done`` of ``total`` units of ``stage`` are finished"""

PLAIN_INTERVAL_S = 15.0


@contextmanager
def progress_bars(console: Console | None = None) -> Iterator[ProgressCallback]:
    """Yield a callback that shows progress until the context ends.

    A stage appears with its first call. Its time left is computed from what was done since then, so a resumed stage
    doesn't look faster than it is.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    if console.is_terminal:
        with _bars(console) as callback:
            yield callback
    else:
        yield PlainProgress()


@contextmanager
def _bars(console: Console) -> Iterator[ProgressCallback]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    tasks: dict[str, tuple[TaskID, _Pace]] = {}
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", style="dim"),
        console=console,
    ) as bars:

        def callback(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = (bars.add_task(printable(stage), total=total, left=""), _Pace(done))
            task, pace = tasks[stage]
            bars.update(task, completed=done, total=total, left=pace.left(done, total))

        yield callback


class PlainProgress:
    """Prints lines for logs: at a stage's start and end, and every ``PLAIN_INTERVAL_S`` seconds in between."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write or _to_stderr
        self._pace: dict[str, _Pace] = {}
        self._last_line_s: dict[str, float] = {}
        self._finished: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        pace = self._pace.setdefault(stage, _Pace(done))
        now_s = time.monotonic()
        last_s = self._last_line_s.get(stage)
        ends = done >= total
        if stage in self._finished or not (last_s is None or ends or now_s - last_s >= PLAIN_INTERVAL_S):
            return
        self._last_line_s[stage] = now_s
        tail = f"done in {clock(pace.elapsed_s)}" if ends else pace.left(done, total)
        self._write(f"{stage}: {done}/{total}" + (f", {tail}" if tail else ""))
        if ends:
            self._finished.add(stage)


class _Pace:
    """The speed of one stage since it was first seen."""

    def __init__(self, done_at_start: int) -> None:
        self.start_s = time.monotonic()
        self.done_at_start = done_at_start

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.start_s

    def left(self, done: int, total: int) -> str:
        """Return "about m:ss left", or an empty string while the speed is unknown."""
        gained = done - self.done_at_start
        if gained <= 0 or done >= total:
            return ""
        return f"about {clock(self.elapsed_s * (total - done) / gained)} left"


def clock(seconds: float) -> str:
    """Format seconds as m:ss or h:mm:ss."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _to_stderr(line: str) -> None:
    say(line, error=True)
