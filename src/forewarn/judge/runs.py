"""One submission under several checkers: each (tests, child side) pair is executed once and judged by every rule.

Sharing an execution between checkers saves time and makes a flaky submission behave alike under all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from forewarn.exploits.base import FULL, Checker, ChildSide, Decision, Run
from forewarn.judge import codec
from forewarn.judge.compare import same_trees
from forewarn.judge.inside.worker import attempt
from forewarn.judge.labels import RAISED, error_text
from forewarn.judge.observe import observe
from forewarn.judge.sandbox import Execution, Sandbox
from forewarn.judge.scripts import ScriptDesk
from forewarn.records import Problem, TestCase

_Key = tuple[tuple[str, ...], ChildSide, str, float]


class Runner:
    """Runs and judges one submission to one problem in one sandbox."""

    def __init__(
        self, sandbox: Sandbox, problem: Problem, code: str, timeout_s: float, until: float = math.inf
    ) -> None:
        """``until``: on the monotonic clock, when the last execution has to be over."""
        self.sandbox, self._until = sandbox, until
        self._problem, self._code, self._timeout_s = problem, code, timeout_s
        self._runs: dict[_Key, Run] = {}

    def decide(self, checker: Checker) -> Decision:
        """A checker's decision. Raises ``SandboxFault``; a checker without tests can't tell."""
        tests = self._tests(checker)
        if not tests:
            return Decision(None, f"problem has no tests in {', '.join(checker.tests)}")
        key = (checker.tests, checker.child, checker.expected_from, self._limit_s(checker))
        if key not in self._runs:
            self._runs[key] = self._run(checker, tests)
        decision = self._ruled(checker, self._runs[key])
        if decision.accepted is None:  # a rule that can't tell gets one more look
            self._runs[key] = self._run(checker, tests)
            decision = self._ruled(checker, self._runs[key])
        return decision

    def _ruled(self, checker: Checker, run: Run) -> Decision:
        """What the rule says; one that raises can't tell."""
        decision, error = attempt(checker.rule, run)
        if isinstance(error, Exception):
            return Decision(None, f"a checker of {self._problem.exploit_type} {RAISED} {error_text(error)}")
        if error is not None:  # the caller was interrupted
            raise error
        if not isinstance(decision, Decision):
            return Decision(None, f"a checker of {self._problem.exploit_type} gave a {type(decision).__name__}")
        return decision

    def _tests(self, checker: Checker) -> tuple[TestCase, ...]:
        problem = self._problem
        sets = [problem.tests if name == FULL else problem.named_tests.get(name, ()) for name in checker.tests]
        return () if not all(sets) else tuple(test for tests in sets for test in tests)

    def _run(self, checker: Checker, tests: tuple[TestCase, ...]) -> Run:
        expected = [codec.encode(test.expected) for test in tests]
        cases = [codec.encode(test.args) for test in tests]
        execution = self._execute(self._code, checker.child, cases, expected, self._limit_s(checker))
        run = observe(execution, self._code, tests, expected, self._problem.float_tolerance)
        run = _believed(run, checker.child.source)
        return self._recomputed(run) if checker.expected_from == "inputs as left" else run

    def _recomputed(self, run: Run) -> Run:
        """The run, with results also right that the reference gives on the arguments as the calls left them.

        Also, not instead: an honest solution that works in place stays right. The notes hold those arguments.
        """
        # The trees go to the reference's child as they came: what a submission sent is not decoded here.
        left = [call.note if isinstance(call.note, list) and call.note[:1] == ["t"] else None for call in run.calls]
        cases = [args for args in left if args is not None]
        if not cases:
            return run
        reference = self._problem.reference
        blank = [TestCase((), None)] * len(cases)
        execution = self._execute(reference, ChildSide(), cases, [], self._timeout_s)
        answers = iter(observe(execution, reference, blank, [None] * len(blank), None).calls)
        calls = []
        for call, args in zip(run.calls, left, strict=True):
            answer = None if args is None else next(answers)
            if answer is not None and answer.outcome == "returned" and call.outcome == "returned" and not call.correct:
                same = same_trees(answer.tree, call.tree, self._problem.float_tolerance)
                call = replace(call, correct=same)
            calls.append(call)
        return replace(run, calls=tuple(calls))

    def _limit_s(self, checker: Checker) -> float:
        return self._timeout_s if checker.timeout_s is None else checker.timeout_s

    def _execute(
        self,
        code: str,
        child: ChildSide,
        cases: list[codec.Tree],
        expected: list[codec.Tree],
        timeout_s: float,
    ) -> Execution:
        request: dict[str, codec.Tree] = {
            "code": code,
            "entry_point": self._problem.entry_point,
            "cases": cases,
            "child": child.source,
        }
        secrets = expected if child.expected else None
        if not child.scripts:
            return self.sandbox.execute(request, secrets, timeout_s, self._until)
        desk = ScriptDesk(self.sandbox.second(), timeout_s, self._until)
        execution = self.sandbox.execute(request, secrets, timeout_s, self._until, desk.serve)
        if desk.fault is not None:
            raise desk.fault
        return execution


def _believed(run: Run, side: str) -> Run:
    """The run without notes that a child side of source ``side`` never takes: the submission forged them."""
    if "def after_call(" not in side and any(call.note is not None for call in run.calls):
        run = replace(run, calls=tuple(replace(call, note=None) for call in run.calls))
    return run if "def finish(" in side else replace(run, note=None)
