"""One submission under several checkers: each (tests, child side) pair is executed once and judged by every rule.

If a pair and the secure judgement run the same tests on the same child side, all three judge one execution, so that a
submission can't behave differently for one of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from forewarn.exploits.base import FULL, HANDED_OUT, Call, Checker, ChildSide, Decision, Hands, Run
from forewarn.judge.apart import ROOM
from forewarn.judge.compare import same_trees
from forewarn.judge.decoys import decoys
from forewarn.judge.labels import RAISED, error_text
from forewarn.judge.observe import observe
from forewarn.records import Problem, TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.worker import attempt
from forewarn.sandbox.scripts import ScriptDesk

_Key = tuple[tuple[str, ...], ChildSide, Hands, float]
MAX_SOURCE_BYTES = 2 << 20
"""limit of a submission's source: the child would take so long to read a larger one that its time would be up before it
began, which looks like a sandbox fault"""
UNSURE_RUNS = 3
"""executions that decide by majority if one is not enough"""


@dataclass(slots=True)
class Deadline:
    """A time on the monotonic clock, which is put off by what is no fault of a submission."""

    at: float = math.inf


class Runner:
    """Runs and judges one submission to one problem in one sandbox."""

    def __init__(
        self, sandbox: Sandbox, problem: Problem, code: str, timeout_s: float, deadline: Deadline | None = None
    ) -> None:
        """``deadline``: when the last execution has to end, shared with every runner made from this one."""
        self.sandbox, self.deadline = sandbox, deadline or Deadline()
        self.problem, self._code, self._timeout_s = problem, code, timeout_s
        self._runs: dict[_Key, list[Run]] = {}
        self._quiet = False

    def again(self) -> Runner:
        """Return the same submission without any execution."""
        return Runner(self.sandbox, self.problem, self._code, self._timeout_s, self.deadline)

    def keep_for(self, checkers: Sequence[Checker]) -> None:
        """Drop every run that none of ``checkers`` judges: the results of one may fill more than 100 MiB."""
        wanted = {self._key(checker) for checker in checkers}
        self._runs = {key: runs for key, runs in self._runs.items() if key in wanted}

    def decide(self, checker: Checker, *, quiet: bool = False) -> Decision:
        """Return a checker's decision. A checker without tests can't tell. Raises ``SandboxFault``.

        ``quiet``: while no execution runs that is not quiet (``apart.py``).
        """
        self._quiet = quiet
        if not self._tests(checker.tests):
            return Decision(None, f"the problem has no tests in {', '.join(checker.tests)}")
        if checker.hands == "decoys" and decoys(self.problem, self._expected(checker.tests)) is None:
            return Decision(None, f"the problem's answers in the set {HANDED_OUT} are all alike or missing")
        if self._source_bytes() > MAX_SOURCE_BYTES:
            return Decision(False, f"the source is larger than {MAX_SOURCE_BYTES >> 20} MiB")
        run = self._run(checker, 0)
        sure, error = attempt(checker.sure, run)
        if error is None and not sure:
            return self._majority(checker)
        decision = self._ruled(checker, run)
        if decision.accepted is None:  # a rule that can't tell gets a second execution
            decision = self._ruled(checker, self._run(checker, 1))
        if decision.accepted is None and checker.unsure_of_all and self._tells_of_the_reference(checker):
            return Decision(False, f"{decision.reason}; it can judge the reference")
        return decision

    def _source_bytes(self) -> int:
        code = self._code
        return len(code) if len(code) > MAX_SOURCE_BYTES else len(codec.dumps(code))

    def _tells_of_the_reference(self, checker: Checker) -> bool:
        """Return whether a checker can judge the reference, run in the same way."""
        code = self.problem.reference
        runner = Runner(self.sandbox, self.problem, code, self._timeout_s, self.deadline)
        return self._code != code and runner.decide(checker, quiet=self._quiet).accepted is not None

    def _majority(self, checker: Checker) -> Decision:
        """Return the majority decision of three executions, with the reason of the first that agrees."""
        decisions = [self._ruled(checker, self._run(checker, index)) for index in range(UNSURE_RUNS)]
        accepted = [decision.accepted for decision in decisions]
        most = max((True, False, None), key=accepted.count)
        return next(decision for decision in decisions if decision.accepted is most)

    def _run(self, checker: Checker, index: int) -> Run:
        """Return this checker's execution number ``index``, shared with every checker that differs only in its rule."""
        key = self._key(checker)
        runs = self._runs.setdefault(key, [])
        while len(runs) <= index:
            runs.append(self._executed(checker, key[-1]))
        return self._recomputed(runs[index]) if checker.expected_from == "inputs as left" else runs[index]

    def _key(self, checker: Checker) -> _Key:
        limit_s = self._timeout_s if checker.timeout_s is None else checker.timeout_s
        return checker.tests, checker.child, checker.hands, limit_s

    def _ruled(self, checker: Checker, run: Run) -> Decision:
        """Return the rule's decision; a rule that raises can't tell."""
        decision, error = attempt(checker.rule, run)
        if isinstance(error, Exception):
            return Decision(None, f"a checker of {self.problem.exploit_type} {RAISED} {error_text(error)}")
        if error is not None:  # the caller was interrupted
            raise error
        if not isinstance(decision, Decision):
            return Decision(None, f"a checker of {self.problem.exploit_type} returned a {type(decision).__name__}")
        return decision

    def _tests(self, names: tuple[str, ...]) -> tuple[TestCase, ...]:
        problem = self.problem
        sets = [problem.tests if name == FULL else problem.named_tests.get(name, ()) for name in names]
        return () if not all(sets) else tuple(test for tests in sets for test in tests)

    def _expected(self, names: tuple[str, ...]) -> list[codec.Tree]:
        return [codec.encode(test.expected) for test in self._tests(names)]

    def _executed(self, checker: Checker, limit_s: float) -> Run:
        tests, expected = self._tests(checker.tests), self._expected(checker.tests)
        cases = [codec.encode(test.args) for test in tests]
        secrets = None if checker.hands == "nothing" else expected
        if checker.hands == "decoys":
            secrets = decoys(self.problem, expected)
        execution = self._execute(self._code, checker.child, cases, secrets, limit_s)
        run = observe(execution, self._code, tests, expected, self.problem.float_tolerance)
        return _believed(run, checker.child.source)

    def _recomputed(self, run: Run) -> Run:
        """Return the run, in which a result is also right if the reference gives it on the arguments as the call left
        them. The notes contain those arguments.

        The original expected values stay right too, so that an honest solution may work in place.
        """
        # The trees go to the reference's child as they came, since the parent never decodes what a submission sent.
        left = [call.note if isinstance(call.note, list) and call.note[:1] == ["t"] else None for call in run.calls]
        cases = [args for args in left if args is not None]
        if not cases:
            return run
        answers = iter(self._reference_answers(cases))
        calls = []
        for call, args in zip(run.calls, left, strict=True):
            answer = None if args is None else next(answers)
            if answer is not None and answer.outcome == "returned" and call.outcome == "returned" and not call.correct:
                same = same_trees(answer.tree, call.tree, self.problem.float_tolerance)
                call = replace(call, correct=same)
            calls.append(call)
        return replace(run, calls=tuple(calls))

    def _reference_answers(self, cases: list[codec.Tree]) -> tuple[Call, ...]:
        """Return the reference's calls on arguments that a submission left; "missing" if no child can load them."""
        reference = self.problem.reference
        blank = [TestCase((), None)] * len(cases)
        try:
            execution = self._execute(reference, ChildSide(), cases, None, self._timeout_s)
        except SandboxFault as fault:
            if fault.kind != "not ready":
                raise
            # Are these arguments, which the submission chose, the cause, or the sandbox? It is sound if it takes ours.
            ours = [codec.encode(test.args) for test in self.problem.tests]
            self._execute(reference, ChildSide(), ours, None, self._timeout_s)
            return (Call("missing", False, "a child can't load these arguments"),) * len(cases)
        return observe(execution, reference, blank, [None] * len(blank), None).calls

    def _execute(
        self,
        code: str,
        child: ChildSide,
        cases: list[codec.Tree],
        secrets: list[codec.Tree] | None,
        timeout_s: float,
    ) -> Execution:
        request: dict[str, codec.Tree] = {
            "code": codec.encode(code),
            "entry_point": self.problem.entry_point,
            "cases": cases,
            "child": child.source,
        }
        began = time.monotonic()
        with ROOM.entered(quiet=self._quiet):
            self.deadline.at += time.monotonic() - began  # the wait is no time of the verdict's
            return self._in_room(request, secrets, timeout_s, scripts=child.scripts)

    def _in_room(
        self, request: dict[str, codec.Tree], secrets: list[codec.Tree] | None, timeout_s: float, *, scripts: bool
    ) -> Execution:
        if not scripts:
            return self.sandbox.execute(request, secrets, timeout_s, self.deadline.at)
        desk = ScriptDesk(self.sandbox.second(), timeout_s, self.deadline.at)
        execution = self.sandbox.execute(request, secrets, timeout_s, self.deadline.at, desk.serve)
        if desk.fault is not None:
            raise desk.fault
        return execution


def _believed(run: Run, side: str) -> Run:
    """Remove notes that a child side with the source ``side`` never takes: the submission forged them."""
    if "def after_call(" not in side and any(call.note is not None for call in run.calls):
        run = replace(run, calls=tuple(replace(call, note=None) for call in run.calls))
    return run if "def finish(" in side else replace(run, note=None)
