"""Tasks on grids."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import grid


def count_islands(rows: list[str]) -> int:
    land = {(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "#"}
    islands = 0
    while land:
        islands += 1
        open_cells = [min(land)]
        land.remove(open_cells[0])
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
        Slip("does not look up", "(i + 1, j), (i - 1, j),", "(i + 1, j),"),
        Slip("does not look left", "(i, j + 1), (i, j - 1)", "(i, j + 1)"),
        Slip(
            "corners count on one diagonal",
            "(i, j - 1)):",
            "(i, j - 1), (i + 1, j + 1), (i - 1, j - 1)):",
        ),
        Slip("the first cell is never land", 'cell == "#"}', 'cell == "#" and (i or j)}'),
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
    return (grid(rng, min(size, 4), rng.randint(1, 5), "." if size <= 1 else "." * 11 + "*"),)


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
        Slip("wraps around on the left", "max(0, j - 1)", "j - 1"),
        Slip("wraps around at the top", "max(0, i - 1)", "i - 1"),
        Slip(
            "says only whether there is a mine",
            'str(sum(part.count("*") for part in around))',
            'str(int(any("*" in part for part in around)))',
        ),
        Slip("does not look at the last row", "i + 2]", "min(i + 2, len(rows) - 1)]"),
    ),
    edges=(([],), (["*"],), (["***", "*.*", "***"],), (["*.", "..", "..", ".*"],), ([".*"],), ([".", "*"],)),
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
    row, column, width = rng.choice((2, 2, 2, -1)), rng.choice((1, 1, 1, -2)), 2 if size < 5 else 3
    return ({(row + rng.randint(0, width), column + rng.randint(0, width)) for _ in range(2 * size)},)


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
        Slip("rows below 0 do not exist", "if n == 3 or", "if cell[0] >= 0 and n == 3 or"),
        Slip("a cell is born of six neighbours, too", "if n == 3 or", "if n in (3, 6) or"),
        Slip("columns below 0 do not exist", "if n == 3 or", "if cell[1] >= 0 and n == 3 or"),
        Slip("lives on with four neighbours", "(n == 2 and", "(n in (2, 4) and"),
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
        Slip("a maze that can not be entered takes no step", "return None", "return 0"),
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
