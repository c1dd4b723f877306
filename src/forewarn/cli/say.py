"""The only way in which a command prints: text is made printable, tables ignore markup, JSON stays ASCII.

Output contains words of submissions, models and files, and a terminal obeys the escape sequences that it is sent.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from forewarn.text import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from forewarn.report.table import Table


_INDENT = "  "
"""before what goes on from the line above, so that no words of others begin a line of a terminal"""


def say(line: str, *, error: bool = False) -> None:
    """Print one line, on stderr if it is not a result (``error``)."""
    stream = sys.stderr if error else sys.stdout
    print(_folded(printable(line), stream), file=stream, flush=True)


def say_lines(text: str) -> None:
    """Print text of several lines. The caller has already made printable what must keep to one line."""
    print(_folded(printable_lines(text), sys.stdout))


def _folded(text: str, stream: TextIO) -> str:
    """``text`` in lines that fit into the stream's terminal; as it is where the stream is none."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(piece for line in text.split("\n") for piece in folded(line, width))


def folded(line: str, width: int) -> list[str]:
    """A line in pieces of at most ``width`` cells, each further one indented more than the line itself: a terminal that
    folds it by itself begins at the margin, where a submission's words would look like a line of ours."""
    line = line.expandtabs()
    indent = " " * min(len(line) - len(line.lstrip(" ")) + len(_INDENT), width // 2)
    pieces, room = [""], width
    for character in line:
        cells = _most_cells(character)
        room -= cells
        if room < 0 and width > 3 * len(_INDENT):
            pieces.append(indent)
            room = width - len(indent) - cells
        pieces[-1] += character
    return pieces


def _most_cells(character: str) -> int:
    """Return the most cells that a character takes on any terminal. They differ where Unicode leaves it open, at
    emojis, and at the emoji selector, which widens the character before it."""
    from rich.cells import get_character_cell_size

    if character.isascii():
        return 1
    cells = get_character_cell_size(character)
    if unicodedata.category(character) in ("Mn", "Me"):
        return 1 if character == "\ufe0f" else cells
    return 2 if character >= "\U0001f000" or unicodedata.east_asian_width(character) == "A" else max(cells, 1)


def say_json(value: object, *, indent: int | None = 2, allow_nan: bool = True) -> None:
    """Print a JSON value as ASCII, so that a terminal does not interpret anything in it."""
    # a JSON writer does not escape DEL
    print(json.dumps(value, indent=indent, allow_nan=allow_nan).replace("\x7f", r"\u007f"))


def say_tables(tables: Iterable[Table], *, markdown: bool = False, heading: str = "###", width: int = 200) -> None:
    """Print tables, for a terminal or as Markdown."""
    from forewarn.report.render import as_markdown, as_rich

    if markdown:
        for table in tables:
            print(as_markdown(table, heading=heading))
    else:
        say_rich(map(as_rich, tables), width=width)


def say_rich(tables: Iterable[RichTable], *, width: int = 200) -> None:
    """Print tables that are already built. ``width``: the width without a terminal."""
    from rich.console import Console

    console: Console = Console()
    if not console.is_terminal:
        console = Console(width=width)
    for table in tables:
        console.print(table, markup=False)
