"""What a Judge remembers: the decisions that are certain, and counts of its work."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from forewarn.errors import InputError
from forewarn.exploits.base import Decision
from forewarn.judge.labels import Decisions
from forewarn.sandbox.execution import FaultKind
from forewarn.sandbox.host import Sandbox
from forewarn.text import one_line

Key = tuple[str, str]
"""the key of a problem (``identity.py``) and of a code"""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of what a Judge has done so far."""

    judged: int
    """submissions, except those that were remembered"""
    executions: int
    invalid: Mapping[FaultKind, int]
    """submissions without an answer, by fault; these are not remembered, so a later call runs them again"""
    zygotes_started: int
    zygotes_lost: int
    """the number of started zygotes that had to be replaced"""


@dataclass(frozen=True, slots=True)
class Known:
    """The certain decisions about one submission."""

    decisions: Decisions
    rounds: int = 1
    """number of rounds that reached these decisions, each with its own executions"""
    differing: str | None = None
    """how a later round contradicted them; None: it did not"""


NOTHING = Known({}, 0)


class Memory:
    """Decisions by problem and code. It may be used from any number of threads, and is cleared at ``limit``."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise InputError(f"remember is {limit}: give 0 or more")
        self._limit = limit
        self._known: dict[Key, Known] = {}
        self._lock = threading.Lock()
        self._judged = 0
        self._invalid: Counter[FaultKind] = Counter()

    def known(self, key: Key) -> Known:
        """Return the certain decisions about a submission so far."""
        return self._known.get(key, NOTHING)

    def learn(self, key: Key, known: Known, now: Known, broken: FaultKind | None) -> None:
        """Count the decisions reached beyond ``known``, and keep certain ones. ``broken``: the first fault, if any."""
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
        """Return the counts of what was done so far in these sandboxes."""
        starts = [sandbox.starts for sandbox in sandboxes]
        executions = sum(sandbox.executions for sandbox in sandboxes)
        lost = sum(max(0, n - 1) for n in starts)
        with self._lock:
            return Counts(self._judged, executions, dict(self._invalid), sum(starts), lost)


def _kept(decision: Decision) -> Decision:
    """Cut a reason to the length that a verdict shows, since it contains words of the submission."""
    return replace(decision, reason=one_line(decision.reason))
