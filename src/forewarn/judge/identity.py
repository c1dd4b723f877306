"""Which problems are one and the same to a Judge: a key of all that a verdict may follow from.

Problems of one id need not be one: a set may have been mended, or two sets may share a name. Not covered: what a store
keys its verdicts by.
"""

from __future__ import annotations

import itertools
import threading

from forewarn.records import Problem, TestCase, content_key
from forewarn.sandbox import codec

LIMIT = 50_000
"""problems remembered at most"""


class ProblemKeys:
    """Keys of problems, each worked out once an object. Any number of threads may ask."""

    def __init__(self) -> None:
        # The problem is kept beside its key: an id is its own only as long as it lives.
        self._held: dict[int, tuple[Problem, str]] = {}
        self._lock = threading.Lock()
        self._serial = itertools.count()

    def of(self, problem: Problem) -> str:
        """Equal for problems of equal content; values that are no plain data are equal to nothing but themselves."""
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
        sets = {"": problem.tests, **{f"named {name}": tests for name, tests in problem.named_tests.items()}}
        data = {name: _encoded(tests) for name, tests in sets.items()}
        parts: list[object] = [problem.problem_id, problem.exploit_type, problem.entry_point, problem.reference]
        parts += [repr(problem.float_tolerance), {name: text for name, (text, _) in data.items()}]
        if not all(plain for _, plain in data.values()):
            parts.append(next(self._serial))
        return content_key("problem", *parts)


def _encoded(tests: tuple[TestCase, ...]) -> tuple[str, bool]:
    """Text of some tests, and whether all of their values are plain data."""
    text = "\n".join(codec.dumps(codec.encode(part)).decode() for test in tests for part in (test.args, test.expected))
    return text, '["o",' not in text  # in a string the quotes would be escaped
