"""The codec: every value comes back typed, and what a child may send is bounded before it is parsed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.judge.compare import same_trees, same_values
from forewarn.sandbox import codec
from forewarn.sandbox.inside.worker import MAX_FRAME_BYTES

words = st.text(st.characters(exclude_categories=()))  # lone surrogates, too
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(1 << 70), 1 << 70), st.floats(), words,
    st.binary(max_size=8), st.complex_numbers(),
)  # fmt: skip
keys = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), words, st.tuples(st.integers(), words))
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


def typed(value: object) -> object:
    """The value with its types written beside it, so that Python's own equality is type-strict."""
    if isinstance(value, (list, tuple)):
        inner: object = tuple(map(typed, value))
    elif isinstance(value, (set, frozenset)):
        inner = frozenset(map(typed, value))
    elif isinstance(value, dict):
        inner = frozenset((typed(key), typed(held)) for key, held in value.items())
    elif isinstance(value, complex):
        inner = (typed(value.real), typed(value.imag))
    else:
        inner = "nan" if isinstance(value, float) and value != value else value
    return type(value).__name__, inner


def sent(value: object) -> codec.Tree:
    return codec.loads(codec.dumps(codec.encode(value)), codec.Budget())


@given(values)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert typed(codec.decode(sent(value))) == typed(value)
    assert same_trees(codec.encode(value), sent(value))


@given(values, values)
def test_the_comparator_agrees_with_typed_equality(a: object, b: object) -> None:
    assert same_values(a, b) == (typed(a) == typed(b))


@given(st.lists(st.sampled_from("a\ud83d\ude00\U0001f600"), max_size=4).map("".join), st.data())
def test_two_surrogates_are_not_the_character_they_encode(text: str, data: st.DataObject) -> None:
    other = data.draw(st.lists(st.sampled_from("a\ud83d\ude00\U0001f600"), max_size=4).map("".join))
    assert codec.decode(sent(text)) == text
    assert same_trees(codec.encode(other), sent(text)) == (text == other)
    assert same_trees(codec.encode({other: 1}), sent({text: 1})) == (text == other)


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"{}," * 5_000_000 + b"{}]",
        b"[" + b"[]," * 5_000_000 + b"[]]",
        b'["l",' + b'"",' * 5_000_000 + b'""]',
        b"[" + b"1," * 8_000_000 + b"1]",
        b'{"v":' * 4_000_000,
        b'{"v":{' + b",".join(b'"%d":1' % i for i in range(1_000_000)) + b"}}",
        b"[" * 16_000_000,
        b'{"v": ' + b"9" * 16_000_000 + b"}",
        b'["\\\\",' + b"{}," * 5_000_000 + b"{}]",
        b'["\\"",' + b"{}," * 5_000_000 + b"{}]",
        b'["\\\\\\"",' + b"{}," * 5_000_000 + b"{}]",
        json.dumps([{}] * 3_000_000).encode("utf-16"),
        b'"' * 16_000_000,
    ],
    ids=["objects", "arrays", "strings", "numbers", "open objects", "keys", "open arrays", "a long number",
         "behind a backslash", "behind a quote", "behind both", "another encoding", "quotes"],
)  # fmt: skip
def test_what_would_cost_memory_is_refused_before_it_is_parsed(data: bytes) -> None:
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(codec.CodecError):
            codec.loads(data, codec.Budget())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data) + (16 << 20)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "value",
    [
        list(range(codec.MAX_NODES - 1)),
        [1j] * (codec.MAX_NODES - 1),
        ["ab"] * (codec.MAX_NODES - 1),
        [1 << 70] * (codec.MAX_NODES // 4),
        ['"\\{[,:' * 20] * 20_000,
        "{" * 1_000_000,
        b"\x11" * 2_000_000,
    ],
    ids=["ints", "complex", "texts", "big ints", "signs", "braces", "digits"],
)
def test_every_value_that_is_small_enough_passes(value: object) -> None:
    data = codec.dumps({"v": codec.encode(value), "n": None})
    if len(data) <= MAX_FRAME_BYTES:  # the worker sends no more
        assert codec.encode(value)[0] != "o" or isinstance(value, str)
    budget = codec.Budget()
    tree = codec.loads(data, budget)["v"]
    assert same_trees(codec.encode(value), tree)
    assert budget.left >= codec.MAX_RUN_WEIGHT - codec.MAX_MESSAGE_WEIGHT


def test_an_execution_has_one_budget() -> None:
    data, budget = codec.dumps(["l"] + [1] * 400_000), codec.Budget()
    for _ in range(codec.MAX_RUN_WEIGHT // 400_001):
        codec.loads(data, budget)
    with pytest.raises(codec.CodecError, match="too many items"):
        codec.loads(data, budget)


PRIME = sys.hash_info.modulus


def collide(n: int) -> list[int]:
    """n different integers with one hash."""
    return [PRIME * (i + 1) for i in range(n)]


@pytest.mark.parametrize("make", [lambda n: ["s", *map(hexed, collide(n))],
                                  lambda n: ["d", *[part for i in collide(n) for part in (hexed(i), 0)]],
                                  lambda n: ["f", *[["t", hexed(i), 1] for i in collide(n)]]],
                         ids=["set", "dict", "tuples"])  # fmt: skip
def test_members_that_collide_are_no_value(make: Callable[[int], codec.Tree]) -> None:
    start = time.process_time()
    with pytest.raises(codec.CodecError):
        codec.decode(make(100_000))
    assert time.process_time() - start < 5
    with pytest.raises(codec.CodecError):
        codec.decode(make(40))  # a message may hold thousands of these
    assert len(codec.decode(make(3))) == 3  # type: ignore[arg-type]
    assert codec.decode(["s", -1, -2, True, 1.5]) == {-1, -2, True, 1.5}
    assert codec.decode(["s", *range(-5_000, 5_000)]) == set(range(-5_000, 5_000))


def nearly_alike(levels: int, width: int, which: int = 0) -> codec.Tree:
    """A frozenset of ``width`` members at each level, all of one hash, which differ from each other in one leaf."""
    if levels == 0:
        return hexed((1 << 62) + PRIME * which)
    return ["f", *[nearly_alike(levels - 1, width, i) for i in [*range(width - 1), width - 1 + which]]]


@pytest.mark.parametrize(("levels", "width"), [(3, 12), (4, 9), (6, 5)])
def test_sets_of_sets_that_collide_are_no_value(levels: int, width: int) -> None:
    """Comparing two members compares their members, so that each level multiplies the cost: 10 s for 4 MB."""
    tree = ["s", *[nearly_alike(levels, width, which) for which in range(9)]]
    assert codec.checked(tree) is tree
    start = time.process_time()
    with pytest.raises(codec.CodecError, match="take long to compare"):
        codec.decode(tree)
    assert time.process_time() - start < 5


def test_honest_sets_of_sets_are_values() -> None:
    near_zero = [-2, -1, 0, 1]  # -1 and -2 share a hash
    points = {(x, y, z) for x in near_zero for y in near_zero for z in near_zero}
    groups = {frozenset(point for point in points if sum(point) % n == k) for n in range(1, 30) for k in range(n)}
    assert codec.decode(codec.encode(points)) == points
    assert codec.decode(codec.encode(groups)) == groups
    many = {(x, (-1, y)) for x in range(-200, 200) for y in range(-50, 50)}
    assert codec.decode(codec.encode(many)) == many


def hexed(number: int) -> codec.Tree:
    return codec.encode(number)


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError


def test_a_class_that_hides_its_name_is_opaque_all_the_same() -> None:
    assert codec.encode(Named("Hidden", (), {})()) == ["o", "Hidden"]
    assert codec.encode(type("N" * 10**6, (), {})()) == ["o", "N" * 100]


@settings(max_examples=200)
@given(st.recursive(st.one_of(st.none(), st.integers(), st.floats(), words), lambda i: st.lists(i, max_size=5)))
def test_no_message_makes_the_parent_raise_anything_else(tree: codec.Tree) -> None:
    try:
        read = codec.loads(json.dumps({"v": tree}).encode(), codec.Budget())["v"]
        same_trees(read, read, 0.1)
        codec.decode(read)
    except codec.CodecError:
        pass


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, "[" * 500_000 + "]" * 500_000, '["\\\\",' * 200_000, '["a\\"[",' * 200_000]
)
def test_depth_is_bounded_before_it_is_parsed(text: str) -> None:
    """A process that raised its limit of recursion would run out of stack."""
    script = (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "from forewarn.sandbox import codec\n"
        "try:\n    codec.loads(sys.stdin.buffer.read())\nexcept codec.CodecError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=text.encode(), capture_output=True, check=True)
    assert done.stdout == b"nested too deep\n"


def test_brackets_in_texts_are_no_depth() -> None:
    value = ["[" * 1000, '\\"[{' * 300, "]" * 50, {"[": "\\"}, *[[["[\\"]]] * 200]
    assert codec.decode(codec.loads(codec.dumps(codec.encode(value)), codec.Budget())) == value
