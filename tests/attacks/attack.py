"""What an attack is: a submission, a look at what came of it, and the defences without which it gets through."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from forewarn.exploits.base import Run
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, SandboxFault

Answer = Literal["stopped", "got through"]

PARENT_DEFENCES = {
    "compared outside": "the parent compares results with its own expected values",
    "values withheld": "expected values do not enter the child",
    "missing is a failure": "a call without a result is a failed call",
    "status not believed": "an exit status is not a verdict",
    "frames checked": "messages are parsed as hostile: lengths, kinds, depth, digits",
    "weighed first": "the cost of a message is bounded before it is parsed",
    "sized first": "a result is compared only if it has no more items than the expected value can have",
    "never hashed": "results and notes remain trees: sets or dicts are never built from them",
    "texts cut": "names and messages are cut to 200 characters on arrival",
    "plain data": "results are typed trees; nothing is unpickled",
    "output limit": "an execution sends 16 MiB at most",
    "clean reasons": "a reason is one line of visible, storable text",
    "source as text": "source is text; a declaration of its encoding is ignored",
}
"""defences outside the zygote and its children: name -> what it does"""


@dataclass(frozen=True)
class Stage:
    """What an attack finds on the machine, and how the machine looks afterwards."""

    args: tuple[object, ...] = ()
    """arguments of the submission"""
    seen: Callable[[], object] = lambda: None
    """evidence on the host, looked at after the run"""


@dataclass(frozen=True)
class Outcome:
    """One attack's run, seen from outside."""

    run: Run | None
    """None if the sandbox broke, or the reader of its frames did"""
    execution: Execution | None = None
    fault: SandboxFault | None = None
    crashed: bool = False
    """reading what it sent raised an error in the parent"""
    accepted: bool | None = None
    reason: str = ""
    seen: object = None
    seconds: float = 0.0
    """CPU time that reading what it sent took"""
    peak_mb: float = 0.0
    """memory that reading it took, MiB"""
    longest: int = 0
    """characters of the longest text of its own that the parent keeps"""
    log: bytes = b""
    """what it printed, where its output is not the null device"""

    @property
    def value(self) -> object:
        """What its first call returned; fails where it returned nothing."""
        assert self.run is not None, self.fault
        call = self.run.calls[0]
        assert call.outcome == "returned", (self.run.ending, self.run.load_message, call)
        return codec.decode(call.tree)


def by_its_word(outcome: Outcome) -> bool:
    """The submission says "through" or "stopped"; anything else is a broken attack, which proves nothing."""
    assert outcome.value in ("through", "stopped"), outcome.value
    return outcome.value == "through"


def by_evidence(outcome: Outcome) -> bool:
    """The host shows traces. The submission has to have had its try."""
    assert outcome.run is not None, outcome.fault
    assert outcome.run.calls[0].outcome == "returned", (outcome.run.load_message, outcome.run.calls[0])
    return bool(outcome.seen)


def by_verdict(outcome: Outcome) -> bool:
    """It was accepted."""
    assert outcome.accepted is not None, outcome.fault
    return outcome.accepted


def by_cost(outcome: Outcome) -> bool:
    """What it sent is dear to read, or to keep."""
    assert outcome.execution is not None, outcome.fault
    assert outcome.execution.frames
    return outcome.seconds > 2.5 or outcome.peak_mb > 100 or outcome.longest > 1000


def by_return(outcome: Outcome) -> bool:
    """It got to its end, which its limits should not have let it."""
    assert outcome.run is not None, outcome.fault
    return outcome.run.calls[0].outcome == "returned"


def by_fault(outcome: Outcome) -> bool:
    """It broke the sandbox: what should be a "no" is "invalid"."""
    return outcome.fault is not None


def by_crash(outcome: Outcome) -> bool:
    """The parent broke over what was sent."""
    return outcome.crashed


@contextlib.contextmanager
def no_stage(folder: Path) -> Iterator[Stage]:
    yield Stage()


def possible() -> str | None:
    return None


def needs_root() -> str | None:
    return None if os.geteuid() == 0 else "only root can do without a user namespace, or has capabilities to lose"


@dataclass(frozen=True)
class Attack:
    """One attack, one property."""

    name: str
    """what it tries, in words"""
    family: str
    source: str
    """defines ``solve``"""
    through: Callable[[Outcome], bool]
    without: tuple[str, ...]
    """The defences that stop it at level strict, each of them alone; without all of them it gets through."""
    hardened: Answer = "stopped"
    """what becomes of it at level hardened"""
    expected: tuple[object, ...] = (42,)
    """expected results, one a call"""
    stage: Callable[[Path], AbstractContextManager[Stage]] = no_stage
    then: str = ""
    """a second submission, whose outcome counts"""
    timeout_s: float = 10.0
    wait_s: float = 60.0
    """how long the judge waits for it in all"""
    possible: Callable[[], str | None] = field(default=possible)
    """why this machine can't show the attack to get through; None if it can"""
