"""The comparator and the codec: laws over random values, and every pair that Djinn's comparators confused."""

from __future__ import annotations

import itertools
import math
import random
import sys
import time
from collections import Counter, OrderedDict, defaultdict
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.judge.compare import no_larger, same_trees, same_values
from forewarn.sandbox import codec

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


@given(values)
def test_what_is_encoded_passes_the_check_as_it_is(value: object) -> None:
    tree = codec.loads(codec.dumps(codec.encode(value)))
    assert codec.checked(tree) is tree


@pytest.mark.parametrize(
    "tree",
    [
        [], {}, [[]], [1], ["l", []], ["x", 1], ["d", 1], ["d", 1, 2, 3], ["i"], ["i", 5], ["i", "1_0"], ["i", "+5"],
        ["i", "5\n"], ["b", "abc"], ["b", "AB"], ["b", None], ["u", "zz"], ["c", 1.0], ["c", 1, 2], ["c", 1.0, "2"],
        ["o"], ["o", ["l"]], ["o", "a", "b"], 1 << 62, ["l", -(1 << 70)], ["l", {"v": 1}], ["s", ["l", [["l"]]]],
        [["l"], 1], [{}], [True, 1], ["l", *[0] * codec.MAX_NODES], ["t", *[["l", *[0] * 1000]] * 400],
    ],
)  # fmt: skip
def test_what_no_value_is_encoded_as_counts_as_no_value(tree: object) -> None:
    assert codec.checked(tree) == codec.MALFORMED


def test_depth_is_checked_as_it_is_encoded() -> None:
    deepest: list[object] = []
    for _ in range(codec.MAX_DEPTH - 1):
        deepest = [deepest]
    tree = codec.encode(deepest)
    assert tree[0] == "l"
    assert codec.checked(tree) is tree
    assert codec.checked(["l", ["l", tree]]) == codec.MALFORMED


@given(values)
def test_an_equal_value_is_no_larger(value: object) -> None:
    tree = codec.encode(value)
    assert no_larger(tree, tree)
    assert no_larger(["l", ["i", "f" * 40]], ["l", float(int("f" * 40, 16))])
    assert not no_larger(["s", ["l", *[tree] * 100_000], 2, 3], ["s", 1, 2, 3])


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


@pytest.mark.parametrize(
    "number", [1 << 61, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, 10**30, -(10**30), 10**308, int(1.7e308), -(1 << 1023)]
)
def test_an_integer_of_any_size_is_near_a_float(number: int) -> None:
    near = float(number)
    assert same_values(near, number, 1e-9)
    assert same_values([near * (1 + 1e-12)], [number], 1e-9)
    assert same_values({near}, {number}, 1e-9)
    assert same_values({"k": near}, {"k": number}, 1e-9)
    assert not same_values(near * 1.001, number, 1e-9)
    assert not same_values(near, -number, 1e-9)
    assert not same_values(near, number)  # no tolerance: the type is not the same
    assert not same_values(number, near, 1e-9)  # and where an int is expected, no float will do
    assert not same_values(number, number + 1, 1e-9)


@pytest.mark.parametrize("result", [10**309, -(10**400), 1 << 1024, True, "1.0", None])
def test_what_has_no_float_near_it_matches_none(result: object) -> None:
    for expected in (1.0, 0.0, math.inf, -math.inf, math.nan, 1.7e308):
        assert not same_values(expected, result, 0.5)


@pytest.mark.parametrize("text", ["", "-", "0x5", " 5", "5\n", "+5", "5_0", "٣", "f" * 10**6, ["5"], 5, None])
def test_a_forged_integer_is_near_nothing(text: object) -> None:
    assert not same_trees(5.0, ["i", text], 0.9)
    assert not same_trees(["s", 5.0], ["s", ["i", text]], 0.9)


near_sets = st.lists(
    st.one_of(
        st.floats(-1e6, 1e6),
        st.integers(-5, 5),
        st.tuples(st.floats(-9, 9), st.integers(0, 2)),
        st.frozensets(st.floats(-9, 9), max_size=3),
        st.frozensets(st.tuples(st.floats(-2, 2), st.booleans()), max_size=2),
    ),
    max_size=12,
)


@given(near_sets, st.randoms(use_true_random=False))
def test_moved_a_little_a_set_is_the_same_within_a_tolerance(items: list[object], rng: random.Random) -> None:
    expected = codec.encode(set(items))
    moved = [nudged(item, rng) for item in expected[1:]]
    rng.shuffle(moved)
    assert same_trees(expected, ["s", *moved], 1e-3)
    if moved:
        place = rng.randrange(len(moved))
        moved[place] = "no number"
        assert not same_trees(expected, ["s", *moved], 1e-3)


def nudged(tree: codec.Tree, rng: random.Random) -> codec.Tree:
    if isinstance(tree, list):
        return [tree[0], *(nudged(item, rng) for item in tree[1:])]
    return tree * (1 + rng.uniform(-1e-7, 1e-7)) if type(tree) is float else tree


@settings(deadline=None)  # it waits for a core beside other tests
@given(st.lists(st.integers(0, 12).map(lambda i: i / 4), max_size=5), st.data())
def test_sets_of_floats_match_where_any_pairing_does(ours: list[float], data: st.DataObject) -> None:
    theirs = data.draw(st.lists(st.integers(0, 12).map(lambda i: i / 4), min_size=len(ours), max_size=len(ours)))
    tolerance = data.draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 1.0, 2.0]))
    pairings = [zip(ours, order, strict=True) for order in itertools.permutations(theirs)]
    possible = any(all(abs(a - b) <= tolerance * max(1.0, abs(a)) for a, b in pairing) for pairing in pairings)
    assert same_trees(["s", *ours], ["s", *theirs], tolerance) == possible


def test_members_that_are_opaque_match_nothing() -> None:
    for tree in (["s", ["o", "x"]], ["f", ["t", 1, ["o", "x"]]], ["d", ["t", ["o", "x"]], 1]):
        assert not same_trees(tree, tree)
        assert not same_trees(tree, tree, 0.1)


def hostile_pairs(n: int) -> dict[str, tuple[codec.Tree, codec.Tree]]:
    """What is expected, and an answer of as many items that is wrong and dear to compare."""
    rng = random.Random(0)
    many = [rng.random() for _ in range(n)]
    prime = sys.hash_info.modulus
    deep: codec.Tree = ["s", 1.5]
    for _ in range(90):
        deep = ["f", deep, 1]
    grid = [["t", float(i % 7), float(i % 11), float(i)] for i in range(n // 4)]
    return {
        "colliding integers": (codec.encode(set(range(n))), ["s", *(codec.encode(prime * i) for i in range(n))]),
        "colliding keys": (codec.encode(dict.fromkeys(range(n // 2))),
                           ["d", *(part for i in range(n // 2) for part in (codec.encode(prime * i), None))]),
        "floats, one wrong": (["s", *many], ["s", *many[1:], 7.0]),
        "all within one another": (["s", *(1 + i * 1e-9 for i in range(n))], ["s", *([1.0] * (n - 1)), 2.0]),
        "tuples on a grid": (["s", *grid], ["s", *[["t", 3.0, 5.0, x[3] + 0.4] for x in grid]]),
        "tuples too near to tell": (["s", *(["t", 0.0, i * 1e-9] for i in range(n // 3))],
                                    ["s", *(["t", 1e-9 * i, 0.0] for i in range(n // 3 - 1)), ["t", 5e-3, 0.0]]),
        "sets of near sets": (["s", *(["f", 0.0, i * 1e-9] for i in range(n // 3))],
                              ["s", *(["f", 1e-9 * i, 2e-3] for i in range(n // 3))]),
        "deep members": (["s", *([1] * (n // 200))], ["s", *([deep] * (n // 200))]),
        "deep keys": (["d", *([1, 2] * (n // 200))], ["d", *([deep, 2] * (n // 200))]),
        "long texts": (["s", *("ab" * 50 + str(i) for i in range(n // 50))],
                       ["s", *("ab" * 50 + str(-i) for i in range(n // 50))]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", hostile_pairs(1000))
@pytest.mark.parametrize("tolerance", [None, 1e-3])
def test_work_grows_with_the_size_of_a_wrong_answer(kind: str, tolerance: float | None) -> None:
    """Four times the size takes four times the work, give or take; a square would take 16 times. Work is counted in
    calls, Python's own and those into C, since a crowded machine's clock tells little."""

    def work(n: int) -> int:
        expected, result = hostile_pairs(n)[kind]
        calls = [0]

        def count(frame: FrameType, event: str, arg: object) -> None:
            calls[0] += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            same_trees(expected, result, tolerance)
        finally:
            sys.setprofile(None)
        return calls[0]

    assert work(8_000) < 6 * work(2_000) + 1_000


def test_a_large_set_that_is_right_within_the_tolerance_is_accepted() -> None:
    rng = random.Random(1)
    grid = [["t", float(i), float(j)] for i in range(100) for j in range(100)]
    moved = [["t", a + rng.uniform(-1e-6, 1e-6), b + rng.uniform(-1e-6, 1e-6)] for _, a, b in grid]
    rng.shuffle(moved)
    start = time.process_time()
    assert same_trees(["s", *grid], ["s", *moved], 1e-4)
    assert time.process_time() - start < 5
    moved[17] = ["t", 17.5, 3.0]
    assert not same_trees(["s", *grid], ["s", *moved], 1e-4)
