"""Every score against a value worked out by hand, by enumeration, by numerical integration or by simulation."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.scores import proper
from forewarn.bench.scores.alarms import alarms, threshold_of, thresholds
from forewarn.bench.scores.concordance import area, c3_values, mean_of, near_area
from forewarn.bench.scores.jackknife import jackknife
from forewarn.errors import InputError

PLAIN = Pair(
    "t0-V1", "t0", "V1", "test", "x", "follower", "checker", "paid", -5.0, None, True, None, None, 1e-5, False, 17.0,
    None,
)  # fmt: skip


def pair(run: str = "t0-V1", **changed: object) -> Pair:
    return replace(PLAIN, run=run, **changed)  # type: ignore[arg-type]


def positive(v1: float, **changed: object) -> Pair:
    return pair(crossing=200.0, v1=v1, highest=0.5, **changed)  # type: ignore[arg-type]


def test_c3_of_a_small_table_by_enumeration() -> None:
    pairs = [
        positive(6.5),  # landmarks 2 and 3
        positive(4.9),  # none: 4.9 < 2 + 3
        pair(),
        pair(v1=2.5),  # blind at landmark 2 alone
        pair(status="unpaid"),
        pair(run="t0-V2"),
        pair(between=True),
        pair(why_not="start level not measured"),
        positive(12.0, run="t0-V2", status="late"),  # no comparable negative
        positive(9.0, run="t0-V2"),  # landmarks 2 to 6
    ]
    score = np.zeros((10, 8))
    score[0, 1:3] = 1.0, 2.0
    score[2, 1:3] = 0.0, 3.0
    score[3, 1:3] = 1.0, -9.0
    score[5] = 5.0
    score[9] = [0, 9, 5, 1, 1, 1, 9, 9]
    value = c3_values(pairs, score, landmarks=[2, 3, 4, 5, 6, 7, 8], lead=3)
    # landmark 2: above one rival, tied with the other; landmark 3: below the only one left
    assert value[0] == pytest.approx((0.75 + 0.0) / 2)
    assert value[9] == pytest.approx((1 + 0.5 + 0 + 0 + 0) / 5)
    assert np.isnan(value[[1, 2, 3, 4, 5, 6, 7, 8]]).all()
    assert mean_of(value, np.ones(10, bool)) == pytest.approx((0.375 + 0.3) / 2)
    assert mean_of(value, np.array([i == 3 for i in range(10)])) is None
    with_between = c3_values(pairs, score, landmarks=[2], lead=3, with_between=True)
    assert with_between[0] == pytest.approx((1 + 0.5 + 1) / 3)


def test_c3_near_the_start_level_takes_near_negatives_alone() -> None:
    pairs = [positive(9.0, start_log10=-4.0), pair(start_log10=-4.5), pair(start_log10=-4.6)]
    score = np.tile([[1.0], [0.0], [2.0]], (1, 8))
    assert c3_values(pairs, score, landmarks=[2], lead=3)[0] == 0.5
    assert c3_values(pairs, score, landmarks=[2], lead=3, near=0.5)[0] == 1.0
    assert np.isnan(c3_values(pairs, score, landmarks=[2], lead=3, near=0.1)[0])


def test_areas_by_enumeration() -> None:
    score = np.array([3.0, 1.0, 2.0, 1.0, 0.0])
    event = np.array([True, True, False, False, False])
    keep = np.ones(5, bool)
    assert area(score, event, keep) == pytest.approx((3 + 0.5 + 1) / 6)
    assert area(score, event, event) is None
    start = np.array([-5.0, -5.0, -5.4, -5.6, -4.5])
    assert near_area(score, event, start, keep, 0.5) == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert near_area(score, event, start, keep, 0.01) is None


def test_crps_is_the_integral() -> None:
    rng = np.random.default_rng(1)
    last = 30
    passed = np.sort(rng.random((4, last)), axis=1) * 0.9
    crossing = [7.3, 30.0, None, 1.0]

    def integral(F: np.ndarray, y: float) -> float:
        def at(x: float) -> float:
            step = min(int(math.exp(x) + 1e-12), last)
            return float(((F[step - 1] if step < last else 1.0) - (x >= math.log(y))) ** 2)

        breaks = [math.log(s) for s in range(1, last + 1)]
        if 1 < y < last:
            breaks = sorted({*breaks, math.log(y)})
        return sum(quad(at, a + 1e-13, b - 1e-13)[0] for a, b in itertools.pairwise(breaks))

    found = proper.crps_log(passed, crossing)
    for F, y, value in zip(passed, crossing, found, strict=True):
        assert value == pytest.approx(integral(F, last if y is None else y), abs=1e-6)


def test_a_sure_and_right_forecast_has_no_crps_and_a_wrong_one_the_distance() -> None:
    at = np.arange(1, 301)
    passed = np.array([(at >= 100).astype(float), np.zeros(300)])
    assert proper.crps_log(passed, [100.0, None]) == pytest.approx([0.0, 0.0], abs=1e-12)
    assert proper.crps_log(passed, [None, 100.0]) == pytest.approx([math.log(3)] * 2)


def test_the_pit_is_uniform_and_coverage_nominal_under_the_true_law() -> None:
    """Crossings are drawn from the forecast itself, with an atom of 40 % at "not by S"."""
    rng = np.random.default_rng(2)
    last, n = 50, 20_000
    passed = np.cumsum(rng.dirichlet(np.ones(last))) * 0.6
    steps = np.searchsorted(passed, rng.random(n)) + 1
    crossing = [None if s > last else float(s) - 0.3 for s in steps]  # within the step
    low, high = proper.pit_ends(np.tile(passed, (n, 1)), crossing)
    u = low + rng.random(n) * (high - low)
    share, _ = np.histogram(u, bins=10, range=(0, 1))
    assert share / n == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / n))
    inside = proper.covered(np.tile(passed, (n, 1)), crossing, 0.8)
    assert inside.mean() == pytest.approx(0.8, abs=0.015)
    assert inside.mean() == pytest.approx(((u > 0.1) & (u < 0.9)).mean(), abs=0.01)


def test_a_step_that_was_called_impossible_is_not_covered() -> None:
    passed = np.array([[0.0, 0.0, 1.0], [0.5, 0.5, 0.5]])
    assert proper.covered(passed, [1.0, 2.5], 0.8).tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match="is no distribution"):
        proper.crps_log(np.array([[0.5, 0.4]]), [None])


def test_brier_log_score_and_calibration_by_hand() -> None:
    said, event = np.array([0.1, 0.9, 0.5]), np.array([False, True, True])
    assert proper.brier_values(said, event) == pytest.approx([0.01, 0.01, 0.25])
    assert proper.log_values(said, event) == pytest.approx([-math.log(0.9), -math.log(0.9), math.log(2)])
    assert proper.calibration(said, event, 3) == [(0.1, 0, 1), (0.5, 1, 1), (0.9, 1, 1)]
    assert [n for _, _, n in proper.calibration(np.linspace(0, 1, 95), np.ones(95, bool))] == [10] * 5 + [9] * 5


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """On a plain scale, leaving out one of n equal clusters gives s / sqrt(n), with t of n - 1 degrees."""
    values, runs = np.array([1.0, 2.0, 4.0, 9.0]), list("abcd")
    found = jackknife(lambda keep: float(values[keep].mean()), runs, np.ones(4, bool), scale="plain", level=0.9)
    reach = 2.3533634348018264 * values.std(ddof=1) / 2
    assert (found.value, found.low, found.high) == pytest.approx((4.0, 4 - reach, 4 + reach))


def test_the_jackknife_covers_what_it_says() -> None:
    """24 runs whose rates differ, ten pairs each: the interval of the mean rate at 90 %."""
    rng = np.random.default_rng(3)
    runs = np.repeat([f"r{i}" for i in range(24)], 10).tolist()
    used, covered = np.ones(240, bool), 0
    for _ in range(300):
        value = (rng.random(240) < np.repeat(rng.beta(3, 1, 24), 10)).astype(float)
        found = jackknife(lambda keep, v=value: float(v[keep].mean()), runs, used, scale="logit", level=0.9)  # type: ignore[misc]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.75 <= found.high
    assert 0.85 <= covered / 300 <= 0.95


def test_no_figure_without_its_interval() -> None:
    value = np.array([1.0, 0.0, 1.0, 1.0])

    def mean(keep: np.ndarray) -> float | None:
        return float(value[keep].mean()) if keep.any() else None

    two = jackknife(mean, ["a", "a", "b", "c"], np.array([True, True, True, False]), scale="logit", level=0.9)
    assert (two.value, two.low, two.high, two.why_none) == (None, None, None, "2 runs of at least 3")
    undefined = jackknife(
        lambda keep: None if not keep[0] else 0.5, list("abcd"), np.ones(4, bool), scale="logit", level=0.9
    )
    assert undefined.value is None
    assert undefined.why_none == "not defined without one of the 4 runs"


def test_where_every_run_agrees_the_interval_is_that_of_as_many_trials() -> None:
    found = jackknife(lambda keep: 1.0, list("abcde"), np.ones(5, bool), scale="logit", level=0.9)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.05 ** (1 / 5))


def test_thresholds_are_set_without_the_run_that_is_asked_about() -> None:
    assert threshold_of(np.arange(100.0), 0.02) == 97.0  # 98 and 99 exceed it
    assert threshold_of(np.array([0.3, 0.2]), 0.02) == 0.3
    assert threshold_of(np.array([]), 0.02) == math.inf
    pairs = [
        pair("d0-V1", use="development"),
        pair("d0-V3", use="development"),
        positive(9.0, run="d0-V3", use="development"),
        pair("d0-V3", use="development", why_not="leader"),
        pair("t0-V1"),
    ]
    said = np.array([[0.1, 0.6], [0.2, 0.3], [0.9, 0.9], [1.0, 1.0], [0.9, 0.9]])
    assert thresholds(pairs, said, rate=0.02) == {"d0-V1": 0.3, "d0-V3": 0.6, "t0-V1": 0.6}


def test_an_alarm_is_the_first_and_leads_only_while_counting_is_blind() -> None:
    pairs = [positive(5.5), positive(1.5), pair()]
    said = np.array([[0.1, 0.9, 0.2, 0.9], [0.1, 0.9, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5]])
    first, late, none = alarms(pairs, said, {"t0-V1": 0.5})
    assert (first.checkpoint, first.before, first.lead) == (2, True, 3.5)
    assert (late.checkpoint, late.before, late.lead) == (2, False, None)
    assert none.checkpoint is None
