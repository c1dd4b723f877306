"""The tail index on draws of known shape, cross-checked against two libraries."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import genpareto

from forewarn.errors import InputError
from forewarn.estimation import pareto_khat
from forewarn.estimation.tails import fit_generalised_pareto


@pytest.mark.parametrize("shape", [-0.5, 0.1, 0.5, 0.9, 1.5])
def test_recovers_known_shapes(shape: float) -> None:
    draws = genpareto.rvs(shape, scale=3.0, size=4000, random_state=np.random.default_rng(0))
    k, scale = fit_generalised_pareto(draws)
    assert k == pytest.approx(shape, abs=0.06)
    assert scale == pytest.approx(3.0, rel=0.1)
    fitted, _, fitted_scale = genpareto.fit(draws, floc=0)
    assert k == pytest.approx(fitted, abs=0.05)
    assert scale == pytest.approx(fitted_scale, rel=0.05)


@pytest.mark.parametrize("shape", [0.2, 0.7, 1.2])
def test_agrees_with_arviz_on_the_same_values(shape: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from arviz_stats.base import array_stats
    draws = genpareto.rvs(shape, size=2000, random_state=np.random.default_rng(1)) + 0.5
    # its psislw wants negated log weights and does not say so
    _, reference = array_stats.psislw(-np.log(draws))
    ours = pareto_khat(draws)
    assert ours is not None
    assert ours == pytest.approx(float(reference), abs=0.03)
    _, wrong_way = array_stats.psislw(np.log(draws))
    assert abs(ours - float(wrong_way)) > 0.1


def test_scale_does_not_matter() -> None:
    draws = genpareto.rvs(0.5, size=300, random_state=np.random.default_rng(2))
    assert pareto_khat(draws * 1e-280) == pytest.approx(pareto_khat(draws))


def test_no_index_without_a_tail() -> None:
    assert pareto_khat(np.arange(1, 25.0)) is None
    assert pareto_khat(np.ones(1000)) is None
    assert pareto_khat(np.zeros(1000)) is None
    assert pareto_khat(np.arange(1, 200.0)) is not None


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least 5"):
        fit_generalised_pareto([1.0, 2.0])
    with pytest.raises(InputError, match="negative or not finite"):
        fit_generalised_pareto([1.0, 2.0, 3.0, 4.0, np.nan])
