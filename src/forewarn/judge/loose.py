"""A looser comparison for what a problem's own format can't express, for all checkers of a type at once.

JSON can't tell a tuple from a list; a problem may say that its results have no order; and a format that compares as
Python does accepts 8.0 for 8 and a named tuple for a tuple. The comparator (``compare.py``) does not change: this
module rewrites both values in the same way before they are compared.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from forewarn.exploits.base import Call, Checker, ExploitType, Rule, Run, secure_of
from forewarn.judge.compare import no_larger, same_trees
from forewarn.judge.unordered import canonical, near
from forewarn.sandbox import codec
from forewarn.sandbox.sides import joined

_EXACT_FLOATS = 1 << 53
"""whole numbers below it each have their own float: beyond it a tolerance is meaningless"""


@dataclass(frozen=True, slots=True)
class _Forgiven:
    any_sequence: bool
    any_order: bool
    as_python: bool
    tolerance: float | None


def loosened(
    kind: ExploitType,
    name: str,
    *,
    any_sequence: bool = False,
    any_order: bool = False,
    as_python: bool = False,
    typing_names: bool = False,
    tolerance: float | None = None,
) -> ExploitType:
    """Return ``kind`` under the new ``name``, with a looser comparison in each way that is switched on.

    ``any_sequence``: tuples equal lists. ``any_order``: a result that is a list or a tuple may have any order.
    ``as_python``: values are equal if Python says so: 8.0 equals 8 (but not a bool), a named tuple equals a tuple, a
    member of an ``IntEnum`` equals an int. ``typing_names``: submissions can use the names of ``typing`` without an
    import. ``tolerance``: the problem's own.
    """
    forgiven = _Forgiven(any_sequence, any_order, as_python, tolerance)
    sides = ["typing"] * typing_names + ["plain"] * as_python

    def loose(checker: Checker) -> Checker:
        child = replace(checker.child, source=joined(checker.child.source, *sides)) if sides else checker.child
        return replace(checker, rule=_looser(checker.rule, forgiven), child=child)

    return replace(
        kind, name=name, vulnerable=loose(kind.vulnerable), patched=loose(kind.patched), secure=loose(secure_of(kind))
    )


def _looser(rule: Rule, forgiven: _Forgiven) -> Rule:
    def same(expected: codec.Tree, result: codec.Tree) -> bool:
        if not no_larger(result, expected):
            return False
        if forgiven.any_sequence:
            expected, result = _as_lists(expected), _as_lists(result)
        if forgiven.any_order and _kind(expected) == _kind(result) and _kind(expected) in ("l", "t"):
            expected, result = ["s", *expected[1:]], ["s", *result[1:]]  # a multiset to the comparator
        if forgiven.as_python:
            result = _in_the_numbers_of(expected, result, forgiven.tolerance)
        return same_trees(expected, result, forgiven.tolerance)

    def looked_at(run: Run) -> Run:
        calls: list[Call] = []
        for call, test in zip(run.calls, run.tests, strict=True):
            if call.outcome == "returned" and not call.correct:
                call = replace(call, correct=same(codec.encode(test.expected), call.tree))
            calls.append(call)
        return replace(run, calls=tuple(calls))

    return lambda run: rule(looked_at(run))


def _kind(tree: codec.Tree) -> object:
    return tree[0] if isinstance(tree, list) and tree else None


def _as_lists(tree: codec.Tree) -> codec.Tree:
    if not isinstance(tree, list) or not tree or tree[0] not in ("l", "t", "d"):
        return tree
    return ["l" if tree[0] == "t" else tree[0], *map(_as_lists, tree[1:])]


def _in_the_numbers_of(expected: codec.Tree, result: codec.Tree, tolerance: float | None) -> codec.Tree:
    """Return ``result`` with each number's type, int or float, changed to that of a matching number in ``expected``."""
    wanted, given = _number(expected), _number(result)
    if wanted is not None and given is not None:
        return expected if type(wanted) is not type(given) and _match(wanted, given, tolerance) else result
    if not _kind(expected) or _kind(expected) != _kind(result) or len(expected) != len(result):
        return result
    tag = expected[0]
    if tag in ("l", "t"):
        pairs = zip(expected[1:], result[1:], strict=True)
        return [tag, *(_in_the_numbers_of(a, b, tolerance) for a, b in pairs)]
    if tag in ("s", "f"):
        left = _by_value(expected[1:])
        return [tag, *(_taken(left, item) for item in result[1:])]
    if tag == "d" and len(expected) % 2:
        left, values = (
            _by_value(expected[1::2]),
            dict(zip(map(_by_number, expected[1::2]), expected[2::2], strict=True)),
        )
        found: list[codec.Tree] = ["d"]
        for key, value in zip(result[1::2], result[2::2], strict=True):
            name = _by_number(key)
            found += [
                _taken(left, key),
                _in_the_numbers_of(values[name], value, tolerance) if name in values else value,
            ]
        return found
    return result


def _number(tree: codec.Tree) -> int | float | None:
    """Return the value of an encoded int or float; a bool is neither, nor is an opaque tree that claims to be one."""
    if type(tree) in (int, float):
        return tree  # type: ignore[no-any-return]
    if _kind(tree) != "i":
        return None
    try:
        value = codec.decode(tree)
    except codec.CodecError:
        return None
    return value if type(value) is int else None


def _match(wanted: float, given: float, tolerance: float | None) -> bool:
    """Return whether an int and a float are the same number: exactly, or within the tolerance as long as every whole
    number has its own float."""
    if wanted == given:
        return True
    if tolerance is None or not (abs(wanted) < _EXACT_FLOATS and abs(given) < _EXACT_FLOATS):
        return False
    return near(wanted, given, tolerance)


def _by_number(tree: codec.Tree) -> bytes:
    """Return a text that is the same for trees that Python considers equal, except bools."""
    return canonical(_whole(tree))


def _whole(tree: codec.Tree) -> codec.Tree:
    """Return ``tree`` with an int for every float that is a whole number."""
    if type(tree) is float and tree.is_integer():
        return codec.encode(int(tree))
    if _kind(tree) in ("l", "t", "s", "f", "d"):
        return [tree[0], *map(_whole, tree[1:])]
    return tree


def _by_value(trees: list[codec.Tree]) -> dict[bytes, deque[codec.Tree]]:
    found: dict[bytes, deque[codec.Tree]] = {}
    for tree in trees:
        found.setdefault(_by_number(tree), deque()).append(tree)
    return found


def _taken(left: dict[bytes, deque[codec.Tree]], tree: codec.Tree) -> codec.Tree:
    """Return an unused expected item that ``tree`` equals, or ``tree`` itself."""
    equal = left.get(_by_number(tree))
    return equal.popleft() if equal else tree
