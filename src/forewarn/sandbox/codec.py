"""The typed, length-checked encoding in which inputs enter and results leave the sandbox.

It is JSON text of tagged trees, so that only data can cross: scalars stand for themselves, and every container is a
list whose first item is its tag. Both sides of the sandbox import this file, so it uses only the standard library.
Not covered: the transport (``host.py``, ``link.py``) and the comparison of trees (``judge/compare.py``).

Trees: ``null, true, 3, 2.5, "text"`` | ``["i", hex]`` big int | ``["b", hex]`` bytes | ``["c", re, im]`` complex |
``["l", ...]`` list | ``["t", ...]`` tuple | ``["s", ...]`` set | ``["f", ...]`` frozenset |
``["d", k, v, k, v, ...]`` dict | ``["u", hex]`` text in which JSON would join two surrogates (UTF-8, each by itself) |
``["o", name]`` anything else, equal to nothing.

The judge reads a child's message as a tree and never hashes its values: a child can choose integers that collide, and
then a set of n of them takes n * n steps. ``Budget`` bounds the cost of a message before it is parsed.
"""

from __future__ import annotations

import collections
import itertools
import json
import math
import re
from typing import Any

from forewarn.sandbox.comparisons import CollisionsError, Comparisons, text_cost

Tree = Any
"""a JSON value as described above"""

MAX_DEPTH = 100
"""levels of nesting; deeper values become opaque"""
_FRAME_DEPTH = MAX_DEPTH + 10
"""levels of a whole message, which contains values; code that walks a tree may rely on this limit"""
MAX_NODES = 400_000
"""items in one value; larger values become opaque"""
MAX_MESSAGE_WEIGHT = 2_500_000
"""weight of one message from a child: a comma or a string weighs 1, a container 2; values within ``MAX_NODES`` fit"""
MAX_RUN_WEIGHT = 5_000_000
"""weight of all messages of one execution"""
_PIECE = 1 << 18
"""bytes weighed at a time, which bounds the memory used"""
_MAX_KEYS = 8
"""names of the one JSON object that a message may be; trees do not contain objects"""
_MAX_NAME = 100

MAX_COMPARISONS = 32 * MAX_NODES
"""comparisons of members that share a hash, in one value: if sets of such members are members that share a hash
themselves, each level multiplies what the levels below cost, up to nearly the square of the number of items"""

MALFORMED: Tree = ["o", "malformed"]
"""replaces a tree that ``encode`` could not have made"""
_CONTAINERS: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "f"}
_SCALARS = frozenset({type(None), bool, int, float, str})
_TAGS = frozenset({*_CONTAINERS.values(), "d"})
# Dict subclasses that honest code returns where a dict is meant. Exact types: a subclass of these is opaque.
_DICTS = frozenset({dict, collections.Counter, collections.defaultdict, collections.OrderedDict})
_SMALL = 1 << 62
_joined = re.compile("[\ud800-\udbff][\udc00-\udfff]").search
"""finds two surrogates that are separate in Python but that JSON reads as one character"""
_without_strings = re.compile(rb'"[^"]*"').sub
_long_number = re.compile(rb"(?<![0-9])[0-9]{40}").search
"""digits of a number: honest messages have fewer (big integers are text), and reading time grows with their square.
Only the first digit of a number is tried as a start: otherwise 39 digits would take 20 times as long"""
_is_hex = re.compile("(?:[0-9a-f]{2})*").fullmatch
_is_integer = re.compile("-?[0-9a-f]+").fullmatch
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _STEPS.keys())
_name_of = type.__dict__["__name__"].__get__


class CodecError(ValueError):
    """Bytes that are not a tree: cut short, with an unknown tag, too deep, or too large."""


class Budget:
    """The budget of weight for the messages of one execution, in total and for each."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_RUN_WEIGHT

    def spend(self, data: bytes) -> None:
        """Subtract the cost of parsing ``data``, in linear time. Raises ``CodecError`` if it is too much."""
        bare = _without_escapes(data)
        most = min(self.left, MAX_MESSAGE_WEIGHT)
        weight = objects = keys = at = 0
        while at < len(bare):
            end = at + _PIECE
            quotes = bare.count(b'"', at, end)
            if quotes % 2:  # a string continues after this piece
                end = bare.find(b'"', end) + 1 or len(bare)
            piece = _without_strings(b"", bare[at:end])
            weight += (quotes + 1) // 2 + piece.count(b",") + 2 * piece.count(b"[")
            objects, keys, at = objects + piece.count(b"{"), keys + piece.count(b":"), end
            if weight > most:
                raise CodecError("too many items")
            if objects > 1 or keys > _MAX_KEYS:
                raise CodecError("contains objects, which trees do not")
            if _long_number(piece):
                raise CodecError("contains a number with too many digits")
        self.left -= weight


class _Nodes:
    __slots__ = ("left", "text")

    def __init__(self, text: float) -> None:
        self.left = MAX_NODES
        self.text = text


class _TooLargeError(Exception):
    pass


def encode(value: object, *, most_text: float = math.inf) -> Tree:
    """Return the tree of ``value``. Instances of other types, even of subclasses, are opaque.

    Never raises for data; a value that is too deep or too large is opaque as a whole. ``most_text``: maximum number of
    characters and bytes, checked before any is written, so that a huge text is rejected without cost.
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
    return ["o", str.__getitem__(_name_of(kind), slice(_MAX_NAME))]  # a metaclass may return anything else


def checked(tree: Tree) -> Tree:
    """Return ``tree`` if ``encode`` could have made it, by its form and size; otherwise an opaque tree.

    Every tree from a child is checked once, on arrival, so that later readers need not handle invalid ones. The time is
    bounded by that of the largest valid value.
    """

    level, left = [tree], MAX_NODES - 1
    for _ in range(MAX_DEPTH + 1):
        inner: list[Tree] = []
        for item in level:
            if type(item) is not list:
                if type(item) not in _SCALARS or (type(item) is int and not -_SMALL < item < _SMALL):
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
    """Return whether a tagged tree that is not a container has the content that its tag requires."""
    tag, rest = tree[0], tree[1:]
    if tag == "c":
        return [type(part) for part in rest] == [float, float]
    if len(rest) != 1 or type(rest[0]) is not str:
        return False
    if tag == "i":
        return _is_integer(rest[0]) is not None
    return tag == "o" or (tag in ("b", "u") and _is_hex(rest[0]) is not None)


def decode(tree: Tree) -> object:
    """Return the value of a tree. Raises ``CodecError`` for anything else. Opaque trees decode to ``Opaque``.

    For use in a child, and for a result given to a user's own reward. A set or dict with many members that share a hash
    is not a value, since building it takes quadratic time; nor is one whose members share a hash and take long to
    compare, because they contain such sets themselves.
    """
    try:
        return _decode(tree, 0, Comparisons(MAX_COMPARISONS))[0]
    except CodecError:
        raise
    except CollisionsError as error:
        raise CodecError(str(error)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"not a value: {type(error).__name__}") from error


def _decode(tree: Tree, depth: int, comparisons: Comparisons) -> tuple[Any, int]:
    """Return the value of a tree, and a bound on the cost of comparing it with one of the same hash."""
    if tree is None or isinstance(tree, (bool, int, float)):
        return tree, 1
    if isinstance(tree, str):
        return tree, text_cost(tree)
    if depth > MAX_DEPTH or not isinstance(tree, list) or not tree:
        raise CodecError("not a tree")
    tag, rest = tree[0], tree[1:]
    if tag in ("l", "t", "s", "f", "d"):
        decoded = [_decode(item, depth + 1, comparisons) for item in rest]
        items, costs = [value for value, _ in decoded], [cost for _, cost in decoded]
        if tag == "d":
            comparisons.spend(items[::2], costs[::2])
            return dict(zip(items[::2], items[1::2], strict=True)), 1  # never a member itself
        cost = comparisons.spend(items, costs) if tag in ("s", "f") else 1 + sum(costs)
        return {"l": list, "t": tuple, "s": set, "f": frozenset}[tag](items), cost
    if tag == "c" and len(rest) == 2:
        return complex(float(rest[0]), float(rest[1])), 1
    if len(rest) != 1:
        raise CodecError("unknown tag")
    if tag == "u":
        return bytes.fromhex(rest[0]).decode("utf-8", "surrogatepass"), text_cost(rest[0])
    if tag == "i":
        return int(rest[0], 16), text_cost(rest[0])
    if tag == "b":
        return bytes.fromhex(rest[0]), text_cost(rest[0])
    if tag == "o":
        return Opaque(str(rest[0])[:_MAX_NAME]), 1
    raise CodecError("unknown tag")


def entry(tree: Tree, name: str) -> Tree:
    """Return the entry of a dict's tree under the text ``name``; None if it is not a dict or lacks the key."""
    if not isinstance(tree, list) or tree[:1] != ["d"]:
        return None
    return next((tree[i + 1] for i in range(1, len(tree) - 1, 2) if tree[i] == name), None)


class Opaque:
    """A result that is not plain data. It equals nothing, not even itself."""

    __slots__ = ("type_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __eq__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{self.type_name}>"


def dumps(tree: Tree) -> bytes:
    """Return a tree as JSON text (in ASCII, so that lone surrogates survive)."""
    return json.dumps(tree, separators=(",", ":")).encode("ascii")


def loads(data: bytes, budget: Budget | None = None) -> Tree:
    """Return the tree in ``data``. Raises ``CodecError`` unless it is JSON and at most as deep as ``encode`` makes it.

    ``budget``: limit on its cost, required for data from a child; None is for forewarn's own messages.
    """
    if budget is not None:
        budget.spend(data)
    if data.count(b"[") + data.count(b"{") > _FRAME_DEPTH and _is_deep(data):
        raise CodecError("nested too deep")
    try:
        return json.loads(data.decode("ascii"))  # bytes could be read as UTF-16: other structure
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {type(error).__name__}") from error


def _without_escapes(data: bytes) -> bytes:
    """JSON text in which every quotation mark begins or ends a string."""
    return data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data


def _is_deep(data: bytes) -> bool:
    """Whether brackets are nested deeper than a message may be. Looked at before parsing: the parser's own bound is the
    interpreter's limit of recursion, and where that was raised the parser runs out of stack, which ends the process."""
    brackets = _without_strings(b"", _without_escapes(data)).translate(None, _NO_BRACKETS)
    return max(itertools.accumulate(map(_STEPS.__getitem__, brackets)), default=0) > _FRAME_DEPTH
