"""Tasks on tables of numbers."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import integers


def transpose(rows: list[list[int]]) -> list[list[int]]:
    width = max(map(len, rows), default=0)
    return [[row[column] if column < len(row) else 0 for row in rows] for column in range(width)]


def _rows(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ([[value] for value in integers(rng, size)],)
    width = rng.randint(1, 4)
    found = [integers(rng, width) for _ in range(min(size, 5))]
    if rng.random() < 0.3:
        found[rng.randrange(len(found))] = integers(rng, rng.randint(0, 5))
    return (found,)


TRANSPOSE = Task(
    solve=transpose,
    level=1,
    statement="Swap rows and columns of a table. Rows may differ in length: the shorter ones are filled up with "
    "zeros on the right.",
    draw=_rows,
    easy="tables of at most one number",
    is_easy=lambda rows: len(rows) <= 1 and all(len(row) == 1 for row in rows),
    shortcut="return [list(row) for row in rows]",
    slips=(
        Slip("cuts to the shortest row", "max(map", "min(map"),
        Slip("takes the width of the first row", "max(map(len, rows), default=0)", "len(rows[0]) if rows else 0"),
        Slip(
            "leaves gaps out",
            "row[column] if column < len(row) else 0 for row in rows",
            "row[column] for row in rows if column < len(row)",
        ),
        Slip("no rows is an error", ", default=0", ""),
        Slip("fills up with None", "else 0", "else None"),
    ),
    edges=(([],), ([[]],), ([[1], [2, 3]],), ([[1, 2, 3]],), ([[], [4]],), ([[1, 2], [3]],)),
)


def spiral(matrix: list[list[int]]) -> list[int]:
    rows = [list(row) for row in matrix]
    order: list[int] = []
    while rows:
        order += rows.pop(0)
        rows = [list(column) for column in zip(*rows, strict=True)][::-1]
    return order


def _matrix(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ([integers(rng, rng.randint(1, 4))] * size,)
    columns = rng.randint(1, 4)
    return ([integers(rng, columns) for _ in range(min(size, 5))],)


SPIRAL = Task(
    solve=spiral,
    level=3,
    statement="Read a rectangular table along a spiral: clockwise from the upper left corner, from the outside to "
    "the inside.",
    draw=_matrix,
    easy="tables of at most one row",
    is_easy=lambda matrix: len(matrix) <= 1,
    shortcut="return list(matrix[0]) if matrix else []",
    slips=(
        Slip(
            "reads a last row twice",
            "",
            """
order = []
top, bottom, left, right = 0, len(matrix) - 1, 0, len(matrix[0]) - 1 if matrix else -1
while top <= bottom and left <= right:
    order += matrix[top][left : right + 1]
    order += [matrix[i][right] for i in range(top + 1, bottom + 1)]
    order += matrix[bottom][left:right][::-1]
    if left < right:
        order += [matrix[i][left] for i in range(bottom - 1, top, -1)]
    top, bottom, left, right = top + 1, bottom - 1, left + 1, right - 1
return order""",
        ),
        Slip(
            "reads a last column twice",
            "",
            """
order = []
top, bottom, left, right = 0, len(matrix) - 1, 0, len(matrix[0]) - 1 if matrix else -1
while top <= bottom and left <= right:
    order += matrix[top][left : right + 1]
    order += [matrix[i][right] for i in range(top + 1, bottom + 1)]
    if top < bottom:
        order += matrix[bottom][left:right][::-1]
    order += [matrix[i][left] for i in range(bottom - 1, top, -1)]
    top, bottom, left, right = top + 1, bottom - 1, left + 1, right - 1
return order""",
        ),
        Slip(
            "an empty table is an error",
            "",
            """
order = []
top, bottom, left, right = 0, len(matrix) - 1, 0, len(matrix[0]) - 1
while top <= bottom and left <= right:
    order += matrix[top][left : right + 1]
    order += [matrix[i][right] for i in range(top + 1, bottom + 1)]
    if top < bottom:
        order += matrix[bottom][left:right][::-1]
    if left < right:
        order += [matrix[i][left] for i in range(bottom - 1, top, -1)]
    top, bottom, left, right = top + 1, bottom - 1, left + 1, right - 1
return order""",
        ),
        Slip(
            "leaves out what is left in the middle",
            "",
            """
order = []
top, bottom, left, right = 0, len(matrix) - 1, 0, len(matrix[0]) - 1 if matrix else -1
while top < bottom or left < right:
    order += matrix[top][left : right + 1]
    order += [matrix[i][right] for i in range(top + 1, bottom + 1)]
    if top < bottom:
        order += matrix[bottom][left:right][::-1]
    if left < right:
        order += [matrix[i][left] for i in range(bottom - 1, top, -1)]
    top, bottom, left, right = top + 1, bottom - 1, left + 1, right - 1
return order""",
        ),
    ),
    edges=(
        ([],),
        ([[1]],),
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]],),
        ([[1], [2], [3]],),
        ([[1, 2, 3, 4]] * 4,),
        ([[1, 2], [3, 4]],),
    ),
)
