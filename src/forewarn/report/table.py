"""A table as text in rows and columns, whatever it is about. Not here: showing it (``render.py``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from forewarn.text import printable


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows and columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    text_columns: int = 1
    """so many columns, from the left, are words; the others are numbers and stand to the right"""
    emphasis: tuple[int, ...] = ()
    """rows that matter most"""
    tags: tuple[tuple[str, str], ...] = ()
    """run and exploit type of each row, by which the page filters; empty: rows that a filter leaves alone. An empty run
    or type fits every filter"""
    prose: tuple[int, ...] = ()
    """columns of whole sentences, which fold on the page"""


def printable_table(table: Table) -> Table:
    """The same table with printable text: its cells may hold names and reasons that others wrote."""
    return replace(
        table,
        title=printable(table.title),
        columns=tuple(map(printable, table.columns)),
        rows=tuple(tuple(map(printable, row)) for row in table.rows),
        note=printable(table.note),
    )
