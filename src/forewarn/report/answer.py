"""The answer of a run folder: for each exploit type how it stands, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from forewarn.report import numbers as write
from forewarn.report.anchors import breakable, panel_anchor, transcript_anchor, with_code
from forewarn.report.glossary import term
from forewarn.report.remedies import remedy, rounded
from forewarn.report.shares import CellKey, SpanShare
from forewarn.report.table import Table
from forewarn.study import CellResult, TypeForecast
from forewarn.text import printable

LIKELY = 0.5
"""probability from which a type counts as rising"""

STATES = {
    "passed": "above 10 %",
    "rising": "rising",
    "unresolved": "unresolved",
    "unseen": "no hit",
    "quiet": "quiet",
    "waiting": "waiting",
}
"""state -> what the page calls it, the most urgent first"""


@dataclass(frozen=True, slots=True)
class Advice:
    """How one exploit type of one run stands."""

    run: str
    exploit_type: str
    state: str
    """a key of ``STATES``"""
    now: str
    """the newest estimate, in words"""
    probability: float | None
    crossing: str
    next_step: str
    """what to do, one sentence or two"""
    has_hits: bool
    """whether the newest whole cell has transcripts to read"""


def advise(
    said: TypeForecast,
    cells: Sequence[CellResult],
    spans: Mapping[CellKey, Mapping[str, SpanShare]],
    threshold: float,
    passed: int | None = None,
) -> Advice:
    """``cells``: the type's whole cells in the run, in order of step; at least one. ``passed``: the first step at which
    its rate was above 10 %."""
    newest = cells[-1]
    assert newest.estimate is not None
    e = newest.estimate.estimate
    record = newest.record
    todo = remedy(newest, spans.get((record.checkpoint_id, record.exploit_type), {}))
    forecast = said.forecast
    probability = forecast.probability if forecast is not None else None
    rate = None if e.log10_p is None else 10**e.log10_p
    if rate is not None and rate > threshold and e.resolved:
        state = "passed"
        words = (
            f"Its rate is above {_percent(threshold)} at step {record.step:,}. Read its transcripts, close the flaw "
            "that they use, and train on from an earlier checkpoint."
        )
    elif probability is not None and probability >= LIKELY:
        state = "rising"
        words = f"Read its transcripts now, and {_measure_by(said, record.step)}."
        words += f" {_sentence(todo)}" if todo else ""
    elif e.n_hits == 0:
        state, words = "unseen", f"{_sentence(todo or '')} {_bound(newest)}"
    elif todo:
        state, words = "unresolved", _sentence(todo)
    else:
        state, words = "quiet", f"Keep measuring. {_bound(newest)}"
    if said.why_none is not None:
        words += f" No forecast yet: {said.why_none}."
    return Advice(
        said.run, said.exploit_type, state, _now(newest), None if state == "passed" else probability,
        _crossing(said) if state != "passed" or passed is None else f"passed by {passed:,}", words, e.n_hits > 0,
    )  # fmt: skip


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _now(cell: CellResult) -> str:
    assert cell.estimate is not None
    e = cell.estimate.estimate
    if e.log10_p is None:
        return f"{write.NO_HIT}, < {write.rate(e.upper_bound)}"
    interval = write.log_interval(*(e.interval_log10 or (None, None)))
    return write.log_rate(e.log10_p) + ("" if interval == write.NONE else f" {interval}")


def _crossing(said: TypeForecast) -> str:
    forecast = said.forecast
    if forecast is None or forecast.step_median is None or forecast.step_interval is None:
        return write.NONE
    low, high = forecast.step_interval
    end = "beyond" if high == float("inf") else write.step(high)
    return f"{write.step(forecast.step_median)} [{write.step(low)}, {end}]"


def _measure_by(said: TypeForecast, last: int) -> str:
    assert said.forecast is not None
    ends = said.forecast.step_interval
    if ends is None or ends[0] <= 1.05 * last:
        return "measure every checkpoint from here on"
    return f"measure the next checkpoint before step {write.step(ends[0])}, the early end of its crossing"


def _bound(cell: CellResult) -> str:
    """What can't be seen, and what it would cost to see more."""
    assert cell.estimate is not None
    e, own = cell.estimate.estimate, cell.estimate.n_by_span[0]
    return (
        f"What no donor reaches can't be seen, only bounded: below {write.rate(e.upper_bound)} by brute "
        f"force. About {rounded(own)} more brute-force completions would halve that."
    )


def in_order(advice: Sequence[Advice]) -> list[Advice]:
    """The most urgent first: by state, then by probability of emerging."""
    rank = {state: i for i, state in enumerate(STATES)}
    return sorted(advice, key=lambda one: (rank[one.state], -(one.probability or 0.0), one.run, one.exploit_type))


def waiting(run: str, exploit_type: str) -> Advice:
    """A type without a whole cell yet."""
    return Advice(run, exploit_type, "waiting", "", None, "", "None of its cells is measured yet.", False)


def advice_table(advice: Sequence[Advice]) -> Table:
    """The answer as plain text, for Markdown and terminals."""
    return Table(
        title="What to do next",
        columns=("run", "type", "state", "rate now", "P(emerges)", "crosses at", "what to do next"),
        rows=tuple(
            (
                one.run, one.exploit_type, STATES[one.state], one.now, write.percent(one.probability), one.crossing,
                one.next_step,
            )
            for one in in_order(advice)
        ),
        text_columns=3,
        prose=(6,),
    )  # fmt: skip


def answer_html(advice: Sequence[Advice]) -> str:
    """The same table for the page, with links to panels and transcripts."""
    if not advice:
        return ""
    several = len({one.run for one in advice}) > 1
    columns = [
        *(["run"] if several else []),
        "type",
        "state",
        "rate now",
        "P(emerges)",
        "crosses at",
        "what to do next",
    ]
    head = "".join(f'<th scope="col">{term(name)}</th>' for name in columns)
    rows = "".join(_row(one, several) for one in in_order(advice))
    return (
        f'<table class="answer"><caption>What to do next</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _probability(one: Advice) -> str:
    return "" if one.state == "waiting" else write.percent(one.probability)


def _dash(text: str) -> str:
    """The class of a cell that says nothing: a narrow page leaves it out."""
    return " none" if text in ("", write.NONE) else ""


def _row(one: Advice, several: bool) -> str:
    name, run = escape(printable(one.exploit_type)), escape(printable(one.run))
    link = shown = breakable(one.exploit_type)
    if one.state != "waiting":
        link = f'<a href="#{panel_anchor(one.run, one.exploit_type)}">{shown}</a>'
    read = ""
    if one.has_hits:
        read = f' <a href="#{transcript_anchor(one.run, one.exploit_type)}">Transcripts</a>'
    crossing, chance = one.crossing, _probability(one)
    cells = [
        *([f'<td data-label="run">{run}</td>'] if several else []),
        f'<th scope="row">{link}</th>',
        f'<td data-label="state"><span class="state {one.state}">{STATES[one.state]}</span></td>',
        f'<td data-label="rate now">{escape(one.now)}</td>',
        f'<td data-label="P(emerges)" class="number{_dash(chance)}">{chance}</td>',
        f'<td data-label="crosses at" class="crossing{_dash(crossing)}">{escape(crossing)}</td>',
        f'<td class="next">{with_code(one.next_step)}{read}</td>',
    ]
    return f'<tr data-run="{run}" data-type="{name}">{"".join(cells)}</tr>'
