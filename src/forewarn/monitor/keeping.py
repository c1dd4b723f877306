"""Keeping checkpoints while one of them is measured: a training may write and prune several in that time."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from forewarn.checkpoints.polls import Polls
from forewarn.errors import ForewarnError
from forewarn.monitor.pins import clear_unfinished, pin


class Keeping:
    """A context manager within which a thread looks at a training's folder and keeps each checkpoint that is whole.

    It says nothing: a watcher's own looks find what is kept, and raise what stands in the way of keeping.
    """

    def __init__(self, training: Path, root: Path, *, every: float) -> None:
        """``root``: the run folder; ``every``: seconds between looks."""
        self._root, self._every, self._polls = root, every, Polls(training)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeping", daemon=True)

    def __enter__(self) -> Self:
        clear_unfinished(self._root)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            with suppress(ForewarnError, OSError):
                for spot in self._polls.look():
                    with suppress(ForewarnError, OSError):
                        pin(spot, self._root, seen=self._polls.seen(spot))
