"""What came of one execution, or the fault that kept it from saying anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forewarn.errors import EngineFault

Killed = Literal["deadline", "cpu", "flood"]
Level = Literal["strict", "hardened", "weak"]
FaultKind = Literal["zygote", "not ready", "busy", "killed", "time", "untold"]
"""zygote: it could not start, died or hung; not ready: the child could not be confined or set up; busy: the machine
gave it no core; killed: an outside process killed the child; time: the verdict's deadline passed; untold: a checker
can't tell"""


class SandboxFault(EngineFault):
    """The sandbox broke, so the execution says nothing about the submission."""

    def __init__(self, kind: FaultKind, message: str, *, late: bool = False) -> None:
        """``late``: the time limit passed before the child was ready, and nothing else broke."""
        super().__init__(message)
        self.kind: FaultKind = kind
        self.late = late


class ExposedError(EngineFault):
    """A submission could read a protected file. The sandbox does not start, since verdicts would be meaningless."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One child's behaviour, as its supervisor saw it."""

    exit_status: int | None
    """its exit status; None if a signal ended it"""
    signal: int | None
    killed: Killed | None
    """why the supervisor killed it; None: it did not"""
    seconds: float
    """wall clock from fork to end"""
    waited_s: float
    """seconds that it was ready without a core"""
    frames: bytes
    """all frames that it sent; the submission may have forged them"""
    cpu_s: float = 0.0
    """CPU time of all its threads"""
    dumped_core: bool = False
    arrivals: Sequence[float] = ()
    """arrival time of each frame, on the parent's monotonic clock"""
