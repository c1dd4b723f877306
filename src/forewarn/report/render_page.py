"""A ``Table`` as HTML for the page: rows that can be filtered, columns that can be sorted and explain themselves."""

from __future__ import annotations

from html import escape

from forewarn.report.anchors import with_code
from forewarn.report.glossary import meaning
from forewarn.report.table import Table, printable_table
from forewarn.text import printable


def as_html(table: Table) -> str:
    """A ``<table>`` in a box that scrolls sideways, its title as caption, and the note below."""
    table = printable_table(table)
    head = "".join(_head(table, i) for i in range(len(table.columns)))
    body = [_row(table, i) for i in range(len(table.rows))]
    if not body:
        body = [f'<tr><td colspan="{len(table.columns)}">(nothing)</td></tr>']
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    title = escape(table.title)
    # a first cell that is empty belongs to the row above it: such rows stay together
    kind = ' class="sortable"' if len(table.rows) > 1 and all(row[0] for row in table.rows) else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table{kind}>'
        f"<caption>{title}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table>"
        f"</div>{note}"
    )


def _head(table: Table, column: int) -> str:
    name, said = table.columns[column], meaning(table.columns[column])
    explained = f' title="{escape(said)}"' if said else ""
    return f'<th scope="col"{_side(table, column)}><span class="head"{explained}>{escape(name)}</span></th>'


def _row(table: Table, i: int) -> str:
    shown = [with_code(cell) if j in table.prose else escape(cell) for j, cell in enumerate(table.rows[i])]
    cells = "".join(f"<td{_side(table, j)}>{cell}</td>" for j, cell in enumerate(shown))
    strong = ' class="strong"' if i in table.emphasis else ""
    tag = ""
    if table.tags:
        run, name = (escape(printable(part)) for part in table.tags[i])
        tag = f' data-run="{run}" data-type="{name}"'
    return f"<tr{strong}{tag}>{cells}</tr>"


def _side(table: Table, column: int) -> str:
    if column in table.prose:
        return ' class="prose"'
    return "" if column < table.text_columns else ' class="number"'
