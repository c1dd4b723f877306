"""Slopes of ln p on ln step: exact cases, zero cells, certified range, bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.prediction import fit_trend
from forewarn.records import Estimate


def cell(p: float | None, ess: float = 30.0, n_own: int = 100, lower: float = 0.0) -> Estimate:
    """An estimate of rate ``p`` with ``ess`` effective hits; None: a cell without hits."""
    n = 5 * n_own
    base = mixture_estimate(np.full((n, 5), np.nan), np.zeros(n, bool), np.arange(n) % 5)
    if p is None:
        return base
    return replace(base, log10_p=math.log10(p), ess=ess, n_hits=int(ess), lower_bound=lower, upper_bound=1.0)


def test_recovers_an_exact_power_law() -> None:
    steps = [1, 4, 15, 60]
    trend = fit_trend(steps, [cell(1e-5 * s**0.8) for s in steps])
    assert trend.slope == pytest.approx(0.8, abs=1e-4)
    assert trend.slope_interval is not None
    low, high = trend.slope_interval
    assert low < 0.8 < high
    assert trend.n_zero_cells == 0
    more = fit_trend(steps, [cell(1e-5 * s**0.8, ess=300) for s in steps]).slope_interval
    assert more is not None
    assert more[1] - more[0] < 0.4 * (high - low)


def test_matches_poisson_regression_by_brute_search() -> None:
    steps, estimates = [2, 9, 40], [cell(1e-3, ess=7), cell(5e-3, ess=12), cell(4e-3, ess=20)]
    x = np.log(steps)
    count, exposure = np.array([7, 12, 20.0]), np.array([7 / 1e-3, 12 / 5e-3, 20 / 4e-3])
    slopes, best = np.linspace(-1, 2, 3001), []
    for b in slopes:
        a = math.log(count.sum() / (exposure * np.exp(b * x)).sum())
        best.append(float((count * (a + b * x) - exposure * np.exp(a + b * x)).sum()))
    found = fit_trend(steps, estimates).slope
    assert found == pytest.approx(slopes[int(np.argmax(best))], abs=1e-3)


def test_zero_cells_pull_by_likelihood_only() -> None:
    """A zero cell of few own completions says nothing against 1e-4; one of many bends the slope upward."""
    hits = [cell(1e-2, ess=20), cell(1e-2, ess=20)]
    vague = fit_trend([1, 10, 100], [cell(None, n_own=3), *hits])
    sharp = fit_trend([1, 10, 100], [cell(None, n_own=3000), *hits])
    assert vague.slope == pytest.approx(0.0, abs=0.02)
    assert sharp.slope is not None
    assert sharp.slope > 0.3
    assert (vague.n_zero_cells, sharp.n_zero_cells) == (1, 1)


def test_without_hits_there_is_no_slope_and_one_sided_where_the_data_are() -> None:
    nothing = fit_trend([1, 10], [cell(None), cell(None)])
    assert (nothing.slope, nothing.slope_interval, nothing.n_zero_cells) == (None, None, 2)
    last = fit_trend([1, 10], [cell(None, n_own=1000), cell(1e-2)])
    assert last.slope is None
    assert last.slope_interval is not None
    assert last.slope_interval[1] == math.inf
    assert last.slope_interval[0] > 0


def test_certified_slopes_pass_through_every_interval() -> None:
    a = replace(cell(1e-4), lower_bound=5e-5, upper_bound=1e-2)
    b = replace(cell(1e-3), lower_bound=5e-4, upper_bound=2e-2)
    found = fit_trend([1, 10], [a, b]).certified_slopes
    assert found == pytest.approx((math.log(5e-4 / 1e-2) / math.log(10), math.log(2e-2 / 5e-5) / math.log(10)))
    c = replace(cell(1e-5), lower_bound=1e-6, upper_bound=2e-5)
    assert fit_trend([1, 10, 100], [a, b, c]).certified_slopes is None  # no straight line
    open_ended = fit_trend([1, 10], [cell(None), cell(None)]).certified_slopes
    assert open_ended == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("steps", "n", "message"),
    [
        ([1], 1, "at least two"),
        ([1, 2], 3, "there are 3 estimates"),
        ([0, 2], 2, "steps contains 0"),
        ([4, 2], 2, "increasing"),
    ],
)
def test_bad_input(steps: list[int], n: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_trend(steps, [cell(1e-3)] * n)
    with pytest.raises(InputError, match="level is 2"):
        fit_trend([1, 2], [cell(1e-3)] * 2, level=2)
