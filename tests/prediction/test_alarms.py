"""E-values keep their guarantee on null worlds, and have power; e-LOND and spending."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from forewarn.errors import InputError
from forewarn.estimation.sample import Sample, read_sample
from forewarn.prediction import (
    elond,
    exceeds_alert,
    first_crossing,
    growth_alert,
    log_e_exceeds,
    log_e_growth,
    spending,
)
from forewarn.worlds import build
from forewarn.worlds.catalogue import Habits, simple
from forewarn.worlds.draw import Draws, draw, draw_units

COUNT = np.array([60] + [24] * 9)


def read(d: Draws, **kwargs: object) -> Sample:
    return read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N, **kwargs)  # type: ignore[arg-type]


def test_e_value_has_mean_at_most_one_under_the_null_by_enumeration() -> None:
    """Donor = subject: the e-value is a function of a binomial count alone."""
    n, u = 50, 0.1
    values = []
    for h in range(n + 1):
        sample = read_sample(np.zeros((n, 1)), np.arange(n) < h, np.zeros(n, int))
        values.append(math.exp(log_e_exceeds(sample, u)))
    mean = float((binom.pmf(np.arange(n + 1), n, u) * values).sum())
    assert mean == pytest.approx(1.0, abs=1e-9)  # the edge of the null: exactly 1
    assert float((binom.pmf(np.arange(n + 1), n, 0.05) * values).sum()) < 1
    assert values[30] > 100


@pytest.mark.parametrize("name", ["both_roads", "accidental", "thirty_problems"])
def test_no_more_false_alarms_than_promised_and_power_at_five_times(name: str) -> None:
    world, rng = build(name), np.random.default_rng(0)
    count = COUNT if world.n_problem == 1 else np.full(10, 2)
    false, true = 0, 0
    for _ in range(200):
        sample = read(d := draw(world, count, rng), problem_N=None)
        if world.n_problem > 1:
            sample = read(d, problem_N=d.problem_N)
        false += log_e_exceeds(sample, world.p) >= math.log(20)
        true += log_e_exceeds(sample, world.p / 5) >= math.log(20)
    assert false <= binom.isf(1e-4, 200, 0.05)
    assert true >= 100


def test_growth_alarm_is_quiet_without_growth_and_sees_thirtyfold() -> None:
    habits = Habits(intent=1e-4, slip=3e-3)
    first = simple("first", habits)
    tenfold, more = simple("t", replace(habits, intent=8e-4)), simple("m", replace(habits, intent=4e-3))
    assert tenfold.p < 10 * first.p
    assert more.p > 30 * first.p
    rng, quiet, loud = np.random.default_rng(1), 0, 0
    tau = 1e-3  # a weight fixed beforehand, above what hits of such a rate weigh
    for _ in range(100):
        a = read(draw(first, COUNT * 4, rng))
        quiet += log_e_growth(read(draw(tenfold, COUNT * 4, rng)), a, tau=tau) >= math.log(20)
        loud += log_e_growth(read(draw(more, COUNT * 4, rng)), a, tau=tau) >= math.log(20)
    kind = first.kinds[0]
    e = kind.is_exploit_Y
    w = np.exp(kind.log_weight_Y(COUNT / COUNT.sum())[e])
    truncated = float((np.exp(kind.log_p_Y[e]) * np.minimum(w, tau) / w).sum())
    assert tenfold.p <= 10 * truncated  # the null as it is promised: about p_1^tau, not p_1
    assert quiet <= binom.isf(1e-4, 100, 0.05)
    assert loud >= 80


def test_growth_with_shared_traces_pairs_them() -> None:
    habits = Habits(intent=1e-3, slip=3e-3)
    worlds = (simple("a", habits), simple("b", habits))
    rng, false = np.random.default_rng(2), 0
    for _ in range(100):
        a, b = draw_units(worlds, 60, 60, rng, answer_only=30)
        first, now = (read(d, cluster_N=d.cluster_N) for d in (a, b))
        log_e = log_e_growth(now, first, tau=0.01, trace_now=b.cluster_N, trace_first=a.cluster_N)
        false += log_e >= math.log(10)
    assert false <= 3
    with pytest.raises(InputError, match="give both"):
        log_e_growth(now, first, tau=1.0, trace_now=b.cluster_N)
    with pytest.raises(InputError, match="trace_now has shape"):
        log_e_growth(now, first, tau=1.0, trace_now=b.cluster_N[:3], trace_first=a.cluster_N)


def test_elond_by_hand() -> None:
    # alpha 0.1, gamma 1/2, 1/6, 1/12: thresholds 20, 60, then with one discovery 120 / 2
    assert elond(np.log([19, 61, 61]).tolist(), alpha=0.1) == (False, True, True)
    assert elond(np.log([21, 29, 61]).tolist(), alpha=0.1) == (True, False, True)
    assert elond(np.log([21, 31, 39]).tolist(), alpha=0.1) == (True, True, False)
    assert elond(np.log([29, 31, 16]).tolist(), alpha=0.1, n_planned=3) == (False, True, True)
    assert elond([], alpha=0.1) == ()
    with pytest.raises(InputError, match="n_planned is 1"):
        elond([0.0, 0.0], alpha=0.1, n_planned=1)


def test_spending_and_ville() -> None:
    assert spending(0.1, 4).sum() == pytest.approx(0.1)
    assert first_crossing(np.log([2.0, 3.0, 4.0]).tolist(), 0.1) == 2
    assert first_crossing(np.log([0.5, 3.0]).tolist(), 0.1) is None
    rng, n, crossed = np.random.default_rng(3), 20, 0
    values = [
        log_e_exceeds(read_sample(np.zeros((n, 1)), np.arange(n) < h, np.zeros(n, int)), 0.2) for h in range(n + 1)
    ]
    for _ in range(1000):
        crossed += first_crossing([values[h] for h in rng.binomial(n, 0.2, 12)], 0.1) is not None
    assert crossed <= binom.isf(1e-4, 1000, 0.1)
    for bad in (lambda: spending(0.0, 3), lambda: first_crossing([0.0], 1.0), lambda: elond([0.0], alpha=2)):
        with pytest.raises(InputError, match="alpha is"):
            bad()


def test_alerts_carry_what_they_test() -> None:
    world, rng = build("both_roads"), np.random.default_rng(4)
    sample = read(draw(world, COUNT * 4, rng))
    alert = exceeds_alert("run", "type", 15, sample, u=world.p / 10, alpha=0.05)
    assert alert is not None
    assert (alert.kind, alert.step, alert.exploit_type) == ("exceeds", 15, "type")
    assert alert.e_value is not None
    assert alert.e_value >= 20
    assert exceeds_alert("run", "type", 15, sample, u=0.5, alpha=0.05) is None
    grown = read(draw(simple("g", Habits(intent=0.05, slip=0.015)), COUNT * 4, rng))
    growth = growth_alert("run", "type", 15, grown, sample, tau=0.01, alpha=0.05)
    assert growth is not None
    assert "10 times what our spans saw at checkpoint 1" in growth.message
    assert growth_alert("run", "type", 15, sample, sample, tau=0.01, alpha=0.05) is None
    with pytest.raises(InputError, match="u is 0"):
        log_e_exceeds(sample, 0)
    with pytest.raises(InputError, match="tau is 0"):
        log_e_growth(sample, sample, tau=0)
