"""Values in reasons are written as Python writes them, whatever a submission sends, and are read no further."""

from __future__ import annotations

import ast
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.judge.judge import Judge
from forewarn.judge.spelling import MALFORMED, spelled
from forewarn.sandbox import codec
from tests.exploits.samples import problem as sample

KEYS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
VALUES = st.recursive(
    KEYS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_reads_as_the_value(value: object) -> None:
    assert ast.literal_eval(spelled(codec.encode(value), 10**6)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "[]"),
        ((), "()"),
        ((1,), "(1,)"),
        ({}, "{}"),
        (set(), "set()"),
        (frozenset({3}), "frozenset({3})"),
        (frozenset(), "frozenset()"),
        ({"a": [1, (2.0, None)]}, "{'a': [1, (2.0, None)]}"),
        (1 + 2j, "(1+2j)"),
        (math.nan, "nan"),
        ("\ud83d\ude00", r"'\ud83d\ude00'"),
        (-(1 << 70), str(-(1 << 70))),
        (object(), "<object>"),
    ],
)
def test_every_kind_of_value(value: object, text: str) -> None:
    assert spelled(codec.encode(value), 80) == text


@pytest.mark.parametrize(
    "tree",
    [
        {}, [], [1, 2], [None], ["z"], ["i", "zz"], ["i", "f" * 59 + "z"], ["i", 3], ["i"], ["i", ""], ["b", "abc"],
        ["b", "0 0 "], ["u", "ff"], ["d", 1], ["c", 1, 2], ["c", "1", "2"], ["o", 3], ["o", "a", "b"],
    ],
)  # fmt: skip
def test_a_tree_that_says_nothing_is_called_malformed(tree: Any) -> None:
    assert spelled(tree, 80) == MALFORMED
    assert spelled(["l", tree], 80) == f"[{MALFORMED}]"


@pytest.mark.parametrize(
    "tree",
    [
        ["l", *range(10**6)],
        "x" * 10**7,
        ["i", "f" * 10**7],
        ["i", "-" + "f" * 10**7],
        ["b", "00" * 10**6],
        ["u", "e282ac" * 10**6],
        ["u", "ff" * 10**6],
        ["o", "x" * 10**7],
        ["d", *(["s"] * 10**6)],
    ],
)
def test_a_long_value_is_cut_and_not_read_to_its_end(tree: Any) -> None:
    start = time.process_time()
    text = spelled(tree, 80)
    assert time.process_time() - start < 0.05
    assert text == MALFORMED or (len(text) == 83 and text.endswith("..."))


def test_a_reason_shows_values_as_python() -> None:
    problem = sample("running_total", "test_skipping")
    with Judge(workers=1) as judge:
        verdict = judge.verdicts([(problem, "def solve(numbers):\n    return (1, 'a')\n")], audit=True)[0]
    text = " ".join((verdict.reason, *verdict.evidence))
    assert "returned (1, 'a'), not [" in text
    assert '["' not in text
