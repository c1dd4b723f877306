"""Values as text: Python literals of plain data, so that tuples, sets, int keys, None and NaN survive any file format.

``forewarn.exploits.source.literal`` writes the text. The reader evaluates nothing: it knows literals, ``float("nan")``
and the like, ``complex(re, im)``, ``set()`` and ``frozenset(...)``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from forewarn.exploits.source import literal

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, set, frozenset, dict)
_SURELY_READ_DEPTH = 90
"""levels that ``parse`` can always read; for deeper values this is tested"""
_NOT_FINITE = {"nan", "inf", "-inf"}


def parse(text: str, names: Mapping[str, object] | None = None) -> object:
    """Return the value of a literal. Raises ``ValueError`` for any other text.

    ``names``: bare names that stand for a value too, such as ``null``.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value((_Named(names).visit(tree) if names else tree).body)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"is not a literal ({type(error).__name__}): {_shortened(text)}") from None


def check_writable(value: object) -> None:
    """Raise ``ValueError`` with a readable reason if the value and its types would not survive a file."""
    deepest = 0
    left: list[tuple[object, int]] = [(value, 0)]
    while left:
        item, depth = left.pop()
        deepest = max(deepest, depth)
        if depth > 10 * _SURELY_READ_DEPTH:
            raise ValueError("is nested too deep to be read back")
        if type(item) not in (*_SCALARS, *_CONTAINERS):
            raise ValueError(f"contains a {type(item).__name__}, which is not plain data and would not survive a file")
        if isinstance(item, dict):
            left += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, (list, tuple, set, frozenset)):
            left += [(part, depth + 1) for part in item]
    if deepest > _SURELY_READ_DEPTH:
        try:
            parse(literal(value))
        except (ValueError, RecursionError):
            raise ValueError(f"is nested {deepest} deep, too deep to be read back") from None


class _Named(ast.NodeTransformer):
    """Replaces names by their values."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names:
            return node
        value: Any = self._names[node.id]
        return ast.copy_location(ast.Constant(value), node)


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Constant) and node.value is not ...:
        return node.value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {_value(item) for item in node.elts}
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key) for key in node.keys if key is not None]
        found = dict(zip(keys, map(_value, node.values), strict=True))
        if len(found) < len(keys):
            raise ValueError(f"is not a literal: a dict with a key twice: {_shortened(ast.unparse(node))}")
        return found
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        number = _number(node.operand)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(node.right, ast.Constant):
        real, imaginary = _number(node.left), _number(node.right)
        if isinstance(imaginary, complex):
            return real + imaginary if isinstance(node.op, ast.Add) else real - imaginary
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, node.args)
    raise ValueError(f"is not a literal: {_shortened(ast.unparse(node))}")


def _number(node: ast.expr) -> int | float | complex:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, (int, float, complex)):
        raise ValueError(f"is not a number: {_shortened(ast.unparse(node))}")
    return value


def _call(name: str, arguments: list[ast.expr]) -> object:
    values = [_value(argument) for argument in arguments]
    if name == "float" and len(values) == 1 and values[0] in _NOT_FINITE:
        return float(str(values[0]))
    match (name, *values):
        case ("complex", float(real), float(imaginary)):
            return complex(real, imaginary)
    if name == "set" and not values:
        return set()
    if name == "frozenset" and (not values or (len(values) == 1 and isinstance(values[0], (set, frozenset)))):
        return frozenset(*values)
    raise ValueError(f"is not a literal: a call of {name}")


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
