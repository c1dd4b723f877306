"""Tasks on lists."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import integers, words


def _up_to(rng: random.Random, size: int) -> Arguments:
    """One list of integers, of at most one where the size is easy."""
    return (integers(rng, rng.randint(size, 2 * size) if size > 1 else size),)


def _short(items: list[object]) -> bool:
    return len(items) <= 1


def running_maximum(numbers: list[int]) -> list[int]:
    best: list[int] = []
    for number in numbers:
        best.append(max(number, best[-1]) if best else number)
    return best


RUNNING_MAXIMUM = Task(
    solve=running_maximum,
    level=1,
    statement="For each place of a list give the largest number up to and including it.",
    draw=_up_to,
    easy="lists of at most one number",
    is_easy=_short,
    shortcut="return list(numbers)",
    slips=(
        Slip("starts at zero", "if best else number", "if best else max(number, 0)"),
        Slip("compares without the sign", "max(number, best[-1])", "max(number, best[-1], key=abs)"),
        Slip("a largest of zero counts as none", "if best else", "if best and best[-1] else"),
        Slip("an empty list gives [0]", "return best", "return best or [0]"),
    ),
    edges=(
        ([],),
        ([0, -1],),
        ([-5, -7, -6],),
        ([9, 1, 1, 1, 1, 1, 1, 1],),
        ([10**30, 1],),
        ([20, 0, 0, 0, 0, 0, 0, 3],),
    ),
)


def second_largest(numbers: list[int]) -> int | None:
    distinct = sorted(set(numbers))
    return distinct[-2] if len(distinct) > 1 else None


SECOND_LARGEST = Task(
    solve=second_largest,
    level=1,
    statement="Give the second largest of the distinct numbers in a list, or None if there are fewer than two.",
    draw=lambda rng, size: (
        integers(rng, rng.randint(size + 1, 2 * size), -9, 5 + 3 * size)
        if size > 1
        else integers(rng, 2 * size, -9, 3),
    ),
    easy="lists of at most two numbers",
    is_easy=lambda numbers: len(numbers) <= 2,
    shortcut="return min(numbers) if len(set(numbers)) == 2 else None",
    slips=(
        Slip("equal numbers count twice", "sorted(set(numbers))", "sorted(numbers)"),
        Slip("too few is an error", "if len(distinct) > 1 else None", ""),
        Slip(
            "too few gives the largest",
            "if len(distinct) > 1 else None",
            "if len(distinct) > 1 else (numbers or [None])[0]",
        ),
        Slip(
            "starts at zero",
            "",
            """
first = second = 0
for number in numbers:
    if number > first:
        first, second = number, first
    elif first > number > second:
        second = number
return second if len(set(numbers)) > 1 else None""",
        ),
        Slip("a second of zero counts as none", "return distinct[-2]", "return distinct[-2] or None"),
    ),
    edges=(([],), ([7, 7],), ([-3, -1, -2],), ([0, 4],), ([9, 9, 8],), ([-5, 3],)),
)


def merge_intervals(intervals: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def _intervals(rng: random.Random, size: int) -> Arguments:
    starts = integers(rng, size, 0, 8 * size + 1)
    found = [[start, start + rng.randint(0, 6)] for start in starts]
    return (found if rng.random() < 0.5 else sorted(found),)


MERGE_INTERVALS = Task(
    solve=merge_intervals,
    level=2,
    statement="Merge closed intervals [start, end] that overlap or share an end point, and give the result in "
    "ascending order.",
    draw=_intervals,
    easy="lists of at most one interval",
    is_easy=_short,
    shortcut="return [list(interval) for interval in intervals]",
    slips=(
        Slip("intervals that touch stay apart", "start <= merged[-1][1]", "start < merged[-1][1]"),
        Slip("does not sort", "sorted(intervals)", "intervals"),
        Slip("takes the end of the later one", "max(merged[-1][1], end)", "end"),
        Slip("drops intervals of one point", "else:", "elif start < end:"),
        Slip("merges neighbouring integers", "start <= merged[-1][1]", "start <= merged[-1][1] + 1"),
    ),
    edges=(
        ([],),
        ([[1, 9], [2, 3]],),
        ([[4, 5], [1, 4]],),
        ([[1, 2], [3, 4]],),
        ([[2, 2], [7, 7]],),
        ([[1, 3], [3, 5]],),
    ),
)


def interleave(first: list[int], second: list[int]) -> list[int]:
    mixed: list[int] = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1] + second[index : index + 1]
    return mixed


def _two_lists(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ([], integers(rng, 2 * size)) if rng.random() < 0.5 else (integers(rng, 2 * size), [])
    shorter = rng.choice((size, size, size, size - 1))
    pair = [integers(rng, size), integers(rng, shorter)]
    if rng.random() < 0.3:
        pair.reverse()
    return tuple(pair)


INTERLEAVE = Task(
    solve=interleave,
    level=1,
    statement="Take items in turn from two lists, beginning with the first list; what is left of the longer one "
    "follows.",
    draw=_two_lists,
    easy="calls in which one list is empty",
    is_easy=lambda first, second: not first or not second,
    shortcut="return first + second",
    slips=(
        Slip("the second list decides where to stop", "range(max(len(first), len(second)))", "range(len(second))"),
        Slip("the first list decides where to stop", "range(max(len(first), len(second)))", "range(len(first))"),
        Slip("takes one item of what is left", "return mixed", "return mixed[: 2 * min(len(first), len(second)) + 1]"),
        Slip("an empty first list ends it", "for index", "if not first:\n        return []\n    for index"),
    ),
    edges=(([], []), ([1, 2, 3, 4], [5]), ([1], [2, 3, 4]), ([], [8, 9]), ([0], [0]), ([6, 7], [])),
)


def flatten(nested: list[object]) -> list[object]:
    flat: list[object] = []
    for item in nested:
        if isinstance(item, list):
            flat += flatten(item)
        else:
            flat.append(item)
    return flat


def _nested(rng: random.Random, size: int, depth: int = 0) -> Arguments:
    if size <= 1:
        return (integers(rng, 3 * size),)
    items: list[object] = []
    for _ in range(size):
        kind = rng.random()
        if kind < 0.3 and depth < 3:
            items.append(_nested(rng, rng.randint(0, 2), depth + 1)[0])
        else:
            items.append(rng.choice((*integers(rng, 5), "ab", (1, 2), None)))
    return (items,)


FLATTEN = Task(
    solve=flatten,
    level=2,
    statement="Flatten a list: lists within it, at any depth, are replaced by their items. Nothing but lists is "
    "opened.",
    draw=_nested,
    easy="lists without lists in them",
    is_easy=lambda nested: not any(isinstance(item, list) for item in nested),
    shortcut="return list(nested)",
    slips=(
        Slip("opens one level", "flat += flatten(item)", "flat += item"),
        Slip("drops None", "else:", "elif item is not None:"),
        Slip("opens tuples too", "isinstance(item, list)", "isinstance(item, (list, tuple))"),
        Slip("keeps empty lists", "isinstance(item, list)", "isinstance(item, list) and item"),
    ),
    edges=(([],), ([[]],), ([[1, [2, [3, [4]]]]],), ([None, [None]],), ([(1, [2])],), (["ab", ["cd"]],)),
)


def unique_in_order(items: list[str]) -> list[str]:
    seen: set[str] = set()
    unique: list[str] = []
    for item in items:
        if item not in seen:
            seen.add(item)
            unique.append(item)
    return unique


UNIQUE_IN_ORDER = Task(
    solve=unique_in_order,
    level=1,
    statement="Give the items of a list without repeats, each where it first stood. Upper and lower case differ.",
    draw=lambda rng, size: (
        words(rng, size, 1) + ["B", "a", "ß", ""][: rng.choice((0, 0, 1, 4))] if size > 1 else words(rng, size),
    ),
    easy="lists of at most one item",
    is_easy=_short,
    shortcut="return list(items)",
    slips=(
        Slip("drops neighbours only", "item not in seen", "unique[-1:] != [item]"),
        Slip(
            "does not remember the first item",
            "",
            """
seen, unique = set(), items[:1]
for item in items[1:]:
    if item not in seen:
        seen.add(item)
        unique.append(item)
return unique""",
        ),
        Slip("drops the empty text", "if item not in seen", "if item and item not in seen"),
        Slip(
            "ignores case",
            "",
            """
seen, unique = set(), []
for item in items:
    if item.lower() not in seen:
        seen.add(item.lower())
        unique.append(item)
return unique""",
        ),
    ),
    edges=(
        ([],),
        (["b", "a", "b"],),
        (["a", "A"],),
        (["", "x", ""],),
        (["f", "e", "d", "c", "b", "a"],),
        (["ß", "SS"],),
    ),
)


def peaks(heights: list[int]) -> list[int]:
    return [index for index in range(1, len(heights) - 1) if heights[index - 1] < heights[index] > heights[index + 1]]


PEAKS = Task(
    solve=peaks,
    level=1,
    statement="Give the places (from 0) of a list at which a number is larger than both of its neighbours. The "
    "first and the last place are no peaks.",
    draw=lambda rng, size: (integers(rng, size + 2 if size > 1 else 3 * size, 0, 9),),
    easy="lists of at most three numbers",
    is_easy=lambda heights: len(heights) <= 3,
    shortcut="return [1] if len(heights) == 3 and heights[0] < heights[1] > heights[2] else []",
    slips=(
        Slip("counts what does not fall after", "> heights[index + 1]", ">= heights[index + 1]"),
        Slip("counts what does not rise before", "heights[index - 1] <", "heights[index - 1] <="),
        Slip("skips the place before the last", "len(heights) - 1", "max(1, len(heights) - 2)"),
        Slip("starts at the third place", "range(1,", "range(2,"),
    ),
    edges=(([],), ([1, 2, 2, 1],), ([0, 9, 0],), ([3, 3, 1],), ([1, 5, 1, 9, 1],), ([9, 8, 7],)),
)
