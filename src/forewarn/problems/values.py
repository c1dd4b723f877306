"""Values as text: Python literals of plain data, so that tuples, sets, int keys, None and NaN survive any file format.

Text is written by ``forewarn.exploits.source.literal``. Reading evaluates nothing: only literals, ``float("nan")`` and
its like, ``set()`` and ``frozenset(...)`` are known.
"""

from __future__ import annotations

import ast

_NOT_FINITE = {"nan", "inf", "-inf"}


def parse(text: str) -> object:
    """The value of a literal. Raises ``ValueError`` for any other text."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"no literal ({type(error).__name__}): {_shortened(text)}") from None


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
        return {
            _value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None
        }
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        number = _number(node.operand)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(node.right, ast.Constant):
        real, imaginary = _number(node.left), _number(node.right)
        if isinstance(imaginary, complex):
            return real + imaginary if isinstance(node.op, ast.Add) else real - imaginary
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, node.args)
    raise ValueError(f"no literal: {_shortened(ast.unparse(node))}")


def _number(node: ast.expr) -> int | float | complex:
    value = _value(node)
    if isinstance(value, bool) or not isinstance(value, (int, float, complex)):
        raise ValueError(f"no number: {_shortened(ast.unparse(node))}")
    return value


def _call(name: str, arguments: list[ast.expr]) -> object:
    values = [_value(argument) for argument in arguments]
    if name == "float" and len(values) == 1 and values[0] in _NOT_FINITE:
        return float(str(values[0]))
    if name == "set" and not values:
        return set()
    if name == "frozenset" and (not values or (len(values) == 1 and isinstance(values[0], (set, frozenset)))):
        return frozenset(*values)
    raise ValueError(f"no literal: a call of {name}")


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
