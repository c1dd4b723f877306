"""Values in text, as Djinn writes them: a Python literal or JSON, told apart, bounded, and never evaluated.

JSON gives lists where Python may mean tuples, so the notation is part of what was read. Names that can mean one thing
only are values in both: ``null``, ``true``, ``false``, ``nan``, ``inf`` and their spellings. Sets may be written
``set()`` and ``frozenset(...)``, floats ``float("nan")``. Values written go through ``forewarn.exploits``' ``literal``.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from typing import Literal

from forewarn.exploits.source import literal

Notation = Literal["python", "json", "plain"]
"""plain: no text at all, but values of the file's own format"""
MAX_TEXT_CHARS = 4_000_000
MAX_ITEMS = 400_000
"""items in one value: as many as cross the sandbox"""
MAX_DEPTH = 90
"""levels of nesting: a few less than cross the sandbox, which adds its own"""

_NAMES: dict[str, object] = {
    "null": None, "true": True, "false": False, "nan": math.nan, "NaN": math.nan, "inf": math.inf,
    "Infinity": math.inf,
}  # fmt: skip
_FLOATS = {"nan", "inf", "-inf", "infinity", "-infinity"}


def parse(text: str) -> tuple[object, Notation]:
    """The value in ``text`` and its notation. Raises ``ValueError`` with a reason for people.

    JSON is tried first: what is both has one meaning, but for escapes that only JSON knows (``\\/``, surrogate pairs).
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"holds {len(text)} characters; at most {MAX_TEXT_CHARS} are read")
    notation: Notation = "json"
    try:
        value = json.loads(text, object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        value, notation = parse_literal(text), "python"
    check_plain(value)
    return value, notation


def parse_literal(text: str) -> object:
    """The value of a Python literal. Raises ``ValueError``."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, 0)
    except (SyntaxError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"is neither JSON nor a Python literal ({error}): {shortened(text)}") from None


def written(value: object, notation: Notation) -> str:
    """``value`` as text, in JSON only where that keeps it as it is."""
    if notation == "json" and is_json(value):
        return json.dumps(value, ensure_ascii=False)
    return literal(value)


def is_json(value: object) -> bool:
    """Whether JSON gives the value back as it was (with NaN and Infinity, which Python's JSON knows)."""
    if type(value) is list:
        return all(is_json(item) for item in value)
    if type(value) is dict:
        return all(type(key) is str and is_json(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


def check_plain(value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is plain data of bounded size (shared parts count each time they occur)."""
    left = MAX_ITEMS

    def walk(item: object, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"holds more than {MAX_ITEMS} items")
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} deep")
        if type(item) is dict:
            for key, inner in item.items():
                walk(key, depth + 1)
                walk(inner, depth + 1)
        elif isinstance(item, (list, tuple, set, frozenset)):
            for inner in item:
                walk(inner, depth + 1)
        elif item is not None and type(item) not in (bool, int, float, complex, str, bytes):
            raise ValueError(f"holds a {type(item).__name__}, which is no plain data")

    walk(value, 0)


def shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _value(node: ast.expr, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} deep")

    def inner(item: ast.expr) -> object:
        return _value(item, depth + 1)

    if isinstance(node, ast.Constant) and node.value is not ...:
        return node.value
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.List):
        return [inner(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(inner(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {inner(item) for item in node.elts}
    if isinstance(node, ast.Dict):
        return _dict(node, inner)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        number = _number(inner(node.operand), node)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return _complex(node, inner)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [inner(argument) for argument in node.args])
    raise ValueError(f"holds no literal but an expression: {shortened(ast.unparse(node))}")


def _dict(node: ast.Dict, inner: Callable[[ast.expr], object]) -> dict[object, object]:
    found: dict[object, object] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise ValueError("holds no literal but a ** in a dict")
        name = inner(key)
        if name in found:
            raise ValueError(f"holds a dict with the key {shortened(repr(name))} twice")
        found[name] = inner(value)
    return found


def _number(value: object, node: ast.expr) -> int | float | complex:
    if isinstance(value, bool) or not isinstance(value, (int, float, complex)):
        raise ValueError(f"holds no literal but an expression: {shortened(ast.unparse(node))}")
    return value


def _complex(node: ast.BinOp, inner: Callable[[ast.expr], object]) -> complex:
    """``1+2j``: the only sum that is a literal."""
    real, imaginary = _number(inner(node.left), node), _number(inner(node.right), node)
    if isinstance(real, complex) or not isinstance(imaginary, complex):
        raise ValueError(f"holds no literal but an expression: {shortened(ast.unparse(node))}")
    return real + imaginary if isinstance(node.op, ast.Add) else real - imaginary


def _call(name: str, values: list[object]) -> object:
    if name == "float" and len(values) == 1 and str(values[0]).lower() in _FLOATS:
        return float(str(values[0]))
    if name == "set" and not values:
        return set()
    if name == "frozenset" and (not values or (len(values) == 1 and isinstance(values[0], (set, frozenset)))):
        return frozenset(*values)
    raise ValueError(f"holds a call of {name}, which is no literal")
