"""Tasks that play something through step by step."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import some, word


def robot_position(program: str) -> tuple[int, int, str]:
    x, y, facing = 0, 0, 0
    moves = ((0, 1), (1, 0), (0, -1), (-1, 0))
    for command in program:
        if command == "R":
            facing = (facing + 1) % 4
        elif command == "L":
            facing = (facing - 1) % 4
        elif command in "FB":
            sign = 1 if command == "F" else -1
            x, y = x + sign * moves[facing][0], y + sign * moves[facing][1]
    return (x, y, "NESW"[facing])


def _program(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ("F" * rng.randint(0, 9),)
    return (word(rng, size, rng.choice(("FFRL", "FFRR", "FRLB?"))),)


ROBOT_POSITION = Task(
    solve=robot_position,
    level=2,
    statement="A robot starts at (0, 0) facing north. F moves it one step forward and B one back without turning; R "
    "and L turn it by 90 degrees; other letters do nothing. Give (x, y, facing), with x to the east, y to the "
    "north, and facing one of N, E, S, W.",
    draw=_program,
    easy="programs of F only",
    is_easy=lambda program: not program.strip("F"),
    shortcut='return (0, len(program), "N")',
    slips=(
        Slip("other letters move it back", 'elif command in "FB":', "else:"),
        Slip("backwards is forwards", 'sign = 1 if command == "F" else -1', "sign = 1"),
        Slip("turns right without wrapping around", "(facing + 1) % 4", "facing + 1"),
        Slip("does not know B", 'command in "FB"', 'command == "F"'),
    ),
    edges=(("",), ("RRRRF",), ("B",), ("xF",), ("RFLB",), ("f",), ("LLLF",)),
)


def run_stack(program: list[str]) -> list[int] | None:
    stack: list[int] = []
    for step in program:
        if step in ("+", "-", "*", "swap"):
            if len(stack) < 2:
                return None
            right, left = stack.pop(), stack.pop()
            if step == "swap":
                stack += [right, left]
            else:
                stack.append(left + right if step == "+" else left - right if step == "-" else left * right)
        elif step == "dup":
            if not stack:
                return None
            stack.append(stack[-1])
        else:
            stack.append(int(step))
    return stack


def _stack_program(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ([str(rng.randint(-9, 99)) for _ in range(2 * size)],)
    start = [str(rng.randint(0, 9)) for _ in range(rng.randint(1, 4))]
    return (start + some(rng, ("+", "*", "-", "dup", "swap", "3", "7"), size),)


RUN_STACK = Task(
    solve=run_stack,
    level=3,
    statement="Run a program for a stack of integers. A number is put on the stack; +, - and * take the two topmost "
    "numbers and put the result (the lower one comes first); 'swap' exchanges them; 'dup' doubles the topmost. Give "
    "the stack at the end, topmost last, or None as soon as numbers are missing.",
    draw=_stack_program,
    easy="programs of numbers only",
    is_easy=lambda program: not set(program) & {"+", "-", "*", "swap", "dup"},
    shortcut="return [int(word) for word in program]",
    slips=(
        Slip("takes away the wrong way round", "left - right", "right - left"),
        Slip(
            "numbers that are missing are zeros",
            "            if len(stack) < 2:\n                return None",
            "            stack = [0] * (2 - len(stack)) + stack",
        ),
        Slip(
            "skips what it can't do",
            "            if len(stack) < 2:\n                return None",
            "            if len(stack) < 2:\n                continue",
        ),
        Slip(
            "doubling nothing does nothing",
            "            if not stack:\n                return None",
            "            if not stack:\n                continue",
        ),
        Slip("an empty stack is none", "return stack", "return stack or None"),
        Slip("swap puts the larger one on top", "stack += [right, left]", "stack += sorted([left, right])"),
    ),
    edges=(
        ([],),
        (["dup"],),
        (["+"],),
        (["5", "3", "-"],),
        (["9", "4", "swap"],),
        (["1", "2", "swap", "-"],),
        (["4", "9", "swap"],),
        (["99999999999", "dup", "*"],),
    ),
)


def cache_hits(requests: list[str], size: int) -> int:
    held: list[str] = []
    hits = 0
    for name in requests:
        if name in held:
            hits += 1
            held.remove(name)
        held.append(name)
        if len(held) > size:
            held.pop(0)
    return hits


def _requests(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (some(rng, "abcd", 4 * size), rng.randint(4, 6))
    return (some(rng, "abcd", rng.randint(size, 2 * size)), rng.randint(0, 3))


CACHE_HITS = Task(
    solve=cache_hits,
    level=2,
    statement="A cache holds `size` names. When a name is asked for that it does not hold, it is taken in, and if "
    "there are too many, the one that was asked for longest ago leaves. Count how often a name was held when it was "
    "asked for.",
    draw=_requests,
    easy="caches with room for every name",
    is_easy=lambda requests, size: len(set(requests)) <= size,
    shortcut="return len(requests) - len(set(requests))",
    slips=(
        Slip(
            "the one that was taken in first leaves",
            "            held.remove(name)\n        held.append(name)",
            "        else:\n            held.append(name)",
        ),
        Slip("holds one too many", "len(held) > size", "len(held) > size + 1"),
        Slip("a cache of size 0 holds one", "len(held) > size", "len(held) > max(size, 1)"),
        Slip("the newest leaves", "held.pop(0)", "held.pop()"),
    ),
    edges=(
        ([], 2),
        (["a", "a"], 0),
        (["a", "b", "a", "c", "a"], 2),
        (["a", "b", "c", "d", "e", "a"], 4),
        (["x"] * 9, 1),
        (["a", "b", "c", "d", "a", "e", "b", "c", "a"], 3),
    ),
)
