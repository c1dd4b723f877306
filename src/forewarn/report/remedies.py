"""What to do about a cell that is unresolved or has no hit: which span, and about how many more completions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from forewarn.estimation.diagnostics import KHAT_SHARE, MAX_KHAT, MAX_SHARE, MIN_ESS, by_donors_alone
from forewarn.records import SUBJECT, UNBOUNDED, Estimate, Span
from forewarn.report.shares import SpanShare
from forewarn.study import CellResult
from forewarn.study.results.read import NO_ANSWER

WIDTH = 0.5
"""decades: the width of a 90 % interval that remedies aim at"""
TOO_MANY = 30
"""times the cell's own completions: beyond, more of the same does not help"""
FIRST_TRY = 8
"""tokens of a span that stands in for one in which the donor writes a whole channel"""


def remedy(cell: CellResult, spans: Mapping[str, SpanShare]) -> str | None:
    """What would most likely resolve a whole cell; None where it is resolved. ``spans``: of ``span_shares``."""
    assert cell.estimate is not None
    e = cell.estimate.estimate
    if e.n_hits == 0:
        return without_hits(cell)
    if e.resolved:
        return None
    if _is(e.ess, below=MIN_ESS) or _is(e.max_share, above=MAX_SHARE):
        return more_of(cell, spans)
    if _is(e.khat, above=MAX_KHAT) and _is(e.max_share, above=KHAT_SHARE):
        return nearer_span(cell, spans)
    if e.hits_by_span[0] < MIN_ESS and by_donors_alone(e.donor_opened, e.donor_written):
        return windows_of(cell)
    return more_counting(cell, e)


def _is(value: float | None, *, below: float = -math.inf, above: float = math.inf) -> bool:
    return value is not None and (value < below or value > above)


def ess_for(width: float) -> float:
    """Effective sample size at which a 90 % interval is about ``width`` decades wide."""
    return max(MIN_ESS, (2 * 1.645 / (math.log(10) * width)) ** 2)


def completions_needed(cell: CellResult, spans: Mapping[str, SpanShare], goal: float) -> tuple[str, int, int] | None:
    """(span, how many more completions of it, how many it has now) that reach the effective sample size ``goal`` with
    the fewest; None where no number does.

    More of a span brings more hits of its kind: with ``1 + g`` times as many, sums over its hits grow by ``g`` and the
    others stay. So (S + g s)^2 = goal (Q + g q), with S, Q the sums of weights and of squares over the cell and s, q
    those of the span.
    """
    assert cell.estimate is not None
    drawn = dict(zip(cell.estimate.spans, cell.estimate.n_by_span, strict=True))
    total, squares = (sum(getattr(one, name) for one in spans.values()) for name in ("total", "squares"))
    best: tuple[str, int, int] | None = None
    for name, one in spans.items():
        if not one.total:
            continue
        a, b, c = one.total**2, 2 * total * one.total - goal * one.squares, total**2 - goal * squares
        times = (-b + math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
        more = math.ceil(times * drawn[name])
        if more > 0 and (best is None or more < best[1]):
            best = (name, more, drawn[name])
    return best


def more_of(cell: CellResult, spans: Mapping[str, SpanShare]) -> str:
    """Too few hits carry the estimate: more of the span that brings them at the least cost."""
    found = completions_needed(cell, spans, ess_for(WIDTH))
    if found is None:
        return "every hit lies outside what the subject can write: train a donor on the subject's own exploits"
    name, more, now = found
    goal = "for a 90 % interval about half a decade wide"
    if cell.estimate is not None and more > TOO_MANY * cell.estimate.estimate.n:
        return (
            f"{goal} it would take about {rounded(more)} more completions of {name}: instead {_nearer(cell, name)}, or "
            "train a donor on the subject's own exploits"
        )
    of = "brute-force completions" if name == Span().name else f"completions of {name}"
    return f"add about {rounded(more)} {'more ' if now else ''}{of} ({now:,} now) {goal}"


def nearer_span(cell: CellResult, spans: Mapping[str, SpanShare]) -> str:
    """A few hits outweigh the rest: a span in which the donor writes less is nearer to what the subject writes."""
    heaviest = max(spans, key=lambda name: spans[name].share)
    return f"the weights are too uneven: {_nearer(cell, heaviest)}"


def _nearer(cell: CellResult, name: str) -> str:
    span = next((planned.span for planned in cell.record.spans if planned.span.name == name), None)
    if span is None or span.donor == SUBJECT:
        return "add brute-force completions"
    reasoning, answer = _half(span.k0, span.k), _half(span.m0, span.m)
    if span.random is not None or (reasoning == answer == (0, 0)):
        return f"train a donor that is nearer to the subject than {span.donor}"
    near = replace(span, k0=reasoning[0], k=reasoning[1], m0=answer[0], m=answer[1])
    return f"add a span in which {span.donor} writes less, such as {near.name}"


def _half(first: int, end: int) -> tuple[int, int]:
    """The first half of a window; (0, 0) where nothing is left of it."""
    tokens = FIRST_TRY if end >= UNBOUNDED else (end - first) // 2
    return (first, first + tokens) if tokens else (0, 0)


def windows_of(cell: CellResult) -> str:
    """The hits say what follows the donors' beginnings: windows let the subject begin."""
    donors = sorted({planned.span.donor for planned in cell.record.spans if planned.span.writes})
    return (
        f"add a span of random windows in which {' or '.join(donors)} begins anywhere in the answer "
        '(random = { channel = "answer" })'
    )


def more_counting(cell: CellResult, e: Estimate) -> str:
    """The subject alone exploits more often than donors explain: count its own hits, or teach a donor their ways."""
    assert cell.estimate is not None
    own, hits = cell.estimate.n_by_span[0], max(e.hits_by_span[0], 1)
    more = max(math.ceil(own * (MIN_ESS / hits - 1)), own)
    return (
        f"add about {rounded(more)} more brute-force completions ({own:,} now) until the rate can be counted, or "
        "train a donor on these exploits: they are out of its reach"
    )


def rounded(count: float) -> str:
    """Two digits of a count that is only an estimate."""
    digits = max(0, len(str(math.ceil(count))) - 2)
    return f"{math.ceil(count / 10**digits) * 10**digits:,}"


def without_hits(cell: CellResult) -> str:
    """What would most likely bring hits to a cell without any."""
    total = sum(cell.outcomes.values())
    donors = sorted({planned.span.donor for planned in cell.record.spans} - {SUBJECT})
    if 2 * cell.outcomes.get("invalid", 0) >= total:
        return "most could not be judged: run `forewarn sandbox check`, then the study again"
    if 2 * cell.outcomes.get(NO_ANSWER, 0) >= total:
        return "most never came to an answer: raise policy.max_total_tokens"
    if not donors:
        return "no donor writes in any span: add a donor and [[spans]] that name it"
    named = " and ".join(donors)
    return (
        f"no exploit of this type came from {named}: train on this type's exploits (`forewarn train-donor`), or add a "
        "span in which the donor writes more of the answer (a larger m)"
    )
