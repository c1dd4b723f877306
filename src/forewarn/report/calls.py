"""Calls against the first visible hack: when each type was called, when sampling alone showed it, what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import polars as pl

from forewarn.report import numbers as write
from forewarn.report.anchors import breakable, panel_anchor
from forewarn.report.frames import Row, newest_forecasts
from forewarn.report.glossary import term
from forewarn.report.style import step_position
from forewarn.text import printable

OUTCOMES = {
    "true": "came true",
    "late": "came true, called late",
    "false": "false alarm",
    "open": "open",
    "missed": "passed without a call",
    "none": "not called",
}
"""what became of a type's call"""


@dataclass(frozen=True, slots=True)
class TypeCall:
    """One type of one run."""

    run: str
    exploit_type: str
    outcome: str
    """a key of ``OUTCOMES``"""
    says: str
    called: int | None
    visible: int | None
    passed: int | None
    last: int
    """the newest measured step"""


def run_calls(cells: pl.DataFrame, forecasts: pl.DataFrame, run: str) -> list[TypeCall]:
    """The types of a run that have a forecast: those called first, by step."""
    newest = cells.filter(pl.col("run") == run).group_by("exploit_type").agg(pl.col("step").max())
    last: dict[str, int] = dict(newest.iter_rows())
    found = [
        _call(run, name, row, last[name]) for name, row in newest_forecasts(forecasts, run).items() if name in last
    ]
    return sorted(found, key=lambda one: (one.called is None, one.called or 0, one.passed is None, one.exploit_type))


def outcome_of(row: Row, last: int) -> str:
    """What became of a type's call (``OUTCOMES``). ``row``: its newest forecast; ``last``: the newest measured step."""
    called, passed, reach = row["first_call_step"], row["step_over_10pct"], row["call_horizon_step"]
    if called is None:
        return "none" if passed is None else "missed"
    if passed is not None:
        return "true" if called < passed else "late"
    over = row["emerged"] is False or (reach is not None and last >= reach)
    return "false" if over else "open"


def _call(run: str, name: str, row: Row, last: int) -> TypeCall:
    called, visible, passed = row["first_call_step"], row["brute_first_step"], row["step_over_10pct"]
    outcome, reach = outcome_of(row, last), row["call_horizon_step"]
    until = "" if reach is None else f"step {reach:,}"
    says = {
        "none": "",
        "missed": "" if passed is None else f"passed 10 % at step {passed:,}",
        "true": "" if passed is None else f"{passed - (called or 0):,} steps before the rate was above 10 %",
        "late": "no earlier than that",
        "false": f"not above 10 %{' by ' if until else ''}{until}",
        "open": f"{'until ' if until else ''}{until}",
    }[outcome]
    if called is not None:
        says = "; ".join(part for part in (says, _before(called, visible)) if part)
    return TypeCall(run, name, outcome, says, called, visible, passed, last)


def _before(called: int, visible: int | None) -> str:
    """The call against the first visible hack."""
    if visible is None:
        return "before any visible hack"
    steps = visible - called
    if steps == 0:
        return "at the first visible hack"
    return f"{abs(steps):,} steps {'before' if steps > 0 else 'after'} the first visible hack"


def _lead(called: int, passed: int) -> str:
    steps = passed - called
    return f"{steps:,} steps before the rate was above 10 %" if steps > 0 else "no earlier than that"


def is_told(one: TypeCall) -> bool:
    """Whether anything happened to the type."""
    return (one.called, one.visible, one.passed) != (None, None, None)


def calls_html(calls: Sequence[TypeCall]) -> str:
    """A row a type: its marks on a track of steps, and what came of the call."""
    seen = [step for one in calls for step in (one.called, one.visible, one.passed, one.last) if step is not None]
    low, high = math.log10(step_position(min(seen))), math.log10(step_position(max(seen)))

    def place(step: int) -> str:
        part = (math.log10(step_position(step)) - low) / ((high - low) or 1.0)
        return f"{100 * part:.1f}%"

    told = [one for one in calls if is_told(one)]
    rows = "".join(_row(one, place) for one in told)
    quiet = len(calls) - len(told)
    rest = f'<p class="note">{quiet} exploit types were neither called nor visible.</p>' if quiet > 1 else ""
    if not told:
        return '<p class="note">Nothing was called, and no hack was visible.</p>'
    head = "".join(
        f'<th scope="col">{term(name)}</th>' for name in ("type", "called", "first visible", "above 10 %", "outcome")
    )
    scale = f'<th scope="col" class="track-head"><span>step {min(seen):,}</span><span>{max(seen):,}</span></th>'
    return (
        f'<table class="calls"><caption>Calls against the first visible hack</caption><thead><tr>{head}{scale}</tr>'
        f"</thead><tbody>{rows}</tbody></table>{rest}"
    )


def _row(one: TypeCall, place: Callable[[int], str]) -> str:
    name, run = escape(printable(one.exploit_type)), escape(printable(one.run))
    bar = ""
    if one.called is not None:
        end = one.passed if one.passed is not None and one.passed > one.called else one.last
        bar = f'<i class="bar {one.outcome}" style="left:{place(one.called)};right:calc(100% - {place(end)})"></i>'
    marks = "".join(
        f'<i class="{css}" style="left:{place(step)}" title="{words} at step {step:,}"></i>'
        for css, words, step in (
            ("seen", "first visible", one.visible), ("passed", "above 10 %", one.passed),
            ("called" + (" false" if one.outcome == "false" else ""), "called", one.called),
        )
        if step is not None
    )  # fmt: skip
    return (
        f'<tr data-run="{run}" data-type="{name}"><th scope="row"><a href="#{panel_anchor(one.run, one.exploit_type)}">'
        f"{breakable(one.exploit_type)}</a></th>{_step('called', one.called)}"
        f"{_step('first visible', one.visible)}{_step('above 10 %', one.passed)}"
        f'<td data-label="outcome"><span class="outcome {one.outcome}">{OUTCOMES[one.outcome]}</span> '
        f"{escape(one.says)}</td>"
        f'<td class="track"><span>{bar}{marks}</span></td></tr>'
    )


def _step(name: str, step: int | None) -> str:
    return f'<td class="number{" none" if step is None else ""}" data-label="{name}">{write.step(step)}</td>'
