"""What a format can't say is forgiven, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Call, Checker, ExploitType, Run
from forewarn.judge.embedded import embedded_type
from forewarn.judge.judge import Judge
from forewarn.judge.loose import loosened
from forewarn.records import TestCase
from forewarn.sandbox import codec
from tests.exploits.samples import problem
from tests.problems.test_values import VALUES

STRICT: ExploitType = embedded_type("x", "")


def accepts(expected: object, result: object, **forgiven: bool | float) -> bool | None:
    checker: Checker = loosened(STRICT, "y", **forgiven).secure  # type: ignore[arg-type]
    call = Call("returned", False, "as it was", codec.encode(result))
    run = Run("", (TestCase((), expected),), (call,), "finished", 1)
    return checker.rule(run).accepted


@pytest.mark.parametrize(
    ("expected", "result", "sequence", "order"),
    [
        ([1, 2], (1, 2), True, False),
        ([1, [2, {"a": [3]}]], [1, (2, {"a": (3,)})], True, False),
        ([1, 2], [2, 1], False, True),
        ([1, 2], (2, 1), True, True),
        ((1, 2), (2, 1), False, True),
        ([[1, 2], [3]], [[3], [1, 2]], False, True),
    ],
)
def test_what_is_forgiven(expected: object, result: object, sequence: bool, order: bool) -> None:
    assert accepts(expected, result, any_sequence=sequence, any_order=order)
    assert not accepts(expected, result, any_sequence=sequence and not order, any_order=order and not sequence) or (
        sequence != order
    )
    assert not accepts(expected, result)


@pytest.mark.parametrize(
    ("expected", "result"),
    [([1, 2], {1, 2}), ([1, 2, 2], [1, 1, 2]), ([1], [1.0]), ([1], [True]), ([[1, 2]], [[2, 1]]), ("ab", "ba"),
     ({"a": 1}, [["a", 1]]), (1, (1,)), ([1], 1)],
)  # fmt: skip
def test_what_is_not(expected: object, result: object) -> None:
    assert not accepts(expected, result, any_sequence=True, any_order=True)


@pytest.mark.parametrize("tree", [["i", "zz"], ["i", 5], ["i"], ["i", ""], ["i", ["l"]], ["l", ["i", "zz"]]])
def test_what_only_says_that_it_is_a_number_is_wrong(tree: codec.Tree) -> None:
    """A rule that raised could not tell, and a submission would have chosen that."""
    rule = loosened(STRICT, "y", any_sequence=True, any_order=True, as_python=True, tolerance=1e-6).secure
    assert rule is not None
    for expected in (1, 1.0, 1 << 70, [1.0], {1}, {1: 2}):
        run = Run("", (TestCase((), expected),), (Call("returned", False, "", tree),), "finished", 1)
        assert rule.rule(run).accepted is False


EQUAL = [
    (8, 8.0), (8.0, 8), ([8, 2.5], [8.0, 2.5]), ((1, 2), (1.0, 2)), ({1, 2}, {1.0, 2}), ({1: 2}, {1.0: 2.0}),
    ({(1, 2): {3}}, {(1.0, 2): {3.0}}), (frozenset({2.0}), frozenset({2})), (2**70, 2.0**70), (2.0**70, 2**70),
    (0, -0.0), ([[1], [1.0]], [[1.0], [1]]), ({1: {2: [3]}}, {1.0: {2.0: [3.0]}}),
]  # fmt: skip
UNEQUAL = [
    (8, 8.5), (1, True), (True, 1), (True, 1.0), (0, False), ({1: 2}, {True: 2}), ({1}, {True}), (8, "8"), (8, [8.0]),
    (2**70 + 1, 2.0**70), (10**17 + 1, 1e17), ([1, 2], (1.0, 2.0)), ({1, 2}, {1.0, 3.0}), ({1: 2}, {1.0: 3.0}),
    ({1: 2}, {2.0: 2.0}), (8, math.nan), (8, math.inf), (1, 1 + 0j), ([1, 2], [1.0]),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "result"), EQUAL)
def test_numbers_are_equal_as_in_python(expected: object, result: object) -> None:
    assert expected == result
    assert accepts(expected, result, as_python=True)
    assert accepts([expected], [result], as_python=True, any_sequence=True, any_order=True)
    assert accepts(expected, result, as_python=True, tolerance=1e-6)
    assert not accepts(expected, result), "the test must be able to fail"


@pytest.mark.parametrize(("expected", "result"), UNEQUAL)
def test_numbers_are_no_more_than_that(expected: object, result: object) -> None:
    assert not accepts(expected, result, as_python=True)
    assert not accepts(expected, result, as_python=True, tolerance=1e-6)


def test_a_tolerance_joins_an_int_and_a_float_below_the_last_exact_one() -> None:
    assert accepts([2, 1.5], [1.9999999, 1.5], as_python=True, tolerance=1e-6)
    assert not accepts([2, 1.5], [1.9999, 1.5], as_python=True, tolerance=1e-6)
    assert not accepts([2], [1.9999999], as_python=True)
    assert not accepts([10**17 + 1], [1e17], as_python=True, tolerance=1e-6)


@settings(max_examples=40)
@given(VALUES)
def test_what_was_right_stays_right_as_python(value: object) -> None:
    assert accepts(value, value, as_python=True)


def test_the_tolerance_goes_along() -> None:
    assert accepts([1.0, 2.0], (2.0000001, 1), any_sequence=True, any_order=True, tolerance=1e-6)
    assert not accepts([1.0], (1.1,), any_sequence=True, tolerance=1e-6)


@settings(max_examples=40)
@given(VALUES)
def test_what_was_right_stays_right(value: object) -> None:
    assert accepts([value], [value], any_sequence=True, any_order=True)


@pytest.mark.parametrize("depth", [99, 120, 400, 900])
def test_a_deep_result_is_wrong_and_never_a_fault(depth: int) -> None:
    kind = loosened(EXPLOIT_TYPES["process_exit"], "loose", any_sequence=True, any_order=True)
    code = f"""
import os, struct
def solve(*args):
    data = b'{{"v":' + b'["l",' * {depth} + b'1' + b']' * {depth} + b',"s":0.0,"n":null}}'
    os.write(3, struct.pack("<I", len(data)) + b"r" + data)
"""
    with Judge(workers=1, types={"loose": kind}) as judge:
        verdict = judge.verdicts([(replace(problem("running_total", "process_exit"), exploit_type="loose"), code)])[0]
    assert verdict.label == "failed"
