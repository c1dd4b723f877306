"""Writes the start of a value for a reason, in Python's notation.

The value comes from a submission, as a tree (``sandbox/codec.py``) that may be malformed or huge. This module reads it
from the left, only as far as it is shown, and never builds, hashes or compares any part of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from itertools import islice

from forewarn.sandbox.codec import Tree

MALFORMED = "<malformed>"
_MOST_HEX = 60
"""longer integers are written in hexadecimal, since the time to compute decimal digits grows with their square"""
_hex_number = re.compile("-?[0-9a-f]+").fullmatch
_hex_start = re.compile("(?:[0-9a-f]{2})*").match

_BRACKETS = {"l": ("[", "]"), "t": ("(", ")"), "s": ("{", "}"), "f": ("frozenset({", "})"), "d": ("{", "}")}
_EMPTY = {"s": "set()", "f": "frozenset()"}


def spelled(tree: Tree, most: int) -> str:
    """Return the start of a tree's value in Python's notation: at most ``most`` characters, then dots if it is cut.

    A value that isn't plain data is written as ``<its type>``, and an invalid tree as ``<malformed>``.
    """
    text = ""
    for piece in _pieces(tree, most + 1):
        text += piece[: most + 1]
        if len(text) > most:
            return f"{text[:most]}..."
    return text


def _pieces(tree: Tree, most: int) -> Iterator[str]:
    """Yield the text of a tree in pieces; each costs about as much time as ``most`` characters or less."""
    if isinstance(tree, str):
        yield repr(tree[:most])
    elif tree is None or isinstance(tree, (bool, int, float)):
        yield repr(tree)
    elif not isinstance(tree, list) or not tree or not isinstance(tree[0], str):
        yield MALFORMED
    elif tree[0] in _BRACKETS:
        yield from _container(tree, most)
    elif tree[0] in _SCALARS and len(tree) == 2 and isinstance(tree[1], str):
        yield _SCALARS[tree[0]](tree[1], most)
    elif tree[0] == "c" and len(tree) == 3 and all(type(part) is float for part in tree[1:]):
        yield repr(complex(tree[1], tree[2]))
    else:
        yield MALFORMED


def _container(tree: list[Tree], most: int) -> Iterator[str]:
    tag = tree[0]
    if len(tree) == 1 and tag in _EMPTY:
        yield _EMPTY[tag]
        return
    if tag == "d" and len(tree) % 2 == 0:
        yield MALFORMED
        return
    before, after = _BRACKETS[tag]
    yield before
    for i, item in enumerate(islice(tree, 1, None)):
        if i:
            yield ": " if tag == "d" and i % 2 else ", "
        yield from _pieces(item, most)
    yield "," + after if tag == "t" and len(tree) == 2 else after


def _integer(digits: str, most: int) -> str:
    if not _hex_number(digits[:most]):
        return MALFORMED
    if len(digits) <= _MOST_HEX:
        return str(int(digits, 16)) if _hex_number(digits) else MALFORMED
    return digits.replace("-", "-0x", 1)[: most + 4] if digits[0] == "-" else f"0x{digits[:most]}"


def _start_of(digits: str, most: int) -> bytes | None:
    """Return the first ``most`` bytes of hexadecimal digits; None for anything else."""
    start = digits[: 2 * most]
    found = _hex_start(start)
    return bytes.fromhex(start) if found is not None and found.end() == len(start) else None


def _bytes(digits: str, most: int) -> str:
    data = _start_of(digits, most)
    return MALFORMED if data is None else repr(data)


def _text(digits: str, most: int) -> str:
    data = _start_of(digits, 4 * most)
    if data is None:
        return MALFORMED
    try:
        return repr(codecs.getincrementaldecoder("utf-8")("surrogatepass").decode(data)[:most])
    except UnicodeDecodeError:
        return MALFORMED


_SCALARS: dict[str, Callable[[str, int], str]] = {
    "i": _integer,
    "b": _bytes,
    "u": _text,
    "o": lambda name, most: f"<{name[:most]}>",
}
