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
from collections.abc import Iterator

from forewarn.exploits.base import HANDED_OUT, ExploitType
from forewarn.judge.labels import CheckerName
from forewarn.records import Label


class Room:
    """The executions that run or wait to, in the order of their arrival. It may be used from any number of threads.

    An execution enters once all before it are of its own sort, quiet or not, so neither sort can keep the other
    waiting for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._present: dict[object, bool] = {}

    @contextlib.contextmanager
    def entered(self, *, quiet: bool) -> Iterator[None]:
        """Wait for the room, and stay in it. A thread that is in it must not enter again."""
        ticket = object()
        with self._changed:
            self._present[ticket] = quiet
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._may_enter(ticket, quiet))
            yield
        finally:
            with self._changed:
                del self._present[ticket]
                self._changed.notify_all()

    def _may_enter(self, ticket: object, quiet: bool) -> bool:
        for other, sort in self._present.items():
            if other is ticket:
                return True
            if sort is not quiet:
                return False
        return True


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
