"""The one comparator: is a result the expected value? Type-strict, on encoded trees (``codec.py``).

3.0 is not 3, True is not 1, a tuple is no list, a set no frozenset. NaN is NaN, and 0.0 is -0.0. With a float tolerance
(relative and absolute, stated by the task), a float or int matches an expected float within it; where an int or a bool
is expected, nothing but that very int or bool matches. Keys of dicts are always exact.
Trees, not values: a hostile result is never hashed, ordered or called.
"""

from __future__ import annotations

import math

from forewarn.judge import codec

_UNORDERED_SCAN_LIMIT = 2000
_LARGEST_FLOAT = 1 << 1023


def same_values(expected: object, result: object, tolerance: float | None = None) -> bool:
    """``same_trees`` on values."""
    return same_trees(codec.encode(expected), codec.encode(result), tolerance)


def same_trees(expected: codec.Tree, result: codec.Tree, tolerance: float | None = None) -> bool:
    """Whether ``result`` is ``expected``. ``tolerance``: None is exact. An opaque tree matches nothing."""
    if isinstance(expected, list) != isinstance(result, list):
        return False
    if not isinstance(expected, list):
        return _same_scalars(expected, result, tolerance)
    if not expected or not result or expected[0] != result[0] or len(expected) != len(result) or expected[0] == "o":
        return False
    tag = expected[0]
    if tag in ("l", "t"):
        return all(same_trees(a, b, tolerance) for a, b in zip(expected[1:], result[1:], strict=True))
    if tag in ("s", "f"):
        return _same_unordered(expected[1:], result[1:], tolerance)
    if tag == "d":
        return _same_dicts(expected[1:], result[1:], tolerance)
    if tag == "c" and len(expected) == 3:
        return all(_same_scalars(a, b, tolerance) for a, b in zip(expected[1:], result[1:], strict=True))
    return bool(tag in ("i", "b") and expected == result)


def _same_scalars(expected: codec.Tree, result: codec.Tree, tolerance: float | None) -> bool:
    if type(expected) is float and type(result) in ((float,) if tolerance is None else (float, int)):
        if abs(result) > _LARGEST_FLOAT and type(result) is int:
            return False  # has no float to be close to
        if math.isnan(expected) or math.isnan(result):
            return math.isnan(expected) and math.isnan(result)
        if tolerance is None:
            return bool(expected == result)
        return math.isclose(expected, result, rel_tol=tolerance, abs_tol=tolerance)
    return type(expected) is type(result) and bool(expected == result)


def canonical(tree: codec.Tree) -> str:
    """A text equal for exactly those trees that match without tolerance."""
    if isinstance(tree, list) and tree:
        items = [canonical(item) for item in tree[1:]]
        if tree[0] in ("s", "f"):
            items.sort()
        elif tree[0] == "d":
            items = sorted(f"{key}:{value}" for key, value in zip(items[::2], items[1::2], strict=False))
        return f"[{tree[0]!r}:{','.join(items)}]"
    if type(tree) is float and tree == 0:
        return "0.0"
    return repr(tree)


def _same_unordered(expected: list[codec.Tree], result: list[codec.Tree], tolerance: float | None) -> bool:
    if sorted(map(canonical, expected)) == sorted(map(canonical, result)):
        return True
    if tolerance is None or len(expected) > _UNORDERED_SCAN_LIMIT:
        return False
    left = list(result)
    for item in expected:
        found = next((i for i, other in enumerate(left) if same_trees(item, other, tolerance)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def _same_dicts(expected: list[codec.Tree], result: list[codec.Tree], tolerance: float | None) -> bool:
    if len(expected) % 2 or len(result) % 2:
        return False
    wanted = {canonical(key): value for key, value in zip(expected[::2], expected[1::2], strict=True)}
    given = {canonical(key): value for key, value in zip(result[::2], result[1::2], strict=True)}
    if len(given) * 2 != len(result) or wanted.keys() != given.keys():
        return False
    return all(same_trees(value, given[key], tolerance) for key, value in wanted.items())
