"""A user's own environment: a proxy reward that training uses, and a true reward that tells right from wrong.

Both are plain Python functions of an ``Attempt``. They run in the caller's process, in threads of the Judge; they are
trusted, and must not keep state. The submission runs in the sandbox, and rewards see only plain data. Not covered:
flaws that need something beside the submission in the sandbox; write an ``ExploitType`` for those.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from forewarn.errors import InputError
from forewarn.exploits.base import Call, Checker, Decision, Ending, ExploitType, Rule, Run, compare_all
from forewarn.exploits.source import Target
from forewarn.judge.judge import Judge
from forewarn.judge.labels import error_text
from forewarn.records import Problem, TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.inside.worker import attempt as call_foreign

_SHOWN = 100
"""maximum length of a reward shown in a reason, characters"""


@dataclass(frozen=True, slots=True)
class Result:
    """One call of the entry point."""

    args: tuple[object, ...]
    expected: object
    """the problem's expected value; the submission never saw it"""
    outcome: Literal["returned", "raised", "missing"]
    """missing: the run ended before this call did"""
    value: object
    """the returned value as plain data; None unless it returned"""
    error: str
    """qualified name of the exception's class, and its message; empty unless it raised"""
    correct: bool
    """whether forewarn's comparator accepts ``value`` as ``expected``"""
    seconds: float
    """wall clock, measured by the judge; see ``forewarn.exploits.base.Call``"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission with its results, one per case of the problem."""

    source: str
    results: tuple[Result, ...]
    ending: Ending
    """finished: ran to its end"""


Reward = Callable[[Attempt], bool | float | None]
"""A reward function. True or a number of at least ``Environment.pays_from`` means paid; None means that the reward
can't tell, which is never a "no". Any real number is accepted, and so are NumPy's booleans and numbers."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A user's own task as an exploit type. Raises ``InputError`` for unusable fields."""

    name: str
    """the ``exploit_type`` of its problems; verdicts are stored under it, so change it when a reward changes"""
    proxy: Reward
    """the reward that training uses"""
    true: Reward | None = None
    """the reward for what is really wanted; None: every result must be the expected value"""
    twin: Reward | None = None
    """the proxy without its flaw: a wrong submission that it also pays is an honest bug, not an exploit"""
    pays_from: float = 1.0
    """a reward given as a number counts as paid from this value upward"""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"an environment's name is {self.name!r}: give it as text")
        if not self.name.strip():
            raise InputError("an environment's name is empty: give it one")
        for role, reward in (("proxy", self.proxy), ("true", self.true), ("twin", self.twin)):
            if not callable(reward) and not (reward is None and role != "proxy"):
                raise InputError(f"environment {self.name}, field {role}: is {reward!r}; give a function of an Attempt")
        pays = self.pays_from
        if not _is_number(pays) or not -math.inf < pays < math.inf:
            raise InputError(f"environment {self.name}, field pays_from: is {pays!r}; give a finite number")

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
        """Make a problem of this environment.

        ``cases``: pairs of positional arguments and an expected value (None if unknown). ``exploit``: a submission
        that the proxy pays but should not, if you know one. Raises ``InputError`` naming problem and field.
        """
        where = f"problem {problem_id!r} of environment {self.name}"
        texts = {"problem_id": problem_id, "question": question, "reference": reference, "exploit": exploit}
        for field, text in texts.items():
            if not isinstance(text, str):
                raise InputError(f"{where}, field {field}: is {text!r}; give text")
        _check_cases(where, cases)
        if not isinstance(entry_point, str) or not entry_point.isidentifier() or keyword.iskeyword(entry_point):
            raise InputError(f"{where}, field entry_point: {entry_point!r} is not the name of a function")
        if isinstance(wrong, str) or not all(isinstance(code, str) for code in _listed(where, "wrong", wrong)):
            raise InputError(f"{where}, field wrong: is {wrong!r}; give a list of sources")
        if float_tolerance is not None and not (_is_number(float_tolerance) and 0 <= float_tolerance < math.inf):
            raise InputError(
                f"{where}, field float_tolerance: is {float_tolerance!r}; give a number from 0 on, or None"
            )
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
                return Decision(None, f"environment {self.name}, {role}: raised {error_text(error)}")
            if said is None:
                return Decision(None, f"environment {self.name}, {role}: can't tell")
            if not _is_reward(said):
                return Decision(None, f"environment {self.name}, {role}: gave {_shown(said)}, which is not a reward")
            paid = bool(said) if _is_truth(said) else bool(said >= self.pays_from)
            return Decision(paid, f"{role} reward {_shown(said)}")

        return rule


def check_problem(judge: Judge, problem: Problem) -> None:
    """Raise ``InputError`` unless the problem's reference is "solved" and its exploit, if it has one, an "exploit"."""
    for field, wanted in (("reference", "solved"), ("exploit", "exploit")):
        source = getattr(problem, field)
        if not source and field == "exploit":
            continue
        verdict = judge.verdicts([(problem, source)], audit=True)[0]
        if verdict.label != wanted:
            where = f"problem {problem.problem_id!r}, field {field}"
            raise InputError(f"{where}: is judged {verdict.label}, not {wanted}: {verdict.reason}")


def _check_cases(where: str, cases: object) -> None:
    listed = _listed(where, "cases", cases)
    if not listed:
        raise InputError(f"{where}, field cases: is empty; give at least one case")
    for index, case in enumerate(listed):
        if not isinstance(case, tuple) or len(case) != 2 or not isinstance(case[0], (tuple, list)):
            raise InputError(f"{where}, field cases[{index}]: is {case!r}; give (arguments, expected value)")


def _listed(where: str, field: str, value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}, field {field}: is {value!r}; give a list")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_truth(said: object) -> bool:
    """Return whether it is a bool, or NumPy's bool, which is not a subclass of it (NumPy need not be imported)."""
    kind = type(said)
    return kind is bool or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def _is_reward(said: object) -> bool:
    return _is_truth(said) or (isinstance(said, Real) and said == said)  # NaN alone differs from itself


def _shown(said: object) -> str:
    """Return a short text of a reward's result; it may be unprintable."""
    text, _ = call_foreign(repr, said)
    return text if isinstance(text, str) and len(text) <= _SHOWN else f"of type {type(said).__name__}"


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
