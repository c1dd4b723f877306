"""Makes words of submissions, models and files harmless for a terminal, a page and a table.

Terminals obey escape sequences, and text can override the writing direction; both can make a failed program look
solved. So every character that isn't visible is shown as an escape. Not covered: JSON, whose writers escape characters
themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format (with all that change the writing direction), surrogate, private use,
unassigned, line and paragraph separator"""
_ON_LETTERS = frozenset({"Mn", "Me"})
"""marks that stand on the character before them"""
_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u303f\u3164\ufe00-\ufe0d\uffa0"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
).fullmatch
"""Letters, marks and symbols that are invisible: many of them push the following text to a terminal's next line, where
it looks like a line of forewarn's. Emoji selectors are left alone, and so are spaces, which ``one_line`` joins."""
_PILE = 4
"""marks on one letter at most, more than languages put there: a taller pile covers the lines above and below"""
_LAYOUT = "\n\t"
_MARKS = re.compile(r"([\\`*\[|~])")
"""characters with a meaning in Markdown within a line; underscores within words have none"""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def printable(text: str) -> str:
    """Return ``text`` as one line, with an escape such as ``\\x1b`` for every invisible character."""
    return text if text.isascii() and text.isprintable() else "".join(_all_seen(text))


def printable_lines(text: str) -> str:
    """Return the same for text of several lines: line feeds and tabs stay."""
    return "".join(_all_seen(text, but=_LAYOUT))


def one_line(text: str, most: int = 300) -> str:
    """Return at most ``most`` characters of ``text``, printable, with each run of white space as one space."""
    return printable(" ".join(text.split()))[:most]


def markdown(text: str) -> str:
    """Escape ``text`` so that Markdown shows it unchanged in a heading, a table cell or a paragraph."""
    marked = _MARKS.sub(r"\\\1", printable(text))
    return "".join(_ENTITIES.get(character, character) for character in marked)


def _all_seen(text: str, but: str = "") -> Iterator[str]:
    """Each character, or its escape. ``but``: characters that are left as they are."""
    marks = _PILE  # at the start there is no letter to stand on
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind in _ON_LETTERS else _PILE if character.isspace() else 0
        hidden = kind in _HIDDEN or marks > _PILE or _EMPTY(character)
        yield _escape(ord(character)) if hidden and character not in but else character


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
