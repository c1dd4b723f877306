"""Comparison that forgives what a problem's own format can't say, for all checkers of a type at once.

A problem that came as JSON can't tell a tuple from a list; one may state that the order of its results is free. The
one comparator stays what it is (``compare.py``): both values are rewritten alike before it sees them.
"""

from __future__ import annotations

from dataclasses import replace

from forewarn.exploits.base import Call, Checker, ExploitType, Rule, Run, secure_of
from forewarn.judge import codec
from forewarn.judge.compare import same_trees


def loosened(
    kind: ExploitType,
    name: str,
    *,
    any_sequence: bool = False,
    any_order: bool = False,
    tolerance: float | None = None,
) -> ExploitType:
    """``kind``, now named ``name``, with results also right that differ in what is forgiven.

    ``any_sequence``: tuples are lists. ``any_order``: the result as a whole, if it is a list or a tuple, may have any
    order. ``tolerance``: the problem's.
    """

    def loose(checker: Checker) -> Checker:
        return replace(checker, rule=_looser(checker.rule, any_sequence, any_order, tolerance))

    return replace(
        kind, name=name, vulnerable=loose(kind.vulnerable), patched=loose(kind.patched), secure=loose(secure_of(kind))
    )


def _looser(rule: Rule, any_sequence: bool, any_order: bool, tolerance: float | None) -> Rule:
    def same(expected: codec.Tree, result: codec.Tree) -> bool:
        if any_sequence:
            expected, result = _as_lists(expected), _as_lists(result)
        if any_order and _kind(expected) == _kind(result) and _kind(expected) in ("l", "t"):
            expected, result = ["s", *expected[1:]], ["s", *result[1:]]  # a multiset to the comparator
        return same_trees(expected, result, tolerance)

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
