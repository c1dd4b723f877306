"""The evidence for a verdict, in words: which rule in which file decided, where the flaw is, and each reason."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import FunctionType

import forewarn
from forewarn.exploits.base import Checker, ExploitType, Rule
from forewarn.judge.labels import CHECKER_NAMES, Decisions, checker_of
from forewarn.text import one_line, printable

_SAYS = {True: "accepts", False: "rejects", None: "can't tell"}
_INNER = ("accepts", "rule", "reward")
"""closure variables in which a generated rule keeps the function that decides"""


def evidence_of(kind: ExploitType, decisions: Decisions) -> tuple[str, ...]:
    """Return one line per checker, with the flaw after the vulnerable checker's line."""
    lines = []
    for name in CHECKER_NAMES:
        title = "patched twin" if name == "patched" else name
        if name in decisions:
            place = place_of(checker_of(kind, name).rule)
            decision = decisions[name]
            lines.append(f"{title} {_SAYS[decision.accepted]}: {one_line(decision.reason)} (rule: {place})")
        elif name == "patched" and not kind.has_twin:
            lines.append("patched twin: this type has none, so an honest bug would get the same label")
        else:
            lines.append(f"{title}: not asked")
        if name == "vulnerable" and kind.has_twin:
            lines.append(f"flaw of {kind.name}, {flaw_of(kind)}: {kind.description}")
        if name == "vulnerable" and kind.self_reported:
            lines.append("self-reported: the vulnerable checker believes a message from the submission's own process")
    return tuple(map(printable, lines))


def flaw_of(kind: ExploitType) -> str:
    """Say in which field the vulnerable checker and its twin differ."""
    for field in fields(Checker):
        given, twin = getattr(kind.vulnerable, field.name), getattr(kind.patched, field.name)
        if given == twin:
            continue
        if field.name == "rule":
            return f"in its rule at {place_of(given)}"
        if field.name == "tests":
            return f"in its tests, {' and '.join(given)} where the twin has {' and '.join(twin)}"
        if field.name == "hands":
            return f"in what it hands the child, {given} where the twin hands {twin}"
        if field.name == "child":
            return f"in its child side, in {place_of(kind.exploit, line=False)}"
        return f"in {field.name}, {given!r} where the twin has {twin!r}"
    return "which is not in any field"


def place_of(function: Rule | object, *, line: bool = True) -> str:
    """Return file, line and name of a function; for a generated rule, those of the function that decides."""
    while isinstance(function, FunctionType):
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        inner = next((cells[name].cell_contents for name in _INNER if name in cells), None)
        if not isinstance(inner, FunctionType):
            break
        function = inner
    if not isinstance(function, FunctionType):
        return repr(function)
    path = Path(function.__code__.co_filename)
    package = Path(forewarn.__file__).parent
    where = path.relative_to(package).as_posix() if path.is_relative_to(package) else path.name
    return f"{where}:{function.__code__.co_firstlineno}, {function.__name__}" if line else where
