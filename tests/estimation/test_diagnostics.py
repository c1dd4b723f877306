"""Responsibility split, direct test, growth curve, verdict: each sees what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import growth_curve, mixture_estimate
from forewarn.estimation.diagnostics import Diagnostics, direct_test, judge, responsibility
from forewarn.estimation.sample import read_sample
from forewarn.worlds import build
from forewarn.worlds.draw import draw


def test_responsibility_is_the_chance_that_brute_force_brought_the_hit() -> None:
    world, rng = build("tenth"), np.random.default_rng(0)
    count_S = np.array([400] + [100] * 9)
    d = draw(world, count_S, rng)
    sample = read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N)
    rho = responsibility(sample)
    assert rho.min() >= 0
    assert rho.max() <= 1
    own = int((d.span_N[d.is_exploit_N] == 0).sum())
    assert abs(rho.sum() - own) < 5 * math.sqrt(float((rho * (1 - rho)).sum()))  # calibrated


def test_split_and_direct_test_see_what_only_brute_force_finds() -> None:
    """A quarter of the subject's own completions take a road no donor knows."""
    rng, n = np.random.default_rng(1), 1000
    span = np.arange(n) % 5
    hit = np.where(span == 0, rng.random(n) < 0.25, rng.random(n) < 0.4)
    ratio = np.zeros((n, 5))
    ratio[:, 1:] = np.where(span == 0, -30.0, math.log(0.4 / 1e-4))[:, None]
    e = mixture_estimate(ratio, hit, span)
    assert e.uncovered_log10_p == pytest.approx(math.log10(hit[span == 0].mean()), abs=1e-6)
    assert e.covered_log10_p == pytest.approx(-4 + math.log10(hit[span > 0].mean() / 0.4), abs=0.01)
    p_value = direct_test(read_sample(ratio, hit, span))
    assert p_value is not None
    assert p_value < 1e-10
    assert e.resolved  # 50 such hits are a count, not a surprise
    assert "resolved by counting" in e.reason
    few = hit & ((span > 0) | (np.cumsum(hit & (span == 0)) <= 5))
    e = mixture_estimate(ratio, few, span)
    assert not e.resolved


def test_a_road_that_brute_force_counts_often_is_covered() -> None:
    """Donors miss nine tenths of a common rate: intervals of what is called resolved still cover."""
    rng, n, rate = np.random.default_rng(5), 1000, 0.1
    span = np.arange(n) % 5
    ratio = np.zeros((n, 5))
    missed = resolved = 0
    for _ in range(400):
        own_road = (span == 0) & (rng.random(n) < 0.9 * rate)
        common = ~own_road & (rng.random(n) < np.where(span == 0, 0.1 * rate, 0.4))
        ratio[:, 1:] = np.where(own_road, -30.0, math.log(0.4 / (0.1 * rate)))[:, None]
        e = mixture_estimate(ratio, own_road | common, span)
        assert e.interval_log10 is not None
        inside = e.interval_log10[0] <= math.log10(rate) <= e.interval_log10[1]
        resolved += e.resolved
        missed += e.resolved and not inside
    assert resolved > 350
    assert missed <= 58  # 10 % of 400 plus three standard deviations


def test_direct_test_is_quiet_where_donors_tell_all() -> None:
    world, rng = build("tenth"), np.random.default_rng(2)
    small = 0
    for _ in range(200):
        d = draw(world, np.array([200] + [40] * 9), rng)
        p_value = direct_test(read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N))
        assert p_value is not None
        small += p_value < 0.05
    assert small <= 24  # 5 % of 200 plus 4.6 standard deviations
    none = read_sample(np.full((10, 2), np.nan), np.zeros(10, bool), np.arange(10) % 2)
    assert direct_test(none) is None


def test_growth_curve_climbs_when_the_answer_spans_are_added() -> None:
    """Prefix spans alone miss the accidental road in the median; each subset stays unbiased in the mean."""
    world, rng = build("accidental"), np.random.default_rng(3)
    prefix, answer = [1, 2, 3], [4, 5, 6, 7, 8, 9]
    curves = []
    for _ in range(60):
        d = draw(world, np.array([60] + [30] * 9), rng)
        curve = growth_curve(d.log_ratio_NS, d.is_exploit_N, d.span_N, [prefix, answer])
        curves.append([0.0 if e.log10_p is None else 10**e.log10_p / world.p for e in curve])
        assert curve[1].n == 330
        assert curve[0].n == 150
    median = np.median(curves, axis=0)
    assert median[0] < 0.5
    assert 0.7 < median[1] < 1.3
    with pytest.raises(InputError, match="at most once"):
        growth_curve(d.log_ratio_NS, d.is_exploit_N, d.span_N, [[1], [1]])
    with pytest.raises(InputError, match="at most once"):
        growth_curve(d.log_ratio_NS, d.is_exploit_N, d.span_N, [[0]])


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Diagnostics(ess=3, max_share=0.1, khat=None, direct_p_value=None, n_uncovered=2), "effective sample size"),
        (
            Diagnostics(ess=30, max_share=0.5, khat=None, direct_p_value=None, n_uncovered=2),
            "one completion carries 50%",
        ),
        (Diagnostics(ess=30, max_share=0.2, khat=1.1, direct_p_value=None, n_uncovered=2), "tail index"),
        (Diagnostics(ess=30, max_share=0.2, khat=0.1, direct_p_value=1e-3, n_uncovered=2), "brute force hits"),
        (Diagnostics(ess=30, max_share=0.2, khat=0.1, direct_p_value=1e-3, n_uncovered=8), "resolved by counting"),
        (Diagnostics(ess=30, max_share=0.1, khat=1.1, direct_p_value=0.5, n_uncovered=2), "resolved given coverage"),
    ],
)
def test_verdict_names_what_fails(found: Diagnostics, word: str) -> None:
    resolved, reason = judge(found)
    assert word in reason
    assert resolved == word.startswith("resolved")
