"""The control variate at high rates: unbiased, narrower, covers; and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from forewarn.errors import InputError
from forewarn.estimation import control_variate_estimate, mixture_estimate
from forewarn.worlds import build
from forewarn.worlds.draw import draw


def test_at_a_high_rate_it_is_unbiased_and_narrower() -> None:
    world, rng = build("half"), np.random.default_rng(0)
    count_S = np.array([40] + [18] * 9)
    plain, better, inside = [], [], 0
    for _ in range(150):
        d = draw(world, count_S, rng)
        ratio = world.kinds[0].log_ratio_YS[d.leaf_N]  # every row is scored
        value, (low, high) = control_variate_estimate(ratio, d.is_exploit_N, d.span_N)
        e = mixture_estimate(ratio, d.is_exploit_N, d.span_N)
        plain.append(10 ** (e.log10_p or 0.0))
        better.append(value)
        inside += low <= world.p <= high
    assert abs(np.mean(better) - world.p) < 4 * np.std(better) / np.sqrt(150)
    assert np.std(better) < 0.95 * np.std(plain)
    assert inside >= binom.isf(1 - 1e-3, 150, 0.88)


def test_donor_that_is_the_subject_leaves_the_brute_force_rate() -> None:
    rng = np.random.default_rng(1)
    hit, span = rng.random(400) < 0.7, np.arange(400) % 4
    value, (low, high) = control_variate_estimate(np.zeros((400, 4)), hit, span)
    assert value == pytest.approx(hit.mean(), rel=1e-9)
    assert low < value < high


def test_refusals() -> None:
    hit = np.array([True, False] * 4)
    with pytest.raises(InputError, match="cell of 2"):
        control_variate_estimate(np.zeros((8, 4)), hit, np.arange(8) % 4)
    ratio = np.zeros((8, 2))
    ratio[1, 1] = np.nan  # not a hit, but the control variate reads it
    with pytest.raises(InputError, match=r"log_ratio_NS\[1, 1\] is NaN"):
        control_variate_estimate(ratio, hit, np.arange(8) % 2)
