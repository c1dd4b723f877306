"""Which problems a Judge treats as the same: a key made of everything that a verdict can depend on.

Problems with the same id may differ: a set may have been corrected, or two sets may share a name. Not covered: the keys
under which a run folder stores verdicts.
"""

from __future__ import annotations

import secrets
import threading

from forewarn.errors import InputError
from forewarn.exploits.base import HANDED_OUT
from forewarn.exploits.source import arguments_key
from forewarn.records import Problem, TestCase, content_key
from forewarn.sandbox import codec

LIMIT = 50_000
"""maximum number of problems remembered"""


class ProblemKeys:
    """Keys of problems, each computed once per object. It may be used from any number of threads."""

    def __init__(self) -> None:
        # The problem is kept beside its key, since Python may reuse the id of an object that is gone.
        self._held: dict[int, tuple[Problem, str]] = {}
        self._lock = threading.Lock()

    def of(self, problem: Problem) -> str:
        """Return a problem's key, equal for equal content; a problem with values that aren't plain data is unique.

        Raises ``InputError`` if its full tests contain a test whose answer is handed out.
        """
        with self._lock:
            held = self._held.get(id(problem))
        if held is not None:
            return held[1]
        key = self._made(problem)
        with self._lock:
            if len(self._held) >= LIMIT:
                self._held.clear()
            return self._held.setdefault(id(problem), (problem, key))[1]

    def _made(self, problem: Problem) -> str:
        _check_worthless(problem)
        sets = {"": problem.tests, **{f"named {name}": tests for name, tests in problem.named_tests.items()}}
        data = {name: _encoded(tests) for name, tests in sets.items()}
        parts: list[object] = [problem.problem_id, problem.exploit_type, problem.entry_point, problem.reference]
        parts += [repr(problem.float_tolerance), {name: text for name, (text, _) in data.items()}]
        if not all(plain for _, plain in data.values()):
            parts.append(secrets.token_hex(16))  # keys may be stored, so unlike a count they differ between processes
        return content_key("problem", *parts)


def _check_worthless(problem: Problem) -> None:
    """Raise ``InputError`` if an answer that is handed out would help in the secure judgement."""
    handed = problem.named_tests.get(HANDED_OUT)
    if not handed:
        return
    tested = {arguments_key(test.args) for test in problem.tests}
    for index, test in enumerate(handed):
        if arguments_key(test.args) in tested:
            raise InputError(
                f"problem {problem.problem_id!r}, field named_tests.{HANDED_OUT}[{index}]: has the arguments of a test "
                "in the field tests, so that a leaked answer would help there; give other arguments"
            )


def _encoded(tests: tuple[TestCase, ...]) -> tuple[str, bool]:
    """Return the text of some tests, and whether all of their values are plain data."""
    text = "\n".join(codec.dumps(codec.encode(part)).decode() for test in tests for part in (test.args, test.expected))
    return text, '["o",' not in text  # in a string the quotes would be escaped
