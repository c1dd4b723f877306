"""Certified bounds: against exact binomials, against enumeration, and on laws made to break them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from forewarn.errors import InputError
from forewarn.estimation import certified_lower, certified_upper, clopper_pearson, jeffreys


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (7, 40), (40, 40)])
def test_clopper_pearson_agrees_with_scipy(hits: int, n: int) -> None:
    reference = binomtest(hits, n).proportion_ci(0.9, method="exact")
    assert clopper_pearson(hits, n, level=0.9) == pytest.approx((reference.low, reference.high), abs=1e-12)
    low, high = jeffreys(hits, n, level=0.9)
    assert reference.low <= low <= hits / n <= high <= reference.high


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.4, 0.95])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_lower_bound_holds_for_binomials_by_enumeration(rate: float, level: float) -> None:
    n = 60
    failure = sum(
        float(binom.pmf(h, n, rate))
        for h in range(1, n + 1)
        if certified_lower(np.ones(h), n, level=level) * h / n > rate
    )
    assert failure <= 1 - level


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_lower_bound_holds_on_unequal_strata_and_skewed_weights(level: float) -> None:
    """Half of the units never hit, a tenth hit often with small weights, the rest rarely with large ones."""
    rng, n, fails, values = np.random.default_rng(0), 200, 0, []
    chance = np.where(np.arange(n) < 100, 0.0, np.where(np.arange(n) < 120, 0.8, 0.2))
    scale = np.where(np.arange(n) < 120, 0.1, 1.0)
    truth = float((chance * scale).mean())  # exponential marks of mean 1
    for _ in range(400):
        x = (rng.random(n) < chance) * scale * rng.exponential(size=n)
        bound = certified_lower(x, n, level=level) * x.sum() / n
        values.append(bound / truth)
        fails += bound > truth
    assert fails <= binom.isf(1e-4, 400, 1 - level)
    assert np.median(values) > 0.2  # and it says something


def test_lower_bound_grows_with_evidence_and_is_zero_without() -> None:
    assert certified_lower([], 100) == 0.0
    few, many = certified_lower(np.ones(5), 100), certified_lower(np.ones(50), 1000)
    assert 0 < few < many < 1
    assert certified_lower(np.ones(50), 1000, level=0.999) < many
    assert certified_lower(1e-300 * np.ones(50), 1000) == pytest.approx(many)


def test_upper_bound_is_clopper_pearson_on_equal_units() -> None:
    size = np.full(50, 1 / 50)
    for hits in (0, 3, 50):
        value = np.where(np.arange(50) < hits, size, 0)
        one_sided = binomtest(hits, 50, alternative="less").proportion_ci(0.95, method="exact").high
        assert certified_upper(value, size, level=0.95) == pytest.approx(one_sided)


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_upper_bound_holds_with_unequal_units(level: float) -> None:
    """Problems with 2, 5 and 40 own completions: the weights of their completions differ twentyfold."""
    rng, count = np.random.default_rng(1), np.array([2, 5, 40])
    rate = np.array([0.3, 0.02, 0.001])
    size, chance = np.repeat(1 / (3 * count), count), np.repeat(rate, count)
    fails = sum(
        certified_upper(np.where(rng.random(47) < chance, size, 0), size, level=level) < rate.mean()
        for _ in range(1000)
    )
    assert fails <= binom.isf(1e-4, 1000, 1 - level)
    assert certified_upper(np.zeros(47), size, level=level) < (0.5 if level == 0.9 else 0.9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clopper_pearson(3, 2), "hits is 3"),
        (lambda: jeffreys(0, 0), "n is 0"),
        (lambda: clopper_pearson(0, 2, level=1.0), "level is 1.0"),
        (lambda: certified_lower(np.ones(5), 4), "n_unit is 4"),
        (lambda: certified_upper(np.ones(2), np.ones(3)), "value_U has shape"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert message in str(caught.value)
