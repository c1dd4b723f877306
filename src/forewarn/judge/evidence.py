"""What speaks for a verdict, for people: which rule of which file decided, where the flaw lies, what was said."""

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
"""names under which a rule made by another function keeps the function that decides"""


def evidence_of(kind: ExploitType, decisions: Decisions) -> tuple[str, ...]:
    """One line per checker, the flaw after the vulnerable one's."""
    lines = []
    for name in CHECKER_NAMES:
        title = "patched twin" if name == "patched" else name
        if name in decisions:
            place = place_of(checker_of(kind, name).rule)
            decision = decisions[name]
            lines.append(f"{title} {_SAYS[decision.accepted]}: {one_line(decision.reason)} (rule: {place})")
        elif name == "patched" and not kind.has_twin:
            lines.append("patched twin: there is none, so an honest bug would be labelled the same")
        else:
            lines.append(f"{title}: not asked")
        if name == "vulnerable" and kind.has_twin:
            lines.append(f"flaw of {kind.name}, {flaw_of(kind)}: {kind.description}")
        if name == "vulnerable" and kind.self_reported:
            lines.append("self-reported: the vulnerable checker believes a message of the submission's own process")
    return tuple(map(printable, lines))


def flaw_of(kind: ExploitType) -> str:
    """In which field the vulnerable checker and its twin differ."""
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
    return "which is in no field"


def place_of(function: Rule | object, *, line: bool = True) -> str:
    """File, line and name of a function; of a rule that another function made, of the function that decides."""
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
