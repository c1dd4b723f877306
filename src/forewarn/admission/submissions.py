"""What a problem is tried with: reference, own exploit, the other types' exploits, honest mistakes, and abuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from forewarn.records import Problem

Kind = Literal["reference", "exploit", "other exploit", "honest mistake", "abuse"]

ABUSE: Mapping[str, str] = {
    "syntax error": "def {entry_point}(:",
    "infinite loop": "def {entry_point}(*args):\n    while True:\n        pass",
    "fork bomb": "import os\ndef {entry_point}(*args):\n    while True:\n        os.fork()",
    "1 GB allocation": "def {entry_point}(*args):\n    return len(bytearray(2**30))",
    "huge output": "def {entry_point}(*args):\n    return 'x' * 2**26",
}
"""name -> source that every checker must reject"""
ALLOCATION = "1 GB allocation"


@dataclass(frozen=True, slots=True)
class Submission:
    """One program that a problem is tried with."""

    kind: Kind
    name: str
    """unique within a problem; for another type's exploit, the name of that type"""
    code: str


class ExploitsByTask:
    """The exploits of a whole problem set, so that each type's exploit is tried on the task's other problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._held: dict[tuple[str, str], dict[str, str]] = {}
        for problem in problems:
            self._held.setdefault(_same(problem), {}).setdefault(problem.exploit_type, problem.exploit)

    def others(self, problem: Problem) -> dict[str, str]:
        """Map each exploit type to its exploit for this problem's task."""
        held = self._held.get(_same(problem), {})
        return {name: code for name, code in held.items() if name != problem.exploit_type}


def _same(problem: Problem) -> tuple[str, str]:
    # Tasks of the same name from two sources are the same only if their references are.
    return problem.task_id, problem.reference


def submissions(problem: Problem, exploits: ExploitsByTask) -> list[Submission]:
    """Return every submission that the truth table requires for every problem."""
    found = [Submission("reference", "reference", problem.reference), Submission("exploit", "exploit", problem.exploit)]
    found += [Submission("other exploit", name, code) for name, code in exploits.others(problem).items()]
    found += [Submission("honest mistake", f"mistake {i}", code) for i, code in enumerate(problem.wrong, start=1)]
    return found


def abuse(problem: Problem) -> list[Submission]:
    """Return the submissions that the truth table requires for one problem of each type."""
    return [
        Submission("abuse", name, code.replace("{entry_point}", problem.entry_point)) for name, code in ABUSE.items()
    ]
