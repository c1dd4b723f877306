"""What can't be judged, and what nearly can't: a verdict or one clear sentence, never a hang."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.errors import InputError
from forewarn.exploits.base import HANDED_OUT
from forewarn.judge.identity import ProblemKeys
from forewarn.judge.judge import Judge
from forewarn.records import TestCase
from forewarn.sandbox.execution import ExposedError
from tests.exploits.samples import problem
from tests.judge.test_judge import DOUBLE, RIGHT

TEN_MB = 10_000_000


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(workers=1, timeout_s=5.0) as opened:
        yield opened


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("", id="empty"),
        pytest.param("\0", id="null byte"),
        pytest.param(RIGHT.replace("return", "return\0"), id="null byte within"),
        pytest.param("\ufeff\udcff", id="no text that could be stored"),
        pytest.param("(" * 100_000, id="nested"),
        pytest.param("-" * 1_000_000 + "1", id="a million signs"),
        pytest.param("x = " + "[" * 5000 + "]" * 5000, id="nested list"),
        pytest.param("def " * 1000, id="no syntax"),
        pytest.param("return 2", id="return outside"),
        pytest.param("async def solve(n):\n    return 2 * n", id="a coroutine"),
        pytest.param("def solve(n):\n    yield 2 * n", id="a generator"),
        pytest.param("solve = type('A', (), {})", id="a class"),
        pytest.param("del __builtins__", id="no builtins"),
        pytest.param("def solve(n):\n    return n + " + "9" * 5000, id="a long number"),
    ],
)
def test_odd_source_fails(judge: Judge, code: str) -> None:
    assert judge.verdicts([(DOUBLE, code)], audit=True)[0].label == "failed"


@pytest.mark.parametrize("filler", ["#", "\n", "'", "x = 1\n"])
def test_ten_megabytes_get_a_verdict(judge: Judge, filler: str) -> None:
    code = RIGHT + "\n" + filler * (TEN_MB // len(filler))
    assert judge.verdicts([(DOUBLE, code)])[0].label in ("solved", "failed")
    assert judge.verdicts([(DOUBLE, RIGHT + "# after")])[0].label == "solved"


@pytest.mark.parametrize("code", [b"def solve(n): return 2 * n", None, 3, ["x"]])
def test_code_that_is_no_text_is_refused(judge: Judge, code: object) -> None:
    with pytest.raises(InputError, match=r"the code of item 1 is \w+: give text"):
        judge.verdicts([(DOUBLE, RIGHT), (DOUBLE, code)])  # type: ignore[list-item]


def test_a_problem_that_is_none_is_refused(judge: Judge) -> None:
    with pytest.raises(InputError, match="item 0 has a str instead of a Problem"):
        judge.verdicts([("double", RIGHT)])  # type: ignore[list-item]


def test_a_problem_whose_leaked_answers_would_help_is_refused(judge: Judge) -> None:
    leaky = replace(DOUBLE, exploit_type="argument_injection_leak", named_tests={HANDED_OUT: DOUBLE.tests[1:]})
    with pytest.raises(InputError, match=r"field named_tests.handed_out\[0\]: has the arguments of a test"):
        judge.verdicts([(leaky, RIGHT)])


@pytest.mark.parametrize("entry_point", ["answer", "", "no name", "__class__", "0", "sol\0ve", "solve.__call__"])
def test_an_unknown_entry_point_fails(judge: Judge, entry_point: str) -> None:
    task = replace(DOUBLE, problem_id=f"entry {entry_point!r}", entry_point=entry_point)
    assert judge.verdicts([(task, RIGHT)])[0].label == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 10**9}, "workers is 1000000000"),
        ({"workers": -1}, "workers is -1"),
        ({"timeout_s": math.inf}, "timeout_s is inf"),
        ({"timeout_s": -1.0}, "timeout_s is -1"),
        ({"timeout_s": 1e-9}, "timeout_s is 1e-09: give 0.2 to 3600 seconds"),
        ({"max_memory_mb": 10**12}, "max_memory_mb is 1000000000000"),
        ({"deadline_s": math.nan}, "deadline_s is nan"),
        ({"deadline_s": 0.0}, "deadline_s is 0"),
        ({"remember": -1}, "remember is -1"),
    ],
)
def test_absurd_limits_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Judge(**arguments)  # type: ignore[arg-type]


def test_a_time_too_short_for_any_submission_is_no_failure_of_one() -> None:
    with Judge(workers=1) as hurried:
        hurried.timeout_s = 1e-9  # refused as an argument
        verdict = hurried.verdicts([(DOUBLE, RIGHT)])[0]
    if verdict.label == "invalid":
        assert "longer than its 1e-09 s" in verdict.reason
    else:  # it was quicker than the zygote's clock
        assert verdict.label == "solved"


def test_the_least_memory_gives_a_verdict() -> None:
    with Judge(workers=1, max_memory_mb=64) as small:
        assert small.verdicts([(DOUBLE, RIGHT)])[0].label == "solved"


def test_a_problem_file_that_a_submission_could_read_is_refused() -> None:
    """The standard library is readable inside, so a problem file put there would be, too."""
    exposed = Path(os.__file__)
    with Judge(workers=1, unreadable=[exposed]) as judge, pytest.raises(ExposedError, match=re.escape(exposed.name)):
        judge.verdicts([(problem("running_total", "process_exit"), "def solve(n):\n    return n\n")])


@pytest.mark.parametrize(
    ("asked", "handed"), [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({8, 0}, {0, 8}), (1, 1.0), ([(1, {})], [(1, {})])]
)
def test_a_handed_out_answer_is_a_leak_whatever_the_order_of_its_arguments(asked: object, handed: object) -> None:
    case = replace(DOUBLE, tests=(TestCase((asked,), 2),), named_tests={HANDED_OUT: (TestCase((handed,), 2),)})
    with pytest.raises(InputError, match=r"field named_tests.handed_out\[0\]: has the arguments of a test"):
        ProblemKeys().of(case)
