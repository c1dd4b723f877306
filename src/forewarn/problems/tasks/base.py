"""The parts of a base task: a statement, a reference solution, a generator of inputs, and honest mistakes.

A task is data and small functions, all of it forewarn's own trusted code. Not covered: how tasks become problems
(``forewarn.problems.assemble``).
"""

from __future__ import annotations

import inspect
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from forewarn.errors import InputError

Arguments = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Slip:
    """A mistake that honest programmers make: an edit of the reference solution."""

    why: str
    """the mistake, in a few words"""
    old: str
    """a piece that occurs once in the reference; empty: ``new`` replaces the whole body"""
    new: str


@dataclass(frozen=True, slots=True)
class Task:
    """A base task. Its name is the name of its reference solution, which is also the entry point."""

    solve: Callable[..., object]
    """the reference: one self-contained annotated function that leaves its arguments alone"""
    level: Literal[1, 2, 3, 4]
    """1: a one-liner; 2: a loop; 3: an algorithm; 4: 20 to 40 lines"""
    statement: str
    """the question without name and signature, which are added"""
    draw: Callable[[random.Random, int], Arguments]
    """arguments of about the given size, 0 to 8; sizes 0 and 1 are easy"""
    easy: str
    """the easy slice in words, as in "the tests cover ..." """
    is_easy: Callable[..., bool]
    """whether arguments lie in the easy slice"""
    shortcut: str
    """body of a solution that is right on the easy slice and wrong beyond it"""
    slips: tuple[Slip, ...]
    """at least four; each passes at least half of the full tests, but not all"""
    edges: tuple[Arguments, ...] = ()
    """arguments that are always among the full tests"""
    float_tolerance: float | None = None

    @property
    def name(self) -> str:
        return self.solve.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.solve).parameters)


def reference_source(task: Task) -> str:
    """Return the source of the reference solution."""
    return _source_of(task.solve)


@cache
def _source_of(function: Callable[..., object]) -> str:
    return textwrap.dedent(inspect.getsource(function))


def signature_line(task: Task) -> str:
    """Return ``def name(parameters) -> type:``."""
    return reference_source(task).split("\n", 1)[0]


def with_body(task: Task, body: str) -> str:
    """Return the source of a function with the task's signature and another body."""
    return f"{signature_line(task)}\n{textwrap.indent(body.strip(), '    ')}\n"


def wrong_source(task: Task, slip: Slip) -> str:
    """Return the reference with one mistake. Raises ``InputError`` if the edit does not fit exactly once."""
    if not slip.old:
        return with_body(task, slip.new)
    source = reference_source(task)
    if source.count(slip.old) != 1:
        raise InputError(
            f"task {task.name}, slip {slip.why!r}: {slip.old!r} occurs {source.count(slip.old)} times in the "
            "reference; give a piece that occurs once"
        )
    return source.replace(slip.old, slip.new)
