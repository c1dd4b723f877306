"""What a Judge remembers: the decisions it is sure of, and counts of what it has done."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forewarn.errors import InputError
from forewarn.exploits.base import Decision
from forewarn.judge.labels import Decisions
from forewarn.sandbox.host import FaultKind, Sandbox
from forewarn.text import one_line

Key = tuple[str, str]
"""of a problem (``identity.py``) and of a code"""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a Judge has done so far."""

    judged: int
    """submissions, those known from before not counted"""
    executions: int
    invalid: Mapping[FaultKind, int]
    """submissions without an answer, by what broke; they are not remembered, so asking again runs them again"""
    zygotes_started: int
    zygotes_lost: int
    """of the started ones, how many had to be replaced"""


@dataclass(frozen=True, slots=True)
class Known:
    """What is sure of one submission."""

    decisions: Decisions
    rounds: int = 1
    """times that these decisions were reached, each in executions of its own"""
    differing: str | None = None
    """how a later round contradicted them; None: none did"""


NOTHING = Known({}, 0)


class Memory:
    """Decisions by problem and code. Any number of threads may use it; when ``limit`` is reached it starts anew."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise InputError(f"remember is {limit}: give 0 or more")
        self._limit = limit
        self._known: dict[Key, Known] = {}
        self._lock = threading.Lock()
        self._judged = 0
        self._invalid: Counter[FaultKind] = Counter()

    def known(self, key: Key) -> Known:
        """What is sure of a submission so far."""
        return self._known.get(key, NOTHING)

    def learn(self, key: Key, known: Known, now: Known, broken: FaultKind | None) -> None:
        """Count what was reached beside ``known``, and keep what is sure. ``broken``: the first fault, if any."""
        with self._lock:
            if now.decisions.keys() - known.decisions.keys():
                self._judged += 1
            if broken is not None:
                self._invalid[broken] += 1
            if len(self._known) >= self._limit:
                self._known.clear()
            sure = {name: _kept(decision) for name, decision in now.decisions.items() if decision.accepted is not None}
            if self._limit:
                self._known[key] = replace(now, decisions={**known.decisions, **sure})

    def counts(self, sandboxes: Sequence[Sandbox]) -> Counts:
        """What was done so far in these sandboxes."""
        starts = [sandbox.starts for sandbox in sandboxes]
        executions = sum(sandbox.executions for sandbox in sandboxes)
        lost = sum(max(0, n - 1) for n in starts)
        with self._lock:
            return Counts(self._judged, executions, dict(self._invalid), sum(starts), lost)


def _kept(decision: Decision) -> Decision:
    """As much of a reason as a verdict shows: it holds words of the submission."""
    return replace(decision, reason=one_line(decision.reason))
