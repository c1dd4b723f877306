"""Tasks for dynamic programming on sequences."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import integers, word


def longest_rise(numbers: list[int]) -> int:
    best: list[int] = []
    for place, number in enumerate(numbers):
        best.append(1 + max((best[i] for i in range(place) if numbers[i] < number), default=0))
    return max(best, default=0)


LONGEST_RISE = Task(
    solve=longest_rise,
    level=3,
    statement="Give the length of the longest strictly rising subsequence of a list. Its numbers need not be "
    "neighbours.",
    draw=lambda rng, size: (integers(rng, rng.randint(size, size + 3) if size > 1 else 2 * size, 0, 9),),
    easy="lists of at most two numbers",
    is_easy=lambda numbers: len(numbers) <= 2,
    shortcut="return len(numbers) if len(numbers) < 2 or numbers[0] < numbers[1] else 1",
    slips=(
        Slip("equal numbers rise", "numbers[i] < number", "numbers[i] <= number"),
        Slip("takes what ends at the last number", "return max(best, default=0)", "return best[-1] if best else 0"),
        Slip("an empty list has a rise of one", "max(best, default=0)", "max(best, default=1)"),
        Slip(
            "extends the rise that began first",
            "",
            """
rise = []
for number in numbers:
    if not rise or number > rise[-1]:
        rise.append(number)
    elif len(rise) == 1 or number > rise[-2]:
        rise[-1] = number
return len(rise)""",
        ),
    ),
    edges=(([],), ([2, 2],), ([3, 1, 2],), ([1, 9, 8, 7, 2],), ([5, 6, 1, 2, 3],), ([1, 2, 0],), ([1, 3, 2, 1],)),
)


def edit_distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        above, row = row, [i]
        for j, b in enumerate(second, start=1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (a != b)))
    return row[-1]


def _two_words(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ("", word(rng, rng.randint(0, 7), "abcd"))
    first = word(rng, rng.randint(1, size), "abé")
    return (first, word(rng, rng.randint(0, size), "abé"))


EDIT_DISTANCE = Task(
    solve=edit_distance,
    level=3,
    statement="Give the smallest number of single letters that have to be inserted, deleted or replaced to turn one "
    "word into another.",
    draw=_two_words,
    easy="calls in which the first word is empty",
    is_easy=lambda first, second: not first,
    shortcut="return len(second)",
    slips=(
        Slip(
            "compares place by place",
            "",
            """
return sum(a != b for a, b in zip(first, second)) + abs(len(first) - len(second))""",
        ),
        Slip(
            "nothing is as far as one letter from nothing",
            "return row[-1]",
            "return max(row[-1], not (first and second))",
        ),
        Slip("an empty second word needs nothing", "return row[-1]", "return row[-1] if second else 0"),
        Slip("a replacement costs two", "+ (a != b)", "+ 2 * (a != b)"),
    ),
    edges=(
        ("", ""),
        ("abab", "baba"),
        ("kitten", "sitting"),
        ("abc", ""),
        ("", "xy"),
        ("aaaaaaab", "aaaaaaa"),
        ("naïve", "naive"),
        ("abcdef", "fedcba"),
        ("bcde", "abcd"),
    ),
)


def common_subsequence(first: list[int], second: list[int]) -> list[int]:
    longest: dict[tuple[int, int], list[int]] = {}
    for i in range(len(first), -1, -1):
        for j in range(len(second), -1, -1):
            if i == len(first) or j == len(second):
                longest[i, j] = []
            elif first[i] == second[j]:
                longest[i, j] = [first[i], *longest[i + 1, j + 1]]
            else:
                options = longest[i + 1, j], longest[i, j + 1]
                longest[i, j] = min(options, key=lambda option: (-len(option), option))
    return longest[0, 0]


def _two_sequences(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (integers(rng, 1, 1, 4), integers(rng, size, 1, 2))
    return (integers(rng, size, 1, 4), integers(rng, rng.randint(1, size), 1, 4))


COMMON_SUBSEQUENCE = Task(
    solve=common_subsequence,
    level=4,
    statement="Give the longest list that can be got from each of two lists by leaving out numbers. Build it from "
    "the front: equal first numbers are always taken; otherwise the better of the results without the one or the "
    "other first number is used, and of two equally long ones the smaller list.",
    draw=_two_sequences,
    easy="lists of at most one number each",
    is_easy=lambda first, second: len(first) <= 1 and len(second) <= 1,
    shortcut="return list(first) if first == second else []",
    slips=(
        Slip(
            "takes neighbours only",
            "[first[i], *longest[i + 1, j + 1]]",
            "[first[i], *(longest[i + 1, j + 1] if first[i + 1 : i + 2] == second[j + 1 : j + 2] else [])]",
        ),
        Slip("of two equally long ones the larger", "(-len(option), option)", "(-len(option), [-n for n in option])"),
        Slip("of two equally long ones the first found", "(-len(option), option)", "-len(option)"),
        Slip("compares the numbers before the length", "(-len(option), option)", "(not option, option)"),
        Slip("an empty first list has no answer", "return longest[0, 0]", "return longest[0, 0] if first else None"),
    ),
    edges=(
        ([], []),
        ([1, 2], [2, 1]),
        ([2, 1], [1, 2]),
        ([1, 2, 3], [1, 3]),
        ([], [4]),
        ([3, 1, 2], [1, 2, 3]),
        ([1, 5, 1], [1, 1]),
    ),
)
