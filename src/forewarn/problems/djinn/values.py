"""Reads values from text, as Djinn writes them: a Python literal or JSON, of bounded size, and never evaluated.

JSON's lists may mean tuples, so the notation is returned too. Unambiguous names are values in literals as well:
``null``, ``true``, ``false``, ``nan``, ``inf`` and their spellings. Literals are those of ``forewarn.problems.values``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from forewarn.exploits.source import is_json, literal
from forewarn.problems import values

Notation = Literal["python", "json", "plain"]
"""plain: not text, but values of the file's own format"""
MAX_TEXT_CHARS = 4_000_000
MAX_ITEMS = 400_000
"""items in one value: as many as can cross the sandbox"""
MAX_TEST_ITEMS = MAX_ITEMS - 10
"""items in an input or an expected value: a few less, to leave room for their container"""
MAX_FIELD_ITEMS = 4_000_000
"""items in all test cases together"""
MAX_DIGITS = 100_000
"""digits of an integer: the reading time grows with their square"""
MAX_DEPTH = 90
"""levels of nesting: a few less than can cross the sandbox, which adds its own"""

NAMES: dict[str, object] = {
    "null": None, "true": True, "false": False, "nan": math.nan, "NaN": math.nan, "inf": math.inf,
    "Infinity": math.inf,
}  # fmt: skip


_PYTHON_READS = sys.int_info.default_max_str_digits
_LONG_INTEGER = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<![\w.])(\d[\d_]{""" + str(_PYTHON_READS) + r""",})(?![\w.])""",
    re.DOTALL,
)
"""a text, which is left unchanged, or an integer of more digits than Python reads"""


@dataclass(frozen=True, slots=True)
class UnreadInteger:
    """Replaces an integer of more than ``MAX_DIGITS`` digits, so that an error can name the test."""

    n_digits: int


def integer_of(digits: str) -> Any:
    """Return the integer of any number of decimal digits, or an ``UnreadInteger`` beyond the bound."""
    if len(digits) <= _PYTHON_READS:
        return int(digits)
    plain = digits.replace("_", "")
    return int(Decimal(plain)) if len(plain) <= MAX_DIGITS else UnreadInteger(len(plain.lstrip("-")))


def parse(text: str, most_items: int = MAX_ITEMS) -> tuple[object, Notation]:
    """Return the value in ``text`` and its notation. Raises ``ValueError`` with a readable reason.

    JSON is tried first. Text that is valid in both notations has the same meaning, except for escapes that only JSON
    has (``\\/``, surrogate pairs).
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_TEXT_CHARS} are read")
    notation: Notation = "json"
    try:
        value = json.loads(text, object_pairs_hook=named_once, parse_int=integer_of)
    except (ValueError, RecursionError):
        value, notation = parse_literal(text), "python"
    check_items(value, most_items)
    return value, notation


def parse_literal(text: str) -> object:
    """Return the value of a Python literal. Raises ``ValueError``."""
    names = dict(NAMES)

    def named(found: re.Match[str]) -> str:
        if found.group(2) is None:
            return found.group()
        name = f"_integer_{len(names)}"
        names[name] = integer_of(found.group(2))
        return name

    try:
        return values.parse(_LONG_INTEGER.sub(named, text), names)
    except ValueError as error:
        raise ValueError(f"is neither JSON nor a Python literal: {error}") from None


def written(value: object, notation: Notation) -> str:
    """Return ``value`` as text, in JSON only if the value survives it."""
    if notation == "json" and is_json(value):
        try:
            return json.dumps(value, ensure_ascii=False)
        except ValueError:  # an integer of more digits than Python writes
            pass
    return literal(value)


def check_plain(value: object, most_items: int = MAX_ITEMS) -> None:
    """Raise ``ValueError`` unless ``value`` is plain data of bounded size (shared parts count each time they occur)."""

    def fits(item: object) -> None:
        if type(item) is UnreadInteger:
            raise ValueError(f"contains an integer of {item.n_digits} digits; at most {MAX_DIGITS} are read")
        if item is not None and type(item) not in (bool, int, float, complex, str, bytes):
            raise ValueError(f"contains a {type(item).__name__}, which is not plain data")

    _walk(value, most_items, fits)


def check_items(value: object, most_items: int) -> None:
    """Raise ``ValueError`` for too many items or levels, whatever the items are."""
    _walk(value, most_items, lambda item: None)


def _walk(value: object, most_items: int, fits: Callable[[object], None]) -> None:
    left = most_items

    def walk(item: object, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"has more than {most_items} items")
        if depth > MAX_DEPTH:
            raise ValueError(f"is nested more than {MAX_DEPTH} deep")
        if type(item) is dict:
            for key, inner in item.items():
                walk(key, depth + 1)
                walk(inner, depth + 1)
        elif isinstance(item, (list, tuple, set, frozenset)):
            for inner in item:
                walk(inner, depth + 1)
        else:
            fits(item)

    walk(value, 0)


def shown(value: object) -> str:
    """Return a short text of a value for messages."""
    try:
        return shortened(repr(value))
    except ValueError:  # an integer of more digits than Python writes
        return shortened(literal(value))


def shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's names and values. Raises ``ValueError`` for a name that occurs twice."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return dict(pairs)
