"""The comparator: decides whether a result is the expected value. It is type-strict and works on encoded trees.

3.0 is not 3, True is not 1, a tuple is not a list, and a set is not a frozenset. NaN equals NaN, and 0.0 equals -0.0.
With a float tolerance (relative to the expected value and absolute, stated by the task), a float or an int of any size
matches an expected float within it; an expected int or bool matches only exactly. Keys of dicts are always exact.

The comparator never builds values (see ``codec.py``), so it does not hash, order or call any part of a hostile result.
Its time grows as n log n with the size of the two trees, whatever the result contains. ``unordered.py`` matches
members of sets.
"""

from __future__ import annotations

import math

from forewarn.judge.unordered import Matcher, canonical, n_items, near, near_number
from forewarn.sandbox import codec

_MOST_TIMES = 3
"""a large integer is a tree of three items and may match a float, which is one item"""


def same_values(expected: object, result: object, tolerance: float | None = None) -> bool:
    """Compare two values as ``same_trees`` compares their trees."""
    return same_trees(codec.encode(expected), codec.encode(result), tolerance)


def same_trees(expected: codec.Tree, result: codec.Tree, tolerance: float | None = None) -> bool:
    """Return whether ``result`` equals ``expected``; an opaque tree matches nothing. ``tolerance``: None is exact."""
    if not no_larger(result, expected):
        return False
    return _Comparison(expected, tolerance).same(expected, result)


def no_larger(result: codec.Tree, expected: codec.Tree) -> bool:
    """Return whether ``result`` has few enough items to be ``expected``; larger ones need no comparison.

    The time depends only on the size of ``expected``, so that a set of a few huge members does not cost more.
    """
    if not isinstance(result, list):
        return True
    left, level = _MOST_TIMES * n_items(expected) - 1, [result]
    while level:
        left -= sum(map(len, level))
        if left < 0:
            return False
        level = [item for tree in level for item in tree if isinstance(item, list)]
    return True


class _Comparison:
    """One comparison: its tolerance, and its budget for sets."""

    def __init__(self, expected: codec.Tree, tolerance: float | None) -> None:
        self._tolerance = tolerance
        self._matcher = Matcher(expected, tolerance)

    def same(self, expected: codec.Tree, result: codec.Tree) -> bool:
        if not isinstance(expected, list):
            return _same_scalars(expected, result, self._tolerance)
        if not expected or not isinstance(result, list) or not result:
            return False
        tag = expected[0]
        if type(result[0]) is not str or tag != result[0] or len(expected) != len(result) or tag == "o":
            return False
        if tag in ("l", "t"):
            return all(self.same(expected[i], result[i]) for i in range(1, len(expected)))
        if tag in ("s", "f"):
            return self._matcher.match(expected[1:], result[1:], self.same)
        if tag == "d":
            return self._same_dicts(expected, result)
        if tag == "c" and len(expected) == 3:
            return all(_same_scalars(expected[i], result[i], self._tolerance) for i in (1, 2))
        texts = (*expected[1:], *result[1:])
        return bool(tag in ("i", "b", "u") and all(type(text) is str for text in texts) and expected == result)

    def _same_dicts(self, expected: list[codec.Tree], result: list[codec.Tree]) -> bool:
        wanted, given = _by_key(expected), _by_key(result)
        if len(expected) % 2 == 0 or [key for key, _ in wanted] != [key for key, _ in given]:
            return False
        return all(self.same(expected[i], result[j]) for (_, i), (_, j) in zip(wanted, given, strict=True))


def _same_scalars(expected: codec.Tree, result: codec.Tree, tolerance: float | None) -> bool:
    if type(expected) is not float:
        return type(expected) is type(result) and bool(expected == result)
    value = near_number(result) if tolerance is not None or type(result) is float else None
    if value is None:
        return False
    if math.isnan(expected) or math.isnan(value):
        return math.isnan(expected) and math.isnan(value)
    if tolerance is None:
        return bool(expected == value)
    return near(expected, value, tolerance)


def _by_key(tree: list[codec.Tree]) -> list[tuple[bytes, int]]:
    """Return sorted pairs of a key's text and the position of its value in a dict's tree."""
    return sorted((canonical(tree[i]), i + 1) for i in range(1, len(tree) - 1, 2))
