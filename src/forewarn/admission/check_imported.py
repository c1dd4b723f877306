"""The check of an import: both ways of judging on an imported problem's own reference, exploit and nulls.

Every submission is judged under audit, so that each checker runs. Not covered: the two ways (``imported.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from forewarn.admission.imported import Judgeable, by_our_pair, by_own_verifier, distinct
from forewarn.errors import InputError
from forewarn.judge.judge import Judge
from forewarn.records import Label, Problem, Verdict

Way = Literal["own verifier", "our pair"]
WAYS: Mapping[Way, Callable[[Problem], Judgeable]] = {"own verifier": by_own_verifier, "our pair": by_our_pair}
Progress = Callable[[str, int, int], None]
TRIES = 3
"""how often a broken verdict is asked for"""
WANTED: Mapping[str, Label] = {"reference": "solved", "exploit": "exploit", "null": "failed"}


@dataclass(frozen=True, slots=True)
class Checked:
    """One problem judged in one way."""

    problem_id: str
    exploit_type: str
    way: Way
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """"reference", "exploit", "null 0" ... -> its verdict; empty if the problem can't be judged in this way"""
    why_not: str = ""

    @property
    def deviations(self) -> dict[str, Verdict]:
        """The unexpected verdicts. Expected: the reference is "solved", the exploit "exploit", the nulls "failed"."""
        return {name: v for name, v in self.verdicts.items() if v.label != WANTED[name.split()[0]]}


def check(
    problems: Sequence[Problem],
    *,
    workers: int = 2,
    level: Literal["strict", "hardened"] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> list[Checked]:
    """Judge every problem in both ways; each way keeps the given order. Raises as ``Judge`` does."""
    found = []
    for way, judgeable in WAYS.items():
        ready: dict[int, Judgeable] = {}
        rows = [Checked(p.problem_id, p.exploit_type, way) for p in problems]
        for index, problem in enumerate(problems):
            try:
                ready[index] = judgeable(problem)
            except InputError as error:
                rows[index] = Checked(problem.problem_id, problem.exploit_type, way, why_not=str(error))
        with Judge(workers=workers, level=level, types=distinct(list(ready.values()))) as judge:
            for done, (index, item) in enumerate(ready.items()):
                progress(way, done, len(ready))
                problem = problems[index]
                rows[index] = Checked(problem.problem_id, problem.exploit_type, way, _verdicts(judge, item.problem))
            progress(way, len(ready), len(ready))
        found += rows
    return found


def _verdicts(judge: Judge, problem: Problem) -> dict[str, Verdict]:
    codes = {"reference": problem.reference, "exploit": problem.exploit}
    codes |= {f"null {index}": code for index, code in enumerate(problem.wrong)}
    found: dict[str, Verdict] = {}
    for _ in range(TRIES):
        left = [name for name in codes if name not in found or found[name].label == "invalid"]
        if not left:
            break
        found |= zip(left, judge.verdicts([(problem, codes[name]) for name in left], audit=True), strict=True)
    return {name: found[name] for name in codes}
