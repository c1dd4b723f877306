"""The typed, length-checked encoding in which inputs enter and results leave the sandbox.

JSON text of tagged trees, so that nothing but data can cross: scalars stand for themselves, every container is a list
whose first item is its tag. Both sides of the sandbox import this file, so it uses the standard library alone.
Not covered: the transport (``host.py``, ``link.py``) and the comparison of trees (``judge/compare.py``).

Trees: ``null, true, 3, 2.5, "text"`` | ``["i", hex]`` big int | ``["b", hex]`` bytes | ``["c", re, im]`` complex |
``["l", ...]`` list | ``["t", ...]`` tuple | ``["s", ...]`` set | ``["f", ...]`` frozenset |
``["d", k, v, k, v, ...]`` dict | ``["u", hex]`` text in which JSON would join two surrogates (UTF-8, each by itself) |
``["o", name]`` anything else, equal to nothing.

The judge reads what a child sent as a tree and never hashes it: integers can be chosen to collide, and then a set of n
of them costs n * n. ``Budget`` bounds what a message may cost before it is parsed.
"""

from __future__ import annotations

import collections
import json
import math
import re
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import Any

Tree = Any
"""a JSON value as described above"""

MAX_DEPTH = 100
"""levels of nesting; deeper values become opaque"""
_FRAME_DEPTH = MAX_DEPTH + 10
"""levels of a whole message, which holds values; code that walks a tree may rely on it"""
MAX_NODES = 400_000
"""items in one value; larger values become opaque"""
MAX_MESSAGE_WEIGHT = 2_500_000
"""of one message from a child: a comma or a string weighs 1, a container 2; no value of ``MAX_NODES`` weighs more"""
MAX_RUN_WEIGHT = 5_000_000
"""of all messages of one execution"""
_PIECE = 1 << 18
"""bytes weighed at a time, which bounds the memory that it takes"""
_MAX_KEYS = 8
"""of the one JSON object that a message may be; trees hold none"""
_MAX_NAME = 100
_MAX_COLLIDING = 16
"""members of a set or keys of a dict with one hash, however few there are: a message may hold thousands of sets. Honest
data has two or three, such as -1 and -2"""

MALFORMED: Tree = ["o", "malformed"]
"""stands for what no value is encoded as"""
_CONTAINERS: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "f"}
_TAGS = frozenset({*_CONTAINERS.values(), "d"})
# Dict subclasses that honest code returns where a dict is meant. Exact types: a subclass of these is opaque.
_DICTS = frozenset({dict, collections.Counter, collections.defaultdict, collections.OrderedDict})
_SMALL = 1 << 62
_joined = re.compile("[\ud800-\udbff][\udc00-\udfff]").search
"""finds two surrogates that stand apart in Python and that JSON reads as one character"""
_without_strings = re.compile(rb'"[^"]*"').sub
_long_number = re.compile(rb"[0-9]{40}").search
"""no number of ours has so many digits (big ones are text), and the time to read one grows with their square"""
_is_hex = re.compile("(?:[0-9a-f]{2})*").fullmatch
_is_integer = re.compile("-?[0-9a-f]+").fullmatch
_name_of = type.__dict__["__name__"].__get__


class CodecError(ValueError):
    """Bytes that are no tree: cut short, of unknown tag, too deep, too large."""


class Budget:
    """What the messages of one execution may weigh, all together and each by itself."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_RUN_WEIGHT

    def spend(self, data: bytes) -> None:
        """Take off what parsing ``data`` will cost; ``CodecError`` where that is too much. Takes linear time."""
        bare = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
        most = min(self.left, MAX_MESSAGE_WEIGHT)
        weight = objects = keys = at = 0
        while at < len(bare):
            end = at + _PIECE
            quotes = bare.count(b'"', at, end)
            if quotes % 2:  # a string goes on behind this piece
                end = bare.find(b'"', end) + 1 or len(bare)
            piece = _without_strings(b"", bare[at:end])
            weight += (quotes + 1) // 2 + piece.count(b",") + 2 * piece.count(b"[")
            objects, keys, at = objects + piece.count(b"{"), keys + piece.count(b":"), end
            if weight > most:
                raise CodecError("too many items")
            if objects > 1 or keys > _MAX_KEYS:
                raise CodecError("holds objects, which no tree does")
            if _long_number(piece):
                raise CodecError("holds a number of too many digits")
        self.left -= weight


class _Nodes:
    __slots__ = ("left", "text")

    def __init__(self, text: float) -> None:
        self.left = MAX_NODES
        self.text = text


class _TooLargeError(Exception):
    pass


def encode(value: object, *, most_text: float = math.inf) -> Tree:
    """The tree of ``value``. Exact types only: an instance of any other type is opaque, whatever it claims to equal.

    Never raises for data; a value too deep or too large is opaque as a whole. ``most_text``: characters and bytes that
    it may hold, looked at before any is written out, so that a huge text costs no time.
    """
    try:
        return _encode(value, 0, _Nodes(most_text))
    except _TooLargeError as error:
        return ["o", str(error)]


def _encode(value: Any, depth: int, nodes: _Nodes) -> Tree:
    nodes.left -= 1
    if nodes.left < 0:
        raise _TooLargeError("value of more than 400000 items")
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is str or kind is bytes:
        nodes.text -= len(value)
        if nodes.text < 0:
            raise _TooLargeError("value of too much text")
    if kind is str:
        apart = not value.isascii() and _joined(value)
        return ["u", value.encode("utf-8", "surrogatepass").hex()] if apart else value
    if kind is int:
        return value if -_SMALL < value < _SMALL else ["i", format(value, "x")]
    if depth >= MAX_DEPTH:
        raise _TooLargeError("value nested more than 100 deep")
    if kind in _CONTAINERS:
        return [_CONTAINERS[kind], *[_encode(item, depth + 1, nodes) for item in value]]
    if kind in _DICTS:
        tree: list[Tree] = ["d"]
        for key, item in dict.items(value):
            tree.append(_encode(key, depth + 1, nodes))
            tree.append(_encode(item, depth + 1, nodes))
        return tree
    if kind is bytes:
        return ["b", value.hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    return ["o", str.__getitem__(_name_of(kind), slice(_MAX_NAME))]  # a metaclass may say anything else


def checked(tree: Tree) -> Tree:
    """``tree`` if ``encode`` could have made it, as to form and size; else an opaque one.

    What a child sent is looked at in this way once, when it comes in, so that whatever reads it later, on any way,
    need not be ready for more. Takes no longer than the largest value allows.
    """
    level, left = [tree], MAX_NODES - 1
    for _ in range(MAX_DEPTH + 1):
        inner: list[Tree] = []
        for item in level:
            if type(item) is not list:
                if type(item) is int and not -_SMALL < item < _SMALL:
                    return MALFORMED
            elif not item or type(item[0]) is not str:
                return MALFORMED
            elif item[0] in _TAGS:
                left -= len(item) - 1
                if left < 0 or (item[0] == "d" and len(item) % 2 == 0):
                    return MALFORMED
                inner += item[1:]
            elif not _is_leaf(item):
                return MALFORMED
        if not inner:
            return tree
        level = inner
    return MALFORMED


def _is_leaf(tree: list[Tree]) -> bool:
    """Whether a tagged tree that is no container says what its tag means."""
    tag, rest = tree[0], tree[1:]
    if tag == "c":
        return [type(part) for part in rest] == [float, float]
    if len(rest) != 1 or type(rest[0]) is not str:
        return False
    if tag == "i":
        return _is_integer(rest[0]) is not None
    return tag == "o" or (tag in ("b", "u") and _is_hex(rest[0]) is not None)


def decode(tree: Tree) -> object:
    """The value of a tree (``CodecError`` if it is none). Opaque trees decode to ``Opaque``.

    For a child, and for handing a result to a user's own reward: a set or dict of many members with one hash, which
    would take the square of their number to build, counts as no value.
    """
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
        if tag in ("s", "f"):
            _check_hashes(items)
        return {"l": list, "t": tuple, "s": set, "f": frozenset}[tag](items)
    if tag == "d" and len(rest) % 2 == 0:
        values = [_decode(item, depth + 1) for item in rest]
        _check_hashes(values[::2])
        return dict(zip(values[::2], values[1::2], strict=True))
    if tag == "u" and len(rest) == 1:
        return bytes.fromhex(rest[0]).decode("utf-8", "surrogatepass")
    if tag == "i" and len(rest) == 1:
        return int(rest[0], 16)
    if tag == "b" and len(rest) == 1:
        return bytes.fromhex(rest[0])
    if tag == "c" and len(rest) == 2:
        return complex(float(rest[0]), float(rest[1]))
    if tag == "o" and len(rest) == 1:
        return Opaque(str(rest[0])[:_MAX_NAME])
    raise CodecError("unknown tag")


def _check_hashes(members: Iterable[Hashable]) -> None:
    """``CodecError`` for members of which too many share a hash."""
    hashes = sorted(map(hash, members))
    run = 0
    for one, next_one in pairwise(hashes):
        run = run + 1 if one == next_one else 0
        if run >= _MAX_COLLIDING:
            raise CodecError("members that collide")


def entry(tree: Tree, name: str) -> Tree:
    """What a dict's tree holds under the text ``name``; None where it is no dict or has no such key."""
    if not isinstance(tree, list) or tree[:1] != ["d"]:
        return None
    return next((tree[i + 1] for i in range(1, len(tree) - 1, 2) if tree[i] == name), None)


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


def loads(data: bytes, budget: Budget | None = None) -> Tree:
    """The tree in ``data``, checked to be JSON and no deeper than ``encode`` makes one; ``CodecError`` otherwise.

    ``budget``: what it may cost; to be given for whatever a child sent. None is for messages of our own.
    """
    if budget is not None:
        budget.spend(data)
    try:
        tree = json.loads(data.decode("ascii"))  # bytes might be read as UTF-16, in which other signs are structure
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
