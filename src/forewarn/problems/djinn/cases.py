"""Djinn's test cases, pairs of an input and an expected value, as calls of a function with positional arguments.

The reference's signature, which is read but not run, says how an input becomes arguments: a function of one parameter
gets the input as it stands, any other function gets its items.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from forewarn.errors import InputError
from forewarn.problems.djinn.values import (
    MAX_FIELD_ITEMS,
    MAX_TEST_ITEMS,
    Notation,
    check_items,
    check_plain,
    parse,
    shown,
    written,
)
from forewarn.records import TestCase

Pair = tuple[object, object]


def read_pairs(raw: object, where: str) -> tuple[list[Pair], Notation]:
    """Return the (input, expected) pairs of a field, given as text or as values. Raises ``InputError``."""
    notation: Notation = "plain"
    value = raw
    try:
        if isinstance(raw, str):
            value, notation = parse(raw, MAX_FIELD_ITEMS)
        else:
            check_items(raw, MAX_FIELD_ITEMS)
    except ValueError as error:
        raise InputError(f"{where}: {error}; give a list of pairs of input and expected value") from None
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: is {type(value).__name__}; give a list of pairs of input and expected value")
    if not value:
        raise InputError(f"{where}: has no test cases; give at least one")
    for index, item in enumerate(value):
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise InputError(f"{where}[{index}]: is {shown(item)}; give a pair of input and expected value")
        for part, what in zip(item, ("its input", "its expected value"), strict=True):
            try:
                check_plain(part, MAX_TEST_ITEMS)
            except ValueError as error:
                raise InputError(
                    f"{where}[{index}]: {what} {error}; give a smaller one, or leave the test out"
                ) from None
    return [(item[0], item[1]) for item in value], notation


def write_pairs(pairs: Sequence[Pair], notation: Notation) -> object:
    """Return the field for ``pairs``, as ``read_pairs`` reads it."""
    if notation == "plain":
        return [list(pair) for pair in pairs]
    return written([list(pair) if notation == "json" else pair for pair in pairs], notation)


def parameters_of(source: str, name: str, where: str) -> ast.arguments:
    """Return the parameters of the last function ``name`` that ``source`` defines. Raises ``InputError``."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: does not parse: {type(error).__name__}: {error}; give Python source") from None
    found: ast.arguments | None = None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            found = node.args
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            named = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found = node.value.args if name in named else found
    if found is None:
        raise InputError(f"{where}: does not define the function {name} that function_name names")
    return found


def as_tests(pairs: Sequence[Pair], parameters: ast.arguments, where: str) -> tuple[TestCase, ...]:
    """Return the pairs as calls. Raises ``InputError`` if an input has too few or too many items."""
    fewest, most = _counts(parameters)
    tests = []
    for index, (value, expected) in enumerate(pairs):
        args = tuple(value) if most != 1 and isinstance(value, (list, tuple)) else (value,)
        if most == 0:
            args = ()
        if not (fewest <= len(args) and (most is None or len(args) <= most)):
            wanted = "at least " * (most != fewest) + str(fewest)
            raise InputError(
                f"{where}[{index}]: input {shown(value)} gives {len(args)} arguments, but the reference takes {wanted}"
            )
        tests.append(TestCase(args, expected))
    return tuple(tests)


def as_pairs(tests: Sequence[TestCase], parameters: ast.arguments) -> list[Pair]:
    """Return calls as pairs that ``as_tests`` can read."""
    if _counts(parameters)[1] != 1:
        return [(test.args, test.expected) for test in tests]
    return [(test.args[0] if len(test.args) == 1 else test.args, test.expected) for test in tests]


def _counts(parameters: ast.arguments) -> tuple[int, int | None]:
    """Return the smallest and largest number of positional arguments; None: any number."""
    named = len(parameters.posonlyargs) + len(parameters.args)
    return named - len(parameters.defaults), None if parameters.vararg else named
