"""Literals: every plain value survives, and nothing is ever evaluated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.exploits.source import literal
from forewarn.problems.values import parse

NUMBERS = st.integers() | st.floats() | st.complex_numbers(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text() | st.binary()
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False) | st.tuples(st.integers())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_survives(value: object) -> None:
    again = parse(literal(value))
    assert literal(again) == literal(value)
    assert type(again) is type(value)


PARTICULAR = [(), (1,), [()], set(), frozenset(), {}, {1: "a", "1": "b"}, [None], -0.0, 10**5000, "\ud800"]


@pytest.mark.parametrize("index", range(len(PARTICULAR)))
def test_particular_values_survive(index: int) -> None:
    value: object = PARTICULAR[index]
    again = parse(literal(value))
    assert again == value
    assert type(again) is type(value)


def test_not_finite_floats_survive() -> None:
    values = parse(literal([math.nan, math.inf, -math.inf]))
    assert isinstance(values, list)
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_equal_sets_have_one_text() -> None:
    assert literal({"b", "a", "c"}) == literal({"c", "b", "a"}) == "{'a', 'b', 'c'}"


@pytest.mark.parametrize(
    "text",
    ["", "x", "null", "true", "NaN", "__import__('os')", "open('f')", "float('1')", "[1", "1 + 1", "lambda: 1", "...",
     "{**{}}", "[*[]]", "set([1])", "-True", "f'{1}'", "(" * 500 + ")" * 500, "{[]: 1}", "1\n2"],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"literal|number"):
        parse(text)
