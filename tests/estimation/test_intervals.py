"""Coverage of the interval on exact worlds, and with the donor trace as unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from forewarn.estimation import mixture_estimate
from forewarn.estimation.intervals import Units, gamma_interval
from forewarn.worlds import build
from forewarn.worlds.catalogue import Habits, simple
from forewarn.worlds.draw import draw, planned_counts
from forewarn.worlds.world import checks


@pytest.mark.parametrize("name", ["accidental", "both_roads", "extreme_ratios", "thirty_problems"])
def test_coverage_where_resolved(name: str) -> None:
    world, rng = build(name), np.random.default_rng(0)
    count_S = planned_counts(world, 1000)
    assert count_S is not None
    covers, resolved, widths = 0, 0, []
    for _ in range(200):
        d = draw(world, count_S, rng)
        e = mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, problem_N=d.problem_N)
        if e.resolved:
            assert e.interval_log10 is not None
            resolved += 1
            covers += e.interval_log10[0] <= math.log10(world.p) <= e.interval_log10[1]
            widths.append(e.interval_log10[1] - e.interval_log10[0])
    assert resolved >= 160
    assert covers >= binom.ppf(1e-3, resolved, 0.88)
    assert np.median(widths) < 0.6


def test_coverage_needs_the_trace_as_unit() -> None:
    """Eight completions cut from each trace and deciding alike: treated as independent, the interval is too narrow."""
    rng, good, naive, truth = np.random.default_rng(1), 0, 0, 0.3
    for _ in range(200):
        trace_hit = rng.random(40) < truth
        trace = np.repeat(np.arange(40), 8)
        span = np.concatenate([np.zeros(40, int), np.tile(np.arange(1, 9), 40)])
        hit = np.concatenate([rng.random(40) < 1e-3, trace_hit[trace]])
        ratio = np.zeros((360, 9))
        ratio[:, 1:] = math.log(truth / 1e-3)
        ids = np.concatenate([1000 + np.arange(40), trace])
        for cluster, kind in ((ids, "good"), (None, "naive")):
            e = mixture_estimate(ratio, hit, span, cluster_N=cluster)
            if e.interval_log10 is None:
                continue
            inside = e.interval_log10[0] <= -3 <= e.interval_log10[1]
            good += inside and kind == "good"
            naive += inside and kind == "naive"
    assert good >= binom.ppf(1e-3, 200, 0.88)
    assert naive < 130


def test_gamma_interval_is_garwood_s_for_equal_weights() -> None:
    """Without strata and with equal weights it is the exact Poisson interval."""
    for hits in (1, 4, 50):
        low, high = gamma_interval(Units(np.full(hits, 1 / hits), 1 / hits), level=0.9)
        assert low * hits == pytest.approx(chi2.ppf(0.05, 2 * hits) / 2)
        assert high * hits == pytest.approx(chi2.ppf(0.95, 2 * hits + 2) / 2)


def test_an_estimate_of_one_is_not_certain() -> None:
    e = mixture_estimate(np.zeros((30, 3)), np.ones(30, bool), np.arange(30) % 3)
    assert e.interval_log10 is not None
    assert e.interval_log10[0] < math.log10(0.97)
    assert e.interval_log10[1] == 0.0


@given(
    st.floats(0, 0.9), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 0.6), st.floats(0, 0.79),
    st.floats(0.05, 0.9), st.sampled_from([1.0, 0.95, 0.5]), st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_world_is_a_family_of_laws(
    intent: float, turn: float, look: float, slip: float, hack: float, stop: float, top_p: float, two: bool
) -> None:
    """Whatever the habits: every q_S sums to 1 and equals p exp(D_S)."""
    subject = Habits(intent=intent, turn=turn, look=look, slip=slip, hack=hack, stop=stop, top_p=top_p)
    found = checks(simple("any", subject, limit=5, two_token_closer=two))
    assert found["sum"] < 1e-12
    assert found["identity"] < 1e-12
