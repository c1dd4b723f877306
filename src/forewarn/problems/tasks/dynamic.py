"""Tasks for dynamic programming."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import grid, integers


def best_stretch(numbers: list[int]) -> int:
    best = current = 0
    for number in numbers:
        current = max(0, current + number)
        best = max(best, current)
    return best


BEST_STRETCH = Task(
    solve=best_stretch,
    level=2,
    statement="Give the largest sum of a stretch of neighbouring numbers in a list. The empty stretch counts, with "
    "the sum 0.",
    draw=lambda rng, size: (integers(rng, rng.randint(size, 2 * size) if size > 1 else size, -15, 9),),
    easy="lists of at most one number",
    is_easy=lambda numbers: len(numbers) <= 1,
    shortcut="return max(0, sum(numbers))",
    slips=(
        Slip(
            "the empty stretch does not count",
            "",
            """
if not numbers:
    return 0
best = current = numbers[0]
for number in numbers[1:]:
    current = max(number, current + number)
    best = max(best, current)
return best""",
        ),
        Slip("the last number is not looked at", "in numbers:", "in numbers[:-1]:"),
        Slip(
            "a stretch of at most three",
            "",
            """
best = 0
for start in range(len(numbers)):
    for end in range(start, min(start + 3, len(numbers)) + 1):
        best = max(best, sum(numbers[start:end]))
return best""",
        ),
        Slip("a negative number ends a stretch", "max(0, current + number)", "current + number if number >= 0 else 0"),
    ),
    edges=(
        ([],),
        ([-4],),
        ([5, -9, 6, -1, 2],),
        ([-3, -1],),
        ([1, 2, 3, 4],),
        ([10, -30, 8],),
        ([10**18, -1, 10**18],),
    ),
)


def fewest_coins(coins: list[int], amount: int) -> int | None:
    fewest: list[int | None] = [0]
    for target in range(1, amount + 1):
        counts = [fewest[target - coin] for coin in coins if coin <= target]
        fewest.append(min((count + 1 for count in counts if count is not None), default=None))
    return fewest[amount]


def _coins(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        coin = rng.randint(2, 9)
        return ([coin], coin * rng.randint(0, 9) + rng.choice((0, 0, 1)))
    coins = rng.choice(([1, 5, 10], [1, 3, 4], [2, 5], [4, 6, 9], [1, 7, 10], [1, 2, 5], [3, 7]))
    return (list(coins), rng.randint(1, 6 * size))


FEWEST_COINS = Task(
    solve=fewest_coins,
    level=3,
    statement="Give the smallest number of coins that make up an amount, each coin being usable any number of "
    "times. None if it can't be done; the amount 0 needs no coin.",
    draw=_coins,
    easy="a single kind of coin",
    is_easy=lambda coins, amount: len(coins) == 1,
    shortcut="return None if amount % coins[0] else amount // coins[0]",
    slips=(
        Slip(
            "takes the largest coin that fits",
            "",
            """
count = 0
for coin in sorted(coins, reverse=True):
    count += amount // coin
    amount %= coin
return count if amount == 0 else None""",
        ),
        Slip(
            "what can't be done is -1",
            "return fewest[amount]",
            "return -1 if fewest[amount] is None else fewest[amount]",
        ),
        Slip("nothing can't be made", "return fewest[amount]", "return fewest[amount] or None"),
        Slip("no coins can make anything", "return fewest[amount]", "return fewest[amount] if coins else 0"),
    ),
    edges=(([], 5), ([1, 3, 4], 6), ([2], 3), ([], 0), ([4, 6, 9], 12), ([1, 7, 10], 14), ([1], 9), ([5, 2], 6)),
)


def best_load(items: list[tuple[int, int]], capacity: int) -> int:
    best = [0] * (capacity + 1)
    for weight, value in items:
        for room in range(capacity, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return best[capacity]


def _items(rng: random.Random, size: int) -> Arguments:
    items = [(rng.randint(1, 9), rng.randint(1, 15)) for _ in range(min(size, 6))]
    if size <= 1:
        return (items, 9 + rng.randint(0, 3))
    return (items, rng.randint(2, 4 * size))


BEST_LOAD = Task(
    solve=best_load,
    level=3,
    statement="Give the largest total value of items, given as (weight, value), whose weights together are at most "
    "the capacity. Each item can be taken once.",
    draw=_items,
    easy="lists of at most one item that fits",
    is_easy=lambda items, capacity: len(items) <= 1 and all(weight <= capacity for weight, _ in items),
    shortcut="return sum(value for _, value in items)",
    slips=(
        Slip(
            "takes the best value for its weight first",
            "",
            """
total = 0
for weight, value in sorted(items, key=lambda item: item[0] / item[1]):
    if weight <= capacity:
        capacity -= weight
        total += value
return total""",
        ),
        Slip(
            "takes the most valuable first",
            "",
            """
total = 0
for weight, value in sorted(items, key=lambda item: (-item[1], item[0])):
    if weight <= capacity:
        capacity -= weight
        total += value
return total""",
        ),
        Slip("no room is an error", "return best[capacity]", "return best[capacity] if capacity else None"),
        Slip("an item has to weigh less than the room", "weight - 1, -1)", "weight, -1)"),
    ),
    edges=(
        ([], 5),
        ([(5, 10), (4, 7), (4, 7)], 8),
        ([(3, 5)], 0),
        ([(1, 1)], 1),
        ([(2, 3), (3, 4), (4, 5), (5, 6)], 5),
        ([(1, 1), (1, 1), (1, 1), (1, 1), (1, 9)], 2),
        ([(6, 10), (5, 6), (5, 6)], 10),
    ),
)


def count_routes(rows: list[str]) -> int:
    ways: dict[tuple[int, int], int] = {}
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell == "#":
                ways[i, j] = 0
            elif i == j == 0:
                ways[i, j] = 1
            else:
                ways[i, j] = ways.get((i - 1, j), 0) + ways.get((i, j - 1), 0)
    return ways.get((len(rows) - 1, len(rows[0]) - 1), 0) if rows else 0


def _yard(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (["." * rng.randint(1, 12)] * rng.randint(1, 2),)
    return (grid(rng, min(size, 5), rng.randint(2, 5), rng.choice(("......#", "....#"))),)


COUNT_ROUTES = Task(
    solve=count_routes,
    level=2,
    statement="Count the ways from the upper left to the lower right cell of a yard that go right and down only and "
    "avoid the cells '#'. There is no way if the first or the last cell is '#', or if there are no cells.",
    draw=_yard,
    easy="yards of at most two rows, without '#'",
    is_easy=lambda rows: len(rows) <= 2 and not any("#" in row for row in rows),
    shortcut="return len(rows[0]) if len(rows) == 2 else len(rows)",
    slips=(
        Slip(
            "starts on a blocked cell",
            "",
            """
if not rows:
    return 0
ways = [1] + [0] * (len(rows[0]) - 1)
for row in rows:
    for j, cell in enumerate(row):
        if cell == "#" and (j or row is not rows[0]):
            ways[j] = 0
        elif j:
            ways[j] += ways[j - 1]
return ways[-1]""",
        ),
        Slip(
            "the last cell is never blocked",
            'if cell == "#":',
            'if cell == "#" and (i, j) != (len(rows) - 1, len(row) - 1):',
        ),
        Slip("no yard is one way", "if rows else 0", "if rows else 1"),
        Slip("walls at the edge do not matter beyond them", "elif i == j == 0:", "elif i == 0 or j == 0:"),
    ),
    edges=(
        ([],),
        (["#."],),
        ([".#"],),
        (["...", ".#.", "..."],),
        ([".....", ".....", ".....", ".....", "....."],),
        (["#", "."],),
        ([".", ".", ".", ".", "."],),
        (["#.", ".."],),
    ),
)
