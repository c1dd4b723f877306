"""Values in text, as Djinn writes them: a Python literal or JSON, told apart, bounded, and never evaluated.

JSON gives lists where Python may mean tuples, so the notation is part of what was read. Names that can mean one thing
only are values in literals, too: ``null``, ``true``, ``false``, ``nan``, ``inf`` and their spellings. Literals are
those of ``forewarn.problems.values``.
"""

from __future__ import annotations

import json
import math
from typing import Literal

from forewarn.exploits.source import is_json, literal
from forewarn.problems import values

Notation = Literal["python", "json", "plain"]
"""plain: no text at all, but values of the file's own format"""
MAX_TEXT_CHARS = 4_000_000
MAX_ITEMS = 400_000
"""items in one value: as many as cross the sandbox"""
MAX_DEPTH = 90
"""levels of nesting: a few less than cross the sandbox, which adds its own"""

NAMES: dict[str, object] = {
    "null": None, "true": True, "false": False, "nan": math.nan, "NaN": math.nan, "inf": math.inf,
    "Infinity": math.inf,
}  # fmt: skip


def parse(text: str) -> tuple[object, Notation]:
    """The value in ``text`` and its notation. Raises ``ValueError`` with a reason for people.

    JSON is tried first: what is both has one meaning, but for escapes that only JSON knows (``\\/``, surrogate pairs).
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"holds {len(text)} characters; at most {MAX_TEXT_CHARS} are read")
    notation: Notation = "json"
    try:
        value = json.loads(text, object_pairs_hook=named_once)
    except (ValueError, RecursionError):
        value, notation = parse_literal(text), "python"
    check_plain(value)
    return value, notation


def parse_literal(text: str) -> object:
    """The value of a Python literal. Raises ``ValueError``."""
    try:
        return values.parse(text, NAMES)
    except ValueError as error:
        raise ValueError(f"is neither JSON nor a Python literal: {error}") from None


def written(value: object, notation: Notation) -> str:
    """``value`` as text, in JSON only where that keeps it as it is."""
    if notation == "json" and is_json(value):
        return json.dumps(value, ensure_ascii=False)
    return literal(value)


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


def named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's names and values. Raises ``ValueError`` where the parser would drop one."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return dict(pairs)
