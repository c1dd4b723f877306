"""A user's own environment: a proxy reward that training pays by, and a true reward that tells right from wrong.

Both are plain Python functions of an ``Attempt``. They run in the caller's process, in threads of the Judge: they are
trusted, and must not keep state. The submission runs in the sandbox, and what reaches a reward is plain data. Not
covered: flaws that need something beside the submission in the sandbox; write an ``ExploitType`` for those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from forewarn.errors import InputError
from forewarn.exploits.base import Call, Checker, Decision, Ending, ExploitType, Rule, Run, compare_all
from forewarn.exploits.source import Target
from forewarn.judge import codec
from forewarn.judge.inside.worker import attempt as call_foreign
from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase


@dataclass(frozen=True, slots=True)
class Result:
    """One call of the entry point."""

    args: tuple[object, ...]
    expected: object
    """the problem's expected value; the submission never saw it"""
    outcome: Literal["returned", "raised", "missing"]
    """missing: the run ended before this call was over"""
    value: object
    """what it returned, as plain data; None unless it returned"""
    error: str
    """qualified name of the exception's class, and its message; empty unless it raised"""
    correct: bool
    """whether our comparator says that ``value`` is ``expected``"""
    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission and what it did, one result a case of the problem."""

    source: str
    results: tuple[Result, ...]
    ending: Ending
    """finished: ran to its end"""


Reward = Callable[[Attempt], bool | float | None]
"""what an attempt is worth: True or at least ``Environment.pays_from`` is paid; None: can't tell, never "no" """


@dataclass(frozen=True, slots=True)
class Environment:
    """A task of the user's own as an exploit type. Raises ``InputError`` where it makes no sense."""

    name: str
    """the ``exploit_type`` of its problems; verdicts are remembered under it, so change it when a reward changes"""
    proxy: Reward
    """what training pays by"""
    true: Reward | None = None
    """what is wanted; None: every result is the expected value"""
    twin: Reward | None = None
    """the proxy without its flaw: what it pays too is an honest bug that weak tests let pass, and no exploit"""
    pays_from: float = 1.0
    """a reward given as a number counts as paid from here on"""

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("an environment's name is empty: give it one")
        for role, reward in (("proxy", self.proxy), ("true", self.true), ("twin", self.twin)):
            if not callable(reward) and not (reward is None and role != "proxy"):
                raise InputError(f"environment {self.name}, field {role}: is {reward!r}; give a function of an Attempt")
        if not math.isfinite(self.pays_from):
            raise InputError(f"environment {self.name}, field pays_from: is {self.pays_from}; give a finite number")

    @property
    def types(self) -> Mapping[str, ExploitType]:
        """For ``Judge(types=...)``."""
        vulnerable = Checker(rule=self._rule("proxy", self.proxy))
        kind = ExploitType(
            name=self.name,
            description=(self.proxy.__doc__ or "The proxy reward of a user's environment.").strip().split("\n")[0],
            hints=(),
            clues=(),
            vulnerable=vulnerable,
            patched=vulnerable if self.twin is None else Checker(rule=self._rule("twin", self.twin)),
            exploit=_no_exploit,
            intentional=True,
            split="spare",
            secure=Checker(rule=compare_all if self.true is None else self._rule("true", self.true)),
            has_twin=self.twin is not None,
        )
        return {self.name: kind}

    def problem(
        self,
        problem_id: str,
        *,
        question: str,
        entry_point: str,
        cases: Sequence[tuple[Sequence[object], object]],
        reference: str,
        exploit: str = "",
        wrong: Sequence[str] = (),
        float_tolerance: float | None = None,
    ) -> Problem:
        """A problem of this environment. ``cases``: pairs of positional arguments and expected value (None if there
        is none). ``exploit``: a submission that the proxy pays and should not, where one is known."""
        where = f"problem {problem_id!r} of environment {self.name}"
        if not cases:
            raise InputError(f"{where}, field cases: there are none; give at least one")
        for index, case in enumerate(cases):
            if not isinstance(case, tuple) or len(case) != 2 or not isinstance(case[0], (tuple, list)):
                raise InputError(f"{where}, field cases[{index}]: is {case!r}; give (arguments, expected value)")
        if not entry_point.isidentifier():
            raise InputError(f"{where}, field entry_point: {entry_point!r} is no name of a function")
        return Problem(
            problem_id=problem_id,
            task_id=problem_id,
            exploit_type=self.name,
            question=question,
            entry_point=entry_point,
            reference=reference,
            exploit=exploit,
            tests=tuple(TestCase(tuple(args), expected) for args, expected in cases),
            wrong=tuple(wrong),
            float_tolerance=float_tolerance,
        )

    def _rule(self, role: str, reward: Reward) -> Rule:
        def rule(run: Run) -> Decision:
            said, error = call_foreign(reward, _attempt(run))
            if error is not None:
                if not isinstance(error, Exception):
                    raise error
                return Decision(None, f"environment {self.name}, {role}: raised {type(error).__name__}: {error}")
            if said is None:
                return Decision(None, f"environment {self.name}, {role}: can't tell")
            if not isinstance(said, (bool, int, float)) or math.isnan(said):
                return Decision(None, f"environment {self.name}, {role}: gave {said!r}, which is no reward")
            paid = said if isinstance(said, bool) else said >= self.pays_from
            return Decision(paid, f"{role} reward {said!r}")

        return rule


def check_problem(judge: Judge, problem: Problem) -> None:
    """Raise ``InputError`` naming problem and field unless its reference is solved and its exploit, if any, is one."""
    for field, wanted in (("reference", "solved"), ("exploit", "exploit")):
        source = getattr(problem, field)
        if not source and field == "exploit":
            continue
        verdict = judge.verdicts([(problem, source)], audit=True)[0]
        if verdict.label != wanted:
            where = f"problem {problem.problem_id!r}, field {field}"
            raise InputError(f"{where}: is judged {verdict.label}, not {wanted}: {verdict.reason}")


def _attempt(run: Run) -> Attempt:
    results = [_result(call, test) for call, test in zip(run.calls, run.tests, strict=True)]
    return Attempt(run.source, tuple(results), run.ending)


def _result(call: Call, test: TestCase) -> Result:
    value: object = None
    if call.outcome == "returned":
        try:
            value = codec.decode(call.tree)
        except codec.CodecError:
            value = codec.Opaque("malformed")
    error = call.text.removeprefix("raised ") if call.outcome == "raised" else ""
    return Result(test.args, test.expected, call.outcome, value, error, call.correct, call.seconds)


def _no_exploit(target: Target) -> str:
    raise NotImplementedError("an environment's problems bring their own exploit")
