"""A worker process's life: it opens its room, does one task at a time, and closes the room, whatever ends it.

It ends when its pipe is closed, when it is told to (SIGTERM), when a task fails, and when its parent dies, even one
killed outright in the middle of a task. Ctrl-C reaches every process of a terminal: the parent alone acts on it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from forewarn import errors
from forewarn.errors import ForewarnError, MissingExtraError

ENDED = 128 + signal.SIGTERM
"""exit status of a worker that was told to end"""
CLOSING_S = 15.0
"""how long a worker may take to close its room"""


class Room(Protocol):
    """What a worker builds for itself and keeps from task to task: models, sandboxes, what it has read."""

    def do(self, task: Any) -> Any:
        """Do one task; what it returns goes back to the parent, and has to be picklable."""
        ...

    def close(self) -> None:
        """Stop what the room has started. Called once, whatever brings the worker's end."""
        ...


OpenRoom = Callable[[], Room]
"""opens a room; picklable, and called within the worker, with its first task"""


def live(connection: Connection, open_room: OpenRoom) -> None:
    """The whole life of a worker process."""
    # a handler, as what is ignored would be ignored by the worker's own children, too
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(ENDED))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    rooms: list[Room] = []
    try:
        _work(connection, open_room, rooms)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for room in rooms:
            room.close()


def _leave_with_parent() -> None:
    """A worker in the middle of a task doesn't see its pipe close: it is told when its parent has gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(CLOSING_S)
    os._exit(ENDED)  # in code that signals don't reach


def _work(connection: Connection, open_room: OpenRoom, rooms: list[Room]) -> None:
    """Tasks in; (answer, None) or (None, (error class, message)) out, until one fails or the pipe is closed."""
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionError):
            return
        answer, fault = None, None
        try:
            if not rooms:
                rooms.append(open_room())
            answer = rooms[0].do(task)
        except ForewarnError as error:
            fault = (_kind(error), str(error))
        try:
            connection.send((answer, fault))
        except ConnectionError:
            return
        if fault is not None:
            return


def _kind(error: ForewarnError) -> str:
    """The name in ``errors`` of the error's class, or of the nearest above it that a message makes."""
    return next(
        kind.__name__
        for kind in type(error).__mro__
        if kind.__module__ == errors.__name__ and kind is not MissingExtraError
    )
