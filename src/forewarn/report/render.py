"""A ``Table`` as Markdown or for a terminal. Knows no statistics. As HTML: ``render_page.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forewarn.report.table import Table, printable_table
from forewarn.text import markdown

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def as_markdown(table: Table, *, heading: str = "###") -> str:
    """Heading, pipe table, note."""
    marks = [":--" if i < table.text_columns or i in table.prose else "--:" for i in range(len(table.columns))]
    names = _markdown_row([markdown(name) for name in table.columns])
    lines = [f"{heading} {markdown(table.title)}", "", names, _markdown_row(marks)]
    for i, row in enumerate(table.rows):
        strong = i in table.emphasis
        lines.append(_markdown_row([f"**{cell}**" if strong and cell else cell for cell in map(markdown, row)]))
    if not table.rows:
        lines.append(_markdown_row(["(nothing)"] + [""] * (len(table.columns) - 1)))
    return "\n".join([*lines, "", markdown(table.note), ""] if table.note else [*lines, ""])


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def as_rich(table: Table) -> RichTable:
    """For ``rich.console.Console.print``."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = printable_table(table)
    rich = RichTable(
        title=Text(table.title),  # a plain string would be read as markup
        caption=Text(table.note) if table.note else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    names_a_block = [not any(row[1:]) for row in table.rows]
    for i, name in enumerate(table.columns):
        is_text = i < table.text_columns
        # the names of blocks are long and stand alone: in a narrow terminal they fold before any number does
        fixed = is_text and not any(names_a_block)
        rich.add_column(Text(name), justify="left" if is_text else "right", overflow="fold", no_wrap=fixed)
    for i, row in enumerate(table.rows):
        rich.add_row(*map(Text, row), style="bold" if i in table.emphasis or names_a_block[i] else None)
    return rich
