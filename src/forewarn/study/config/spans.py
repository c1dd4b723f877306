"""The [[spans]] tables of a study's file, made into spans."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.records import SUBJECT, UNBOUNDED, Problem, RandomWindows, Span
from forewarn.study.config.schema import RandomTable, SpanTable, StudyTable
from forewarn.study.plan import PlannedSpan

DEFAULT_STARTS = 256
"""places at which random windows may begin, where the file doesn't say"""
DEFAULT_LINES = 32


def planned_span(table: SpanTable, where: str, tables: StudyTable, problems: Sequence[Problem]) -> PlannedSpan:
    """Raises InputError for windows that can't be, for a span without a donor where the file has several, and for types
    without problems."""
    k, m = _end(table.k, table.k1, table.k0, "k", where), _end(table.m, table.m1, table.m0, "m", where)
    there = {problem.exploit_type for problem in problems}
    if unknown := [name for name in table.types if name not in EXPLOIT_TYPES and name not in there]:
        raise InputError(f"{where}.types names {unknown[0]!r}; the exploit types are {', '.join(EXPLOIT_TYPES)}")
    if table.types and not there & set(table.types):
        raise InputError(
            f"{where}.types names {', '.join(table.types)}, of which the study has no problem, so that the span would "
            f"never be drawn; the study has {', '.join(sorted(there))}"
        )
    writes = k > 0 or m > 0 or table.k0 > 0 or table.m0 > 0 or table.random is not None
    donor = _donor(table, where, tables, writes)
    if not writes and donor == SUBJECT and table.scale != 1.0:
        raise InputError(
            f"{where}.scale = {table.scale}: a span without k and m is the subject's own, with no donor to scale; "
            "leave scale out, or give k or m"
        )
    if not writes and donor == SUBJECT and table.temperature is not None:
        raise InputError(
            f"{where}.temperature = {table.temperature:g}: a span without windows is the subject's own, under the "
            "policy; leave temperature out, or give a window"
        )
    random = None if table.random is None else _random(table.random, table.anchor, tables.policy.max_total_tokens)
    try:
        span = Span(
            k, m, donor, table.scale, k0=table.k0, m0=table.m0,
            anchor=table.anchor, random=random, temperature=table.temperature,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return PlannedSpan(span, table.count, table.types)


def _end(whole: int, end: int | None, first: int, letter: str, where: str) -> int:
    """A window's end: ``k`` is short for a window from 0 to k1."""
    if whole and (end is not None or first):
        other = f"{letter}1" if end is not None else f"{letter}0"
        raise InputError(
            f"{where}.{letter} = {_said(whole)} beside {other}: {letter} is the window from 0 on; give {letter}0 and "
            f"{letter}1 alone"
        )
    if end is None and first:
        raise InputError(f"{where}.{letter}0 = {first} without {letter}1: give the window's end, or 'inf'")
    if end is not None and end <= first:
        kind = "empty" if end == first else "reversed"
        raise InputError(
            f"{where}: the window from {letter}0 = {first} to {letter}1 = {end} is {kind}: give an end above its "
            "beginning"
        )
    return min(end or whole, UNBOUNDED)


def _said(n: int) -> str:
    return "inf" if n >= UNBOUNDED else str(n)


def _donor(table: SpanTable, where: str, tables: StudyTable, writes: bool) -> str:
    if table.donor is not None:
        return table.donor
    names = [entry.name for entry in tables.donors]
    if not writes:
        return SUBJECT
    if len(names) == 1:
        return names[0]
    raise InputError(f"{where}.donor is missing: the file has {len(names)} donors, name one")


def _random(table: RandomTable, anchor: str | None, limit: int) -> RandomWindows:
    usual = DEFAULT_LINES if anchor == "line" else DEFAULT_STARTS
    starts = table.starts or max(min(usual, limit), table.bursts)
    return RandomWindows(table.channel, table.mean, table.bursts, starts, table.length)
