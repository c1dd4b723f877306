"""The one way in which a command prints: text is made printable, tables interpret no markup, JSON is JSON.

What is printed holds words of submissions, models and files, and a terminal obeys what it is sent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from forewarn.text import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from forewarn.report.tables import Table


def say(line: str, *, error: bool = False) -> None:
    """Print one line, on stderr if it is no result."""
    print(printable(line), file=sys.stderr if error else sys.stdout, flush=True)


def say_lines(text: str) -> None:
    """Print text of several lines. A caller has made those words of others printable that must keep to one line."""
    print(printable_lines(text))


def say_json(value: object, *, indent: int | None = 2, allow_nan: bool = True) -> None:
    """Print a JSON value; ASCII, so that nothing in it acts on a terminal."""
    # a JSON writer leaves DEL as it is
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
    """Print tables that are made already. ``width``: where there is no terminal that has one."""
    from rich.console import Console

    console: Console = Console()
    if not console.is_terminal:
        console = Console(width=width)
    for table in tables:
        console.print(table, markup=False)
