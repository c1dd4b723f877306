"""The typed, length-checked encoding in which inputs enter and results leave the sandbox.

JSON text of tagged trees, so that nothing but data can cross: scalars stand for themselves, every container is a list
whose first item is its tag. Both sides of the sandbox import this file, so it uses the standard library alone.
Not covered: the transport (``sandbox.py``, ``zygote.py``) and the comparison of trees (``compare.py``).

Trees: ``null, true, 3, 2.5, "text"`` | ``["i", hex]`` big int | ``["b", hex]`` bytes | ``["c", re, im]`` complex |
``["l", ...]`` list | ``["t", ...]`` tuple | ``["s", ...]`` set | ``["f", ...]`` frozenset |
``["d", k, v, k, v, ...]`` dict | ``["o", name]`` anything else, equal to nothing.
"""

from __future__ import annotations

import collections
import json
from typing import Any

Tree = Any
"""a JSON value as described above"""

MAX_DEPTH = 100
"""levels of nesting; deeper values become opaque"""
_FRAME_DEPTH = MAX_DEPTH + 10
"""levels of a whole message, which holds values; code that walks a tree may rely on it"""
MAX_NODES = 400_000
"""items in one value; larger values become opaque"""

_CONTAINERS: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "f"}
# Dict subclasses that honest code returns where a dict is meant. Exact types: a subclass of these is opaque.
_DICTS = frozenset({dict, collections.Counter, collections.defaultdict, collections.OrderedDict})
_SMALL = 1 << 62


class CodecError(ValueError):
    """Bytes that are no tree: cut short, of unknown tag, too deep."""


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_NODES


class _TooLargeError(Exception):
    pass


def encode(value: object) -> Tree:
    """The tree of ``value``. Exact types only: an instance of any other type is opaque, whatever it claims to equal.

    Never raises for data; a value too deep or too large is opaque as a whole.
    """
    try:
        return _encode(value, 0, _Budget())
    except _TooLargeError as error:
        return ["o", str(error)]


def _encode(value: Any, depth: int, budget: _Budget) -> Tree:
    budget.left -= 1
    if budget.left < 0:
        raise _TooLargeError("value of more than 400000 items")
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -_SMALL < value < _SMALL else ["i", format(value, "x")]
    if depth >= MAX_DEPTH:
        raise _TooLargeError("value nested more than 100 deep")
    if kind in _CONTAINERS:
        return [_CONTAINERS[kind], *[_encode(item, depth + 1, budget) for item in value]]
    if kind in _DICTS:
        tree: list[Tree] = ["d"]
        for key, item in dict.items(value):
            tree.append(_encode(key, depth + 1, budget))
            tree.append(_encode(item, depth + 1, budget))
        return tree
    if kind is bytes:
        return ["b", value.hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    return ["o", str(kind.__name__)[:100]]


def decode(tree: Tree) -> object:
    """The value of a tree (``CodecError`` if it is none). Opaque trees decode to ``Opaque``."""
    try:
        return _decode(tree, 0)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"not a value: {type(error).__name__}") from error


def _decode(tree: Tree, depth: int) -> Any:
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if depth > MAX_DEPTH or not isinstance(tree, list) or not tree:
        raise CodecError("not a tree")
    tag, rest = tree[0], tree[1:]
    if tag in ("l", "t", "s", "f"):
        items = [_decode(item, depth + 1) for item in rest]
        return {"l": list, "t": tuple, "s": set, "f": frozenset}[tag](items)
    if tag == "d" and len(rest) % 2 == 0:
        values = [_decode(item, depth + 1) for item in rest]
        return dict(zip(values[::2], values[1::2], strict=True))
    if tag == "i" and len(rest) == 1:
        return int(rest[0], 16)
    if tag == "b" and len(rest) == 1:
        return bytes.fromhex(rest[0])
    if tag == "c" and len(rest) == 2:
        return complex(float(rest[0]), float(rest[1]))
    if tag == "o" and len(rest) == 1:
        return Opaque(str(rest[0]))
    raise CodecError("unknown tag")


class Opaque:
    """A result that is no plain data. Equal to nothing, itself included."""

    __slots__ = ("type_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


def dumps(tree: Tree) -> bytes:
    """JSON text (ASCII: lone surrogates survive)."""
    return json.dumps(tree, separators=(",", ":")).encode("ascii")


def loads(data: bytes) -> Tree:
    """The tree in ``data``, checked to be JSON and no deeper than ``encode`` makes one; ``CodecError`` otherwise."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {type(error).__name__}") from error
    if data.count(b"[") + data.count(b"{") > _FRAME_DEPTH:
        level = [tree]
        for _ in range(_FRAME_DEPTH):
            inner = [item.values() if type(item) is dict else item for item in level if type(item) in (dict, list)]
            level = [item for items in inner for item in items]
        if level:
            raise CodecError("nested too deep")
    return tree
