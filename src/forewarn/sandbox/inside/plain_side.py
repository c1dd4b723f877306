"""Child side for problems whose results are compared as in Python; it is appended to a checker's own child side.

It runs inside the sandbox and uses only the standard library. A result whose class only extends a built-in one (a named
tuple, an ``IntEnum``, a ``StrEnum``) is sent as the value that it equals. The parent compares, and trusts this result
as little as any other.
"""

from __future__ import annotations

from typing import Any

_PLAIN: tuple[tuple[type, Any], ...] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, bytes.__bytes__),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (list, lambda value: list(list.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
)
_MOST_ITEMS, _DEEPEST = 400_000, 100
"""larger values can't be sent to the parent as values anyway"""
_theirs = globals().get("call")
"""the checker's own way to call the submission, if it has one"""


def call(tools: Any, index: int, args: Any) -> Any:
    """Call the submission, and return its result as plain data if it equals some."""
    value = tools.function(*args) if _theirs is None else _theirs(tools, index, args)
    return plain(value, 0, [_MOST_ITEMS])


def plain(value: Any, depth: int, left: list[int]) -> Any:
    """Return ``value`` with built-in values in place of those whose classes inherit their equality."""
    left[0] -= 1
    if left[0] < 0 or depth > _DEEPEST or value is None:
        return value
    kind = type(value)
    for base, convert in _PLAIN:
        if kind not in (base, bool) and issubclass(kind, base) and getattr(kind, "__eq__", None) is base.__eq__:
            value, kind = convert(value), base
            break
    if kind in (tuple, list, set, frozenset):
        items = [plain(item, depth + 1, left) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else kind(items)
    if kind is dict:
        pairs = [(plain(key, depth + 1, left), plain(item, depth + 1, left)) for key, item in value.items()]
        return dict(pairs)
    return value
