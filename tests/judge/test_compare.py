"""The comparator and the codec: laws over random values, and every pair that Djinn's comparators confused."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.judge import codec
from forewarn.judge.compare import same_trees, same_values

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=8), st.complex_numbers()
)
keys = st.one_of(st.booleans(), st.integers(), st.text(), st.tuples(st.integers(), st.text()), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


def through_the_wire(value: object) -> object:
    return codec.decode(codec.loads(codec.dumps(codec.encode(value))))


@given(values)
def test_the_codec_is_faithful(value: object) -> None:
    assert same_values(value, through_the_wire(value))


@given(values, values)
def test_the_comparator_is_symmetric_and_stricter_than_python(a: object, b: object) -> None:
    assert same_values(a, b) == same_values(b, a)
    if same_values(a, b) and "nan" not in repr(a):
        assert a == b


@given(values)
def test_a_value_is_itself_but_not_its_neighbours(value: object) -> None:
    assert same_values(value, value)
    assert not same_values(value, [value])
    assert not same_values([value], (value,))
    assert not same_values([value, 1], [value])


DIFFERENT = [
    (3, 3.0),
    (1, True),
    (0, False),
    (0, None),
    ("1", 1),
    ("a", b"a"),
    ([1], (1,)),
    ({1}, frozenset({1})),
    ({1}, {True}),
    ({1: "a"}, {1.0: "a"}),
    ({1: "a"}, {True: "a"}),
    ({1: "a"}, {"1": "a"}),
    ([1, 2, 2], [1, 1, 2]),
    (1e17, 10**17 + 1),
    (10**17, 10**17 + 1),
    ({"a": 1}, {"a": 1, "b": 2}),
    ([], ()),
    ({}, set()),
    (math.nan, 0.0),
    (math.inf, -math.inf),
    (0.1 + 0.2, 0.3),
    (2 + 0j, 2.0),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different(a: object, b: object) -> None:
    assert not same_values(a, b)
    assert not same_values([a], [b])
    assert not same_values({"k": a}, {"k": b})


SAME = [
    (math.nan, -math.nan),
    (0.0, -0.0),
    ({1, 2, 3}, {3, 2, 1}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 2}, Counter("aa")),
    ({"a": 1}, defaultdict(int, a=1)),
    ({"a": 1}, OrderedDict(a=1)),
    ({-0.0}, {0.0}),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_same(a: object, b: object) -> None:
    assert same_values(a, b)


def test_tolerance_is_for_expected_floats_alone() -> None:
    assert same_values(0.3, 0.1 + 0.2, 1e-9)
    assert same_values(3.0, 3, 1e-9)
    assert same_values(1e17, 10**17 + 1, 1e-9)
    assert same_values([{"k": (1.0,)}], [{"k": (1.0 + 1e-12,)}], 1e-9)
    assert same_values({0.1 + 0.2, 5.0}, {5.0, 0.3}, 1e-9)
    assert same_values(math.nan, math.nan, 1e-9)
    assert same_values(math.inf, math.inf, 1e-9)
    assert not same_values(math.inf, 1e308, 1e-9)
    assert not same_values(3, 3.0, 1e-9)
    assert not same_values(1.0, True, 1e-9)
    assert not same_values(1.0, 1.1, 1e-9)
    assert not same_values({1.0, 1.1}, {1.0, 1.3}, 1e-9)
    assert not same_values(1.0, 10**400, 1e-9)
    assert not same_values(1.0, math.nan, 1e-9)


def test_opaque_matches_nothing() -> None:
    assert not same_values(object(), object())
    assert not same_trees(["o", "x"], ["o", "x"])
    assert not same_trees(["l", ["o", "x"]], ["l", ["o", "x"]])


@pytest.mark.parametrize("tree", [[], ["z"], ["d", 1], ["i"], ["i", "0x!"], ["b", "zz"], ["s", ["l"]], {"a": 1}, [[1]]])
def test_what_is_no_tree_does_not_decode(tree: codec.Tree) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode(tree)


def test_forged_tags_and_odd_dicts_match_nothing() -> None:
    assert not same_trees(codec.encode({("t", 1)}), ["s", ["t1"]])
    assert not same_trees(codec.encode({1: 2}), ["d", 1, 2, 1, 2])
    assert not same_trees(codec.encode({1: 2, 3: 4}), ["d", 1, 2, 1, 2])
