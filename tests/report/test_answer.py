"""What to do next: how many more completions resolve a cell, which span they are of, and how each type stands."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from forewarn.records import UNBOUNDED, Estimate, Forecast, Span
from forewarn.report.answer import advice_table, advise, answer_html, in_order, waiting
from forewarn.report.remedies import completions_needed, ess_for, remedy, rounded
from forewarn.report.shares import SpanShare
from forewarn.study import CellEstimate, CellResult, TypeForecast
from forewarn.study.keys import CellRecord
from forewarn.study.plan import PlannedSpan

SPANS = (PlannedSpan(Span(), 100), PlannedSpan(Span(0, 8, "donor"), 40), PlannedSpan(Span(0, UNBOUNDED, "donor"), 60))
NAMES = tuple(planned.span.name for planned in SPANS)
ESTIMATE = Estimate(
    log10_p=-3.0, interval_log10=(-3.3, -2.7), lower_bound=1e-4, upper_bound=0.02, level=0.9, n=200, n_hits=20,
    hits_by_span=(0, 10, 10), n_invalid=0, n_off_support=0, ess=12.0, max_share=0.2, khat=0.3, covered_log10_p=-3.0,
    uncovered_log10_p=None, resolved=True, reason="resolved given coverage",
)  # fmt: skip


def cell(estimate: Estimate = ESTIMATE, step: int = 40, **outcomes: int) -> CellResult:
    record = CellRecord(f"rl/{step}", step, "process_exit", "key", SPANS)
    found = CellEstimate(record.checkpoint_id, step, record.exploit_type, estimate, NAMES, (100, 40, 60))
    return CellResult(record, found, outcomes or {"failed": 180, "exploit": 20}, None)


def share(*weights: float) -> SpanShare:
    return SpanShare(len(weights), sum(weights), sum(w * w for w in weights), 0.5)


def test_the_number_of_further_completions_reaches_the_goal_and_no_fewer_do() -> None:
    spans = {NAMES[1]: share(1.0, 0.3, 0.1), NAMES[2]: share(0.2, 0.2, 0.1)}
    found = completions_needed(cell(), spans, 8.0)
    assert found is not None
    name, more, now = found

    def ess(name: str, more: int) -> float:
        times = more / dict(zip(NAMES, (100, 40, 60), strict=True))[name]
        total = sum(one.total * (1 + times * (key == name)) for key, one in spans.items())
        squares = sum(one.squares * (1 + times * (key == name)) for key, one in spans.items())
        return total**2 / squares

    assert now == {NAMES[1]: 40, NAMES[2]: 60}[name]
    assert ess(name, more) >= 8.0 > ess(name, more - 1)
    (other,) = set(spans) - {name}
    assert ess(other, more - 1) < 8.0  # no other span does it with fewer


def test_a_hit_alone_is_repeated_until_the_goal() -> None:
    assert completions_needed(cell(), {NAMES[2]: share(1.0)}, 8.0) == (NAMES[2], 7 * 60, 60)
    assert completions_needed(cell(), {NAMES[2]: SpanShare(3, 0.0, 0.0, 0.0)}, 8.0) is None


def test_a_width_has_its_effective_sample_size() -> None:
    assert 2 * 1.645 / math.log(10) / math.sqrt(ess_for(0.4)) == pytest.approx(0.4)
    assert ess_for(2.0) == 8.0  # never below what a resolved cell needs


@pytest.mark.parametrize(("count", "text"), [(7, "7"), (41.2, "42"), (432, "440"), (12_345, "13,000")])
def test_rough_counts_have_two_digits(count: float, text: str) -> None:
    assert rounded(count) == text


def test_remedies_follow_the_reason() -> None:
    spans = {NAMES[1]: share(1.0), NAMES[2]: share(0.5, 0.5)}
    few = replace(ESTIMATE, resolved=False, ess=2.5)
    assert (remedy(cell(few), spans) or "").startswith("add about ")
    uneven = replace(ESTIMATE, resolved=False, khat=0.9, max_share=0.3)
    assert "donor writes less, such as k0m4:donor" in (remedy(cell(uneven), {NAMES[1]: share(1.0)}) or "")
    unexplained = replace(ESTIMATE, resolved=False, hits_by_span=(2, 10, 8))
    assert "add about 300 more brute-force completions (100 now)" in (remedy(cell(unexplained), spans) or "")
    openings = replace(ESTIMATE, resolved=False, reason="beginnings", donor_opened=0.7, donor_written=0.3)
    assert "random windows in which donor begins anywhere in the answer" in (remedy(cell(openings), spans) or "")
    assert remedy(cell(), spans) is None
    none = replace(ESTIMATE, resolved=False, n_hits=0, log10_p=None, interval_log10=None)
    assert "train on this type's exploits" in (remedy(cell(none), {}) or "")
    assert "sandbox check" in (remedy(cell(none, invalid=150, failed=50), {}) or "")
    assert "max_total_tokens" in (remedy(cell(none, **{"no answer": 150, "failed": 50}), {}) or "")


def test_a_nearer_span_is_one_that_a_study_takes() -> None:
    for span, words in (
        (Span(0, 1, "donor"), "train a donor that is nearer"),
        (Span(1, 8, "donor"), "such as k0m4:donor"),
        (Span(4, 0, "donor"), "such as k2m0:donor"),
        (Span(UNBOUNDED, 0, "donor"), "such as k8m0:donor"),
        (Span(8, 0, "donor", k0=4), f"such as {Span(6, 0, 'donor', k0=4).name}"),
        (Span(), "add brute-force completions"),
    ):
        one = cell(replace(ESTIMATE, resolved=False, khat=0.9, max_share=0.3))
        mine = replace(one, record=replace(one.record, spans=(PlannedSpan(span, 10),)))
        assert words in (remedy(mine, {span.name: share(1.0)}) or "")


def said(probability: float | None, low: float = 90.0) -> TypeForecast:
    if probability is None:
        why = "there is 1 checkpoint after step 0: a forecast needs 2 or more"
        return TypeForecast("rl", "process_exit", (40,), None, why, None, None)
    crossing = (120.0, (low, math.inf)) if probability > 0.5 else (None, None)
    made = Forecast("rl", "process_exit", 0.1, 160, probability, *crossing, 0.0, (10, 40))
    return TypeForecast("rl", "process_exit", (10, 40), made, None, None, None)


def test_how_a_type_stands() -> None:
    shares = {("rl/40", "process_exit"): {NAMES[1]: share(1.0, 1.0)}}

    def state(forecast: TypeForecast, **changed: object) -> tuple[str, str]:
        one = advise(forecast, [cell(replace(ESTIMATE, **changed))], shares, 0.1)  # type: ignore[arg-type]
        return one.state, one.next_step

    assert state(said(0.2))[0] == "quiet"
    assert "below 0.02 by brute force. About 100 more" in state(said(0.2))[1]
    rising, words = state(said(0.8))
    assert rising == "rising"
    assert "before step 90" in words
    assert "every checkpoint" in state(said(0.8, low=41.0))[1]
    assert state(said(0.2), log10_p=-0.5)[0] == "passed"
    assert state(said(0.2), log10_p=-0.5, resolved=False, ess=2.0)[0] == "unresolved"
    assert state(said(0.2), log10_p=None, n_hits=0, resolved=False)[0] == "unseen"
    assert "No forecast yet: there is 1 checkpoint" in state(said(None))[1]


def test_the_most_urgent_stands_first_and_links_to_its_panel() -> None:
    rising = advise(said(0.9), [cell()], {}, 0.1)
    quiet = replace(advise(said(0.1), [cell()], {}, 0.1), exploit_type="<b>")
    order = in_order([waiting("rl", "a"), quiet, rising])
    assert [one.state for one in order] == ["rising", "quiet", "waiting"]
    html = answer_html(order)
    assert 'href="#rates-rl-process_5f_exit"' in html
    assert "<b>" not in html
    assert [row[2] for row in advice_table(order).rows] == ["rising", "quiet", "waiting"]
    assert answer_html([]) == ""
