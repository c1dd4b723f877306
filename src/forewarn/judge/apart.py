"""Some executions have to run while no other program runs that might know their answers: these are quiet.

Two executions at the same moment can signal to each other: through the pages of libraries that both have, the caches,
or the cores. That is hundreds of bits a second, so one execution that is handed answers can tell them all to another
one, of whatever problem, which can tell them to a third. So while a quiet execution runs, only other quiet ones do,
none of which is handed an answer. Not covered: the executions of another process on the same machine, and what the
machine's caches keep of an execution that has ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.exploits.base import HANDED_OUT, ExploitType
from forewarn.judge.labels import CheckerName
from forewarn.records import Label

LOOK_S = 0.1
"""seconds after which one who waits looks again"""
PAUSE = 4.0
"""quiet executions make others wait at most once per this many times as long as the last wait took. Otherwise a few
programs that sleep, whose end a quiet execution has to wait for, would keep a large machine idle"""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    quiet: bool
    since: float


class Room:
    """The executions that run, either quiet ones or others, and those that wait. For any number of threads.

    A quiet execution waits until all others have ended, and those that come meanwhile wait behind it, except during a
    pause after the last quiet time. Quiet executions that come in a quiet time for which others wait are left for the
    next one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = {True: 0, False: 0}
        self._waiting: list[_Waiting] = []
        self._let_in: frozenset[_Waiting] = frozenset()
        """quiet executions that belong to this quiet time"""
        self._held_since = self._pause_ends = 0.0

    @contextlib.contextmanager
    def entered(self, *, quiet: bool) -> Iterator[None]:
        """Wait for the room, and stay in it. A thread that is in it must not enter again."""
        me = _Waiting(quiet, time.monotonic())
        with self._changed:
            self._waiting.append(me)
            try:
                while not self._changed.wait_for(lambda: self._may_enter(me), LOOK_S):
                    pass  # the end of a pause wakes nobody
                if quiet and not self._inside[True]:
                    self._begin_quiet_time()
                self._inside[quiet] += 1
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._inside[quiet] -= 1
                if quiet and not self._inside[True]:
                    now = time.monotonic()
                    self._pause_ends = now + PAUSE * (now - self._held_since)
                self._changed.notify_all()

    def _begin_quiet_time(self) -> None:
        self._let_in = frozenset(other for other in self._waiting if other.quiet)
        self._held_since = max(self._pause_ends, min(other.since for other in self._let_in))

    def _may_enter(self, me: _Waiting) -> bool:
        in_pause = time.monotonic() < self._pause_ends
        if not me.quiet:
            return not self._inside[True] and (in_pause or not any(other.quiet for other in self._waiting))
        others_wait = not all(other.quiet for other in self._waiting)
        if self._inside[True]:
            return me in self._let_in or not others_wait
        return not self._inside[False] and not (in_pause and others_wait)


ROOM = Room()
"""that of all executions of this process, whatever the Judge"""


def always_quiet(kind: ExploitType, name: CheckerName) -> bool:
    """Return whether a checker's executions are quiet: those of a secure judgement whose answers others may know."""
    return kind.knows_answers and name == "secure"


def confirmed_by(kind: ExploitType, label: Label, *, beside_answers: bool) -> CheckerName | None:
    """Return the checker that has to accept once more in a quiet execution before a label is believed.

    A twin runs the tests whose answers the vulnerable checker hands out. A program that hears these answers from
    another one is right for the twin as well, so that it looks like an honest bug. ``beside_answers``: the Judge knows
    a type whose executions contain answers of the secure judgement, perhaps for the same task as this type's problem.
    """
    if label == "lucky" and kind.patched.hands != "nothing" and kind.patched.tests == (HANDED_OUT,):
        return "patched"
    if label in ("solved", "strict") and beside_answers and not always_quiet(kind, "secure"):
        return "secure"
    return None
