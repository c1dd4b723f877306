"""The two ways to judge a Djinn problem: by the verifier it brings, and by our pair for its type.

Either way secure is our own comparator on the problem's test cases, forgiving what Djinn and its format mean to: 8.0 is
8 and a named tuple a tuple, as in Python; tuples are lists where the cases came as JSON; and the order of a result is
free where the problem says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL, HANDED_OUT, ExploitType
from forewarn.exploits.source import literal
from forewarn.judge.embedded import PASSED, embedded_type
from forewarn.judge.loose import loosened
from forewarn.problems.djinn.row import NOTATION, field_of
from forewarn.records import Problem

VERIFIER = "insecure_verifier"
"""the field that holds a problem's own verifier"""
TYPES_COUNT = "type_confusion"
"""the exploit type whose flaw is that 8.0 passes for 8: there it stays wrong"""
STATUS = "exploit_expected_status"
"""the field that holds the status by which the verifier pays its exploit; absent: "passed" """


@dataclass(frozen=True, slots=True)
class Judgeable:
    """A problem and the type under which it is judged."""

    problem: Problem
    kind: ExploitType

    @property
    def types(self) -> Mapping[str, ExploitType]:
        """For ``Judge(types=...)``."""
        return {self.problem.exploit_type: self.kind}


def by_own_verifier(problem: Problem) -> Judgeable:
    """``problem`` as its own verifier judges it, under a type of its own. Raises ``InputError`` where it has none."""
    verifier = field_of(problem, VERIFIER)
    if not isinstance(verifier, str) or not verifier.strip():
        raise InputError(f"problem {problem.problem_id!r}, field {VERIFIER}: there is none; judge it by our pair")
    name = f"{problem.exploit_type}, own verifier of {problem.problem_id}"
    cases = field_of(problem, "test_cases")
    accepted = {PASSED, str(field_of(problem, STATUS) or PASSED)}
    kind = embedded_type(
        name, verifier, test_cases=cases if isinstance(cases, str) else _text(cases), accepted=accepted
    )
    return _forgiving(problem, kind)


def _text(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return literal(value)


def by_our_pair(problem: Problem) -> Judgeable:
    """``problem`` as our pair for its type judges it. Raises ``InputError`` where there is none, or it lacks tests."""
    kind = EXPLOIT_TYPES.get(problem.exploit_type)
    where = f"problem {problem.problem_id!r}, field exploit_type"
    if kind is None:
        raise InputError(f"{where}: {problem.exploit_type!r} has no pair of ours; judge it by its own verifier")
    if kind.vulnerable.hands == "answers" and not problem.named_tests.get(HANDED_OUT):
        problem = _halved(problem, where)
    lacking = [name for name in (*kind.vulnerable.tests, *kind.patched.tests) if name != FULL]
    lacking = [name for name in lacking if not problem.named_tests.get(name)]
    if lacking:
        raise InputError(f"{where}: {kind.name} tests a set named {lacking[0]!r}, for which the problem has no cases")
    if not kind.fits(problem):
        raise InputError(f"{where}: {kind.name} does not fit this task: {kind.description}")
    return _forgiving(problem, kind)


def _halved(problem: Problem, where: str) -> Problem:
    """The problem with every other test as one that may be handed out, which the secure judgement then does without.

    The rest of the tests is what tells right from wrong, so a leak has to be worth nothing there.
    """
    kept, handed = problem.tests[::2], problem.tests[1::2]
    if len({literal(test.expected) for test in handed}) < 2:
        raise InputError(
            f"{where}: {problem.exploit_type} hands out the answers of every other test, and the problem's "
            f"{len(problem.tests)} tests have too few different ones; judge it by its own verifier"
        )
    return replace(problem, tests=kept, named_tests={**problem.named_tests, HANDED_OUT: handed})


def distinct(problems: Sequence[Judgeable]) -> dict[str, ExploitType]:
    """The types of several problems in one dict, each under a name of its own. Raises ``InputError`` for two alike."""
    types: dict[str, ExploitType] = {}
    for item in problems:
        for name, kind in item.types.items():
            if types.setdefault(name, kind) != kind:
                raise InputError(f"two types are named {name!r}: give each its own name")
    return types


def _forgiving(problem: Problem, kind: ExploitType) -> Judgeable:
    """The problem under a kind that forgives what Djinn forgives everywhere, and what this problem asks for."""
    any_sequence = problem.extra.get(NOTATION) == "json"
    any_order = field_of(problem, "order_dependent") is False
    as_python = problem.exploit_type != TYPES_COUNT
    kind = _loosened(kind, any_sequence, any_order, as_python, problem.float_tolerance)
    return Judgeable(replace(problem, exploit_type=kind.name), kind)


@cache
def _loosened(
    kind: ExploitType, any_sequence: bool, any_order: bool, as_python: bool, tolerance: float | None
) -> ExploitType:
    """One object for equal settings, so that problems share a type."""
    forgiven = (
        ["as Python compares" if as_python else "types count"]
        + ["tuples are lists"] * any_sequence
        + ["any order"] * any_order
    )
    forgiven += [] if tolerance is None else [f"within {tolerance:g}"]
    name = f"{kind.name} ({', '.join(forgiven)})"
    return loosened(
        kind,
        name,
        any_sequence=any_sequence,
        any_order=any_order,
        as_python=as_python,
        typing_names=True,
        tolerance=tolerance,
    )
