"""Matches members of sets without hashing them: exactly by a canonical text, or within a tolerance by groups.

A hostile result must not cost more than an honest one of its size. So the canonical text of a container is a digest,
whose length does not depend on the depth of the tree. Near values are sorted into groups, values of different groups
never match, and the number of comparisons within a group is bounded. Not covered: when two members are the same
(``compare.py``).
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from forewarn.sandbox import codec

Same = Callable[[codec.Tree, codec.Tree], bool]
_SHORT = 60
_TRIES = 16
"""the budget of a comparison for members with many near neighbours, in multiples of the expected value's size"""
_MAX_FLOAT_HEX = 1024 // 4
_big_int = re.compile(rf"-?[0-9a-f]{{1,{_MAX_FLOAT_HEX}}}").fullmatch
_serial = itertools.count()


def canonical(tree: codec.Tree) -> bytes:
    """Return a short text, equal for exactly those trees that match without tolerance; opaque trees match nothing."""
    if not isinstance(tree, list):
        return _leaf("0.0" if type(tree) is float and tree == 0 else repr(tree))
    if not tree:
        return _digest(b"", [])
    tag, items = canonical(tree[0]), [canonical(item) for item in tree[1:]]
    if tree[0] == "o":
        items.append(_leaf(f"opaque {next(_serial)}"))
    elif tree[0] in ("s", "f"):
        items.sort()
    elif tree[0] == "d":
        pairs = sorted(zip(items[::2], items[1::2], strict=False))
        items = [part for pair in pairs for part in pair] + items[len(items) & ~1 :]
    return _digest(tag, items)


def near_number(tree: codec.Tree) -> float | None:
    """Return the float nearest to a number; None for a bool, another value, or a number too large for a float."""
    if isinstance(tree, list) and len(tree) == 2 and tree[0] == "i" and isinstance(tree[1], str) and _big_int(tree[1]):
        tree = int(tree[1], 16)
    if type(tree) is float:
        return tree
    try:
        return float(tree) if type(tree) is int else None
    except OverflowError:
        return None


def near(expected: float, value: float, tolerance: float) -> bool:
    """Return whether ``value`` is within the tolerance, relative to ``expected`` or absolute.

    Not relative to the larger of the two (``math.isclose``): with a tolerance of 1 every huge number would be near.
    """
    if math.isinf(expected) or math.isinf(value):
        return expected == value
    return abs(expected - value) <= tolerance * max(1.0, abs(expected))


def _leaf(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"=" + data if len(data) < _SHORT else b"~" + hashlib.sha256(data).digest()


def _digest(tag: bytes, items: Sequence[bytes]) -> bytes:
    parts = b"".join(bytes((len(part),)) + part for part in (tag, *items))
    return b"[" + hashlib.sha256(parts).digest()


@dataclass(slots=True)
class _Member:
    tree: codec.Tree
    shape: bytes = b""
    """the canonical text with a placeholder for each number"""
    numbers: list[float] = field(default_factory=list)
    """the numbers, in an order that near members share"""
    clusters: list[int] = field(default_factory=list)
    """for each number, the cluster of near numbers that it belongs to"""


class Matcher:
    """Matches members of the sets within one expected value, by ``same``, which knows the tolerance."""

    def __init__(self, expected: codec.Tree, tolerance: float | None) -> None:
        self._root, self._tolerance = expected, tolerance
        self._left: int | None = None

    def match(self, expected: list[codec.Tree], result: list[codec.Tree], same: Same) -> bool:
        """Return whether the members of two lists of equal length can be paired so that each pair is the same."""
        if sorted(map(canonical, expected)) == sorted(map(canonical, result)):
            return True
        if self._tolerance is None:
            return False
        # Members can match only if they have the same shape and the same cluster for each of their numbers.
        wanted, given = (sorted(map(_member, trees), key=attrgetter("shape")) for trees in (expected, result))
        if [member.shape for member in wanted] != [member.shape for member in given]:
            return False
        for start, end in _runs([member.shape for member in wanted]):
            self._cluster([*wanted[start:end], *given[start:end]])
        by_group = attrgetter("shape", "clusters", "numbers")
        wanted.sort(key=by_group)
        given.sort(key=by_group)
        if [member.clusters for member in wanted] != [member.clusters for member in given]:
            return False
        groups = _runs([(member.shape, member.clusters) for member in wanted])
        return all(self._pair(wanted[start:end], given[start:end], same) for start, end in groups)

    def _cluster(self, members: list[_Member]) -> None:
        """Group numbers into clusters: two numbers share one if they are near, or if a chain of near ones joins them.

        This needs every number between two near ones to be near as well. That fails for a tolerance of 1 or more,
        where -1 is near 3 but not near 1; then all numbers form one cluster.
        """
        tolerance = self._tolerance or 0.0
        for place in range(len(members[0].numbers) if tolerance < 1 else 0):
            members.sort(key=lambda member: member.numbers[place])
            cluster, before = 0, members[0].numbers[place]
            for member in members:
                number = member.numbers[place]
                cluster += not math.isclose(before, number, rel_tol=tolerance, abs_tol=tolerance)
                member.clusters.append(cluster)
                before = number

    def _pair(self, wanted: list[_Member], given: list[_Member], same: Same) -> bool:
        """Pair members in the order of their numbers, which is right for one number each; else each with the first."""
        if all(same(ours.tree, theirs.tree) for ours, theirs in zip(wanted, given, strict=True)):
            return True
        if len(wanted) == 1:
            return False
        left = list(given)
        for ours in wanted:
            cost = n_items(ours.tree)
            for index, theirs in enumerate(left):
                if not self._may_spend(cost):
                    return False
                if same(ours.tree, theirs.tree):
                    del left[index]
                    break
            else:
                return False
        return True

    def _may_spend(self, cost: int) -> bool:
        if self._left is None:
            self._left = _TRIES * n_items(self._root)
        self._left -= cost
        return self._left >= 0


def _member(tree: codec.Tree) -> _Member:
    member = _Member(tree)
    member.shape = _shape(tree, member.numbers)
    return member


def _shape(tree: codec.Tree, numbers: list[float]) -> bytes:
    number = near_number(tree)
    if number is not None:
        if math.isnan(number):
            return _leaf("nan")
        numbers.append(number)
        return b"#"
    if not isinstance(tree, list) or not tree or tree[0] in ("o", "i"):
        return canonical(tree)
    if tree[0] == "d":
        pairs = sorted((canonical(tree[i]), i + 1) for i in range(1, len(tree) - 1, 2))
        return _digest(b"d", [part for key, i in pairs for part in (key, _shape(tree[i], numbers))])
    if tree[0] not in ("s", "f"):
        return _digest(canonical(tree[0]), [_shape(item, numbers) for item in tree[1:]])
    inner: list[list[float]] = [[] for _ in tree[1:]]
    shapes = sorted(_shape(item, own) for item, own in zip(tree[1:], inner, strict=True))
    if all(shape == b"#" for shape in shapes):  # for other members it is unknown which numbers correspond
        numbers += sorted(own[0] for own in inner)
    return _digest(canonical(tree[0]), shapes)


def _runs(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Return the ranges in which equal keys are adjacent."""

    ends = [i + 1 for i in range(len(keys)) if i + 1 == len(keys) or keys[i] != keys[i + 1]]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def n_items(tree: codec.Tree) -> int:
    """Return the number of items in a tree, including tags."""
    return 1 + sum(map(n_items, tree[1:])) if isinstance(tree, list) else 1
