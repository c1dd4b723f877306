"""Laws that hold for every input, under Hypothesis."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.estimation import mixture_estimate
from forewarn.estimation.sample import read_sample


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Completions of a few problems and spans, log-ratios up to +-1e4, every problem with an own completion."""
    n_problem, n_span = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    n = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # one completion of every cell, then any others
    base_problem, base_span = np.divmod(np.arange(n_problem * n_span), n_span)
    problem = np.concatenate([base_problem, rng.integers(0, n_problem, n)])
    span = np.concatenate([base_span, rng.integers(0, n_span, n)])
    ratio = rng.normal(0, draw(st.sampled_from([0.1, 3.0, 100.0, 1e4])), (len(span), n_span))
    ratio[:, 0] = 0
    return ratio, rng.random(len(span)) < draw(st.floats(0, 1)), span, problem


@given(cases())
@settings(max_examples=150, deadline=None)
def test_weights_are_bounded_and_the_record_is_consistent(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    ratio, hit, span, problem = case
    sample = read_sample(ratio, hit, span, problem_N=problem)
    assert (sample.log_weight_H <= -sample.log_share_own_H + 1e-9).all()  # w <= 1 / alpha_0
    assert sample.coef_N.sum() == pytest.approx(1)
    e = mixture_estimate(ratio, hit, span, problem_N=problem)
    assert e.n_hits == hit.sum() == sum(e.hits_by_span)
    assert 0 <= e.lower_bound <= 1
    assert 0 <= e.upper_bound <= 1
    assert (e.log10_p is None) == (not hit.any())
    if e.log10_p is not None:
        assert e.interval_log10 is not None
        assert e.interval_log10[0] <= min(e.log10_p, 0.0) + 1e-9
        assert e.interval_log10[1] >= min(e.log10_p, 0.0) - 1e-9
        assert e.lower_bound <= 10**e.log10_p * (1 + 1e-9)
        parts = [10**x for x in (e.covered_log10_p, e.uncovered_log10_p) if x is not None]
        if e.log10_p > -290:
            assert sum(parts) == pytest.approx(10**e.log10_p, rel=1e-9)
        assert e.ess is not None
        assert 1 - 1e-9 <= e.ess <= e.n_hits + 1e-9


@given(cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_order_does_not_matter(case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], seed: int) -> None:
    ratio, hit, span, problem = case
    order = np.random.default_rng(seed).permutation(len(span))
    a = mixture_estimate(ratio, hit, span, problem_N=problem)
    b = mixture_estimate(ratio[order], hit[order], span[order], problem_N=problem[order])
    assert a.n_hits == b.n_hits
    assert a.upper_bound == pytest.approx(b.upper_bound)
    assert a.lower_bound == pytest.approx(b.lower_bound, rel=1e-6, abs=1e-300)
    if a.log10_p is not None:
        assert a.log10_p == pytest.approx(b.log10_p, rel=1e-9, abs=1e-9)
        assert a.interval_log10 == pytest.approx(b.interval_log10, rel=1e-6, abs=1e-6)


@given(cases(), st.data())
@settings(max_examples=60, deadline=None)
def test_splitting_a_span_changes_nothing(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    ratio, hit, span, problem = case
    split = data.draw(st.integers(0, ratio.shape[1] - 1))
    rows = np.flatnonzero(span == split)
    moved = span.copy()
    # every second of each problem's, so that the subject's own span keeps a completion everywhere
    rank = np.array([int((problem[rows[:i]] == problem[r]).sum()) for i, r in enumerate(rows)], dtype=int)
    moved[rows[rank % 2 == 1]] = ratio.shape[1]
    if not (moved == ratio.shape[1]).any():
        return
    wider = np.concatenate([ratio, ratio[:, split : split + 1]], axis=1)
    a = mixture_estimate(ratio, hit, span, problem_N=problem)
    b = mixture_estimate(wider, hit, moved, problem_N=problem)
    if a.log10_p is not None:
        assert a.log10_p == pytest.approx(b.log10_p, rel=1e-9, abs=1e-9)
        assert a.interval_log10 == pytest.approx(b.interval_log10, rel=1e-6, abs=1e-6)
        assert a.lower_bound == pytest.approx(b.lower_bound, rel=1e-6, abs=1e-300)


@given(cases(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_problem_names_and_duplicated_clusters(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], copies: int
) -> None:
    """Problems may be called anything; a completion repeated within its trace adds nothing."""
    ratio, hit, span, problem = case
    a = mixture_estimate(ratio, hit, span, problem_N=problem)
    names = np.array([f"problem-{9 - t}" for t in problem])
    b = mixture_estimate(ratio, hit, span, problem_N=names)
    repeat = np.tile(np.arange(len(span)), copies)
    c = mixture_estimate(ratio[repeat], hit[repeat], span[repeat], problem_N=problem[repeat], cluster_N=repeat)
    for other in (b, c):
        assert a.lower_bound == pytest.approx(other.lower_bound, rel=1e-6, abs=1e-300)
        assert (a.log10_p is None) == (other.log10_p is None)
        if a.log10_p is not None:
            assert a.log10_p == pytest.approx(other.log10_p, rel=1e-9, abs=1e-9)


def test_a_million_completions() -> None:
    """1e6 completions x 12 spans, 1 % hits, 200 problems, trace ids given: the plain formula's value (speed:
    benchmarks/estimation_speed.py)."""
    rng, n = np.random.default_rng(0), 1_200_000
    span, problem = np.arange(n) % 12, (np.arange(n) // 12) % 200
    hit = rng.random(n) < 0.01
    ratio = np.full((n, 12), np.nan)
    ratio[hit] = rng.normal(8, 2, (int(hit.sum()), 12))
    ratio[:, 0] = 0
    e = mixture_estimate(ratio, hit, span, problem_N=problem, cluster_N=np.arange(n))
    plain = (1 / np.exp(ratio[hit]).mean(axis=1)).sum() / n  # equal counts in every cell
    assert e.log10_p == pytest.approx(math.log10(plain), abs=1e-12)
