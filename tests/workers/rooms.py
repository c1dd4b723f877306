"""Rooms for the tests of the worker mechanism, and a program whose workers outlive nothing.

``python -m tests.workers.rooms FOLDER``: two workers in the middle of long tasks, each of which left its process id.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import InputError
from forewarn.sandbox.execution import ExposedError
from forewarn.workers import Workers

LONG_S = 300.0


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """Opens a room that writes down what it does in ``folder``."""

    folder: Path

    def __call__(self) -> NotingRoom:
        return NotingRoom(self.folder)


class NotingRoom:
    """Does tasks that are words: what each does is said in ``do``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._note("opened")

    def _note(self, word: str) -> None:
        (self._folder / f"{word}-{os.getpid()}").touch()

    def do(self, task: str) -> tuple[int, str]:
        """Answers (process id, task)."""
        kind, _, rest = task.partition(" ")
        if kind == "long":
            self._note("begun")
            time.sleep(LONG_S)
        elif kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "die-once" and not (self._folder / rest).exists():
            (self._folder / rest).touch()
            os._exit(3)
        elif kind == "bad":
            raise InputError(f"value is {rest}: give another")
        elif kind == "exposed":
            raise ExposedError("a file can be read")
        elif kind == "bug":
            raise ZeroDivisionError(rest)
        return os.getpid(), task

    def close(self) -> None:
        self._note("closed")


def main() -> None:
    with Workers[str](OpenRoom(Path(sys.argv[1])), 2) as workers:
        for _ in workers.do(["long a", "long b"]):
            pass


if __name__ == "__main__":
    main()
