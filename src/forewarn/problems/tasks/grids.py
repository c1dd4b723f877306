"""Tasks on grids."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import grid, integers


def count_islands(rows: list[str]) -> int:
    land = {(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "#"}
    islands = 0
    while land:
        islands += 1
        open_cells = [land.pop()]
        while open_cells:
            i, j = open_cells.pop()
            for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if cell in land:
                    land.remove(cell)
                    open_cells.append(cell)
    return islands


def _map(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (grid(rng, size, rng.randint(1, 8), ".##"),)
    return (grid(rng, min(size, 5), rng.randint(2, 5), ".##"),)


COUNT_ISLANDS = Task(
    solve=count_islands,
    level=3,
    statement="Count the islands of a map. '#' is land; cells that touch at a side belong to one island, corners do "
    "not count.",
    draw=_map,
    easy="maps of at most one row",
    is_easy=lambda rows: len(rows) <= 1,
    shortcut="return sum(bool(part) for row in rows for part in row.split('.'))",
    slips=(
        Slip("takes every map for a square", "enumerate(row)", "enumerate(row[: max(len(rows), 3)])"),
        Slip("reads four rows", "enumerate(rows)", "enumerate(rows[:4])"),
        Slip("corners count", "(i, j - 1)):", "(i, j - 1), (i + 1, j + 1), (i - 1, j - 1)):"),
        Slip("at most three islands", "while land:", "while land and islands < 3:"),
        Slip("looks at the first five columns", "enumerate(row)", "enumerate(row[:4])"),
    ),
    edges=(
        ([],),
        (["#.#", ".#.", "#.#"],),
        (["###", "..#", "###", "...", "###"],),
        (["#"],),
        (["#...#"],),
        (["#.", ".#"],),
        (["..#", "###"],),
    ),
)


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


def mine_counts(rows: list[str]) -> list[str]:
    counted = []
    for i, row in enumerate(rows):
        line = ""
        for j, cell in enumerate(row):
            around = [other[max(0, j - 1) : j + 2] for other in rows[max(0, i - 1) : i + 2]]
            line += "*" if cell == "*" else str(sum(part.count("*") for part in around))
        counted.append(line)
    return counted


def _field(rng: random.Random, size: int) -> Arguments:
    return (grid(rng, min(size, 4), rng.randint(1, 5), "." if size <= 1 else rng.choice(("...*", "....*"))),)


MINE_COUNTS = Task(
    solve=mine_counts,
    level=3,
    statement="In a field of mines ('*') and free cells ('.'), write into each free cell the number of mines in the "
    "up to eight cells around it.",
    draw=_field,
    easy="fields without mines",
    is_easy=lambda rows: not any("*" in row for row in rows),
    shortcut='return [row.replace(".", "0") for row in rows]',
    slips=(
        Slip("one column has no cells around", "max(0, j - 1)", "max(0, j - 1) if len(row) > 1 else 1"),
        Slip("one row has no cells around", "max(0, i - 1)", "max(0, i - 1) if len(rows) > 1 else 1"),
        Slip(
            "no more than two mines",
            'str(sum(part.count("*") for part in around))',
            'str(min(2, sum(part.count("*") for part in around)))',
        ),
        Slip("the last row of five or more is free", "i + 2]", "min(i + 2, 3)]"),
    ),
    edges=(([],), (["*"],), (["***", "*.*", "***"],), (["*.", "..", "..", ".*"],), ([".*"],), ([".", "*"],)),
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
        Slip("stops after four rounds", "while rows:", "while rows and len(order) < 12:"),
        Slip(
            "a table of one column is read upwards",
            "    rows = [list(row)",
            "    if matrix and len(matrix[0]) == 1:\n        return [row[0] for row in matrix[::-1]]\n    rows "
            "= [list(row)",
        ),
        Slip("leaves out a number in the middle", "return order", "return order if len(order) < 9 else order[:-1]"),
        Slip("turns the wrong way in a square", "[::-1]", "[:: -1 if len(matrix) != len(matrix[0]) else 1]"),
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


def next_generation(alive: set[tuple[int, int]]) -> set[tuple[int, int]]:
    around: dict[tuple[int, int], int] = {}
    for i, j in alive:
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                if di or dj:
                    around[i + di, j + dj] = around.get((i + di, j + dj), 0) + 1
    return {cell for cell, n in around.items() if n == 3 or (n == 2 and cell in alive)}


def _cells(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        i, j, gap = rng.randint(-9, 9), rng.randint(-9, 9), rng.choice((1, 1, 3))
        return ({(i, j), (i, j + 1), (i, j + 1 + gap)} if size else {(i, j)},)
    width = 2 if size < 5 else 3
    return ({(rng.randint(-width, 1), rng.randint(0, width)) for _ in range(2 * size)},)


NEXT_GENERATION = Task(
    solve=next_generation,
    level=3,
    statement="Play one step of Conway's game of life on an endless plane. Living cells are given as a set of (row, "
    "column), which may be negative. A living cell with two or three living neighbours lives on, and a dead cell "
    "with exactly three is born; all others are dead.",
    draw=_cells,
    easy="sets of at most three cells, all in one row",
    is_easy=lambda alive: len(alive) <= 3 and len({i for i, _ in alive}) <= 1,
    shortcut="""
row = sorted(alive)
if len(row) == 3 and row[2][1] - row[0][1] == 2:
    i, j = row[1]
    return {(i - 1, j), (i, j), (i + 1, j)}
return set()""",
    slips=(
        Slip("no cell with a negative row", "if n == 3 or", "if cell[0] > -3 and n == 3 or"),
        Slip(
            "lives on with four neighbours",
            "n == 2 and cell in alive",
            "n in (2, 4) and cell in alive and (n == 2 or len(alive) > 7)",
        ),
        Slip("no cell is born in a column below 0", "n == 3 or", "n == 3 and (cell[1] >= 0 or cell in alive) or"),
        Slip("no cell is born where there are few", "n == 3 or", "n == 3 and (cell in alive or len(alive) > 3) or"),
    ),
    edges=(
        (set(),),
        ({(0, 0), (0, 1), (0, 2)},),
        ({(0, 0), (0, 1), (1, 0), (1, 1)},),
        ({(-2, 0), (-2, 1), (-2, 2)},),
        ({(0, 0), (1, 0), (2, 0)},),
        ({(i, j) for i in range(3) for j in range(3)},),
    ),
)


def shortest_path(rows: list[str]) -> int | None:
    if not rows or not rows[0] or rows[0][0] == "#":
        return None
    goal = (len(rows) - 1, len(rows[0]) - 1)
    steps = {(0, 0): 0}
    queue = [(0, 0)]
    for i, j in queue:
        for cell in ((i + 1, j), (i, j + 1), (i - 1, j), (i, j - 1)):
            inside = 0 <= cell[0] <= goal[0] and 0 <= cell[1] <= goal[1]
            if inside and cell not in steps and rows[cell[0]][cell[1]] != "#":
                steps[cell] = steps[i, j] + 1
                queue.append(cell)
    return steps.get(goal)


def _maze(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (grid(rng, size, rng.randint(1, 9), "."),)
    return (grid(rng, min(size, 5), rng.randint(2, 5), "....#"),)


SHORTEST_PATH = Task(
    solve=shortest_path,
    level=3,
    statement="Give the number of steps (up, down, left, right) of the shortest way from the upper left to the "
    "lower right cell of a maze whose walls are '#'. None if there is no way, if the first cell is a wall, or if "
    "the maze is empty.",
    draw=_maze,
    easy="mazes of at most one row, without walls",
    is_easy=lambda rows: len(rows) <= 1 and not any("#" in row for row in rows),
    shortcut="return len(rows[0]) - 1 if rows and rows[0] else None",
    slips=(
        Slip("starts on a wall", ' or rows[0][0] == "#"', ""),
        Slip("goes right and down only", "(i, j + 1), (i - 1, j), (i, j - 1)):", "(i, j + 1)):"),
        Slip("no way is -1", "return steps.get(goal)", "return steps.get(goal, -1)"),
        Slip("ends on a wall", '!= "#":', '!= "#" or cell == goal:'),
        Slip("counts cells, not steps, without walls on the way", "return None", "return 0"),
    ),
    edges=(
        ([],),
        (["."],),
        (["#."],),
        ([".#", "#."],),
        (["...", "##.", "...", ".##", "..."],),
        (["..", ".#"],),
        (["#.", ".."],),
        ([".#...", ".#.#.", "...#."],),
    ),
)
