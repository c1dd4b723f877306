"""Forecasts: ranking within one run, honesty without hits, determinism."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.prediction import auc, forecast
from forewarn.prediction.emergence import GROWTH_MEAN, GROWTH_SD, NO_HIT_SCORE, PATH_SD, expected_rate
from forewarn.records import Estimate, Forecast

STEPS = [1, 4, 15]


def cell(p: float | None, *, ess: float = 30.0, n_own: int = 100, resolved: bool = True) -> Estimate:
    n = 5 * n_own
    base = mixture_estimate(np.full((n, 5), np.nan), np.zeros(n, bool), np.arange(n) % 5)
    if p is None:
        return base
    return replace(
        base, log10_p=math.log10(p), ess=ess, n_hits=int(ess), lower_bound=p / 3, upper_bound=min(1.0, p + 0.05),
        resolved=resolved,
    )  # fmt: skip


def run(rates: list[float | None], seed: int = 0, **kwargs: object) -> Forecast:
    return forecast(
        "run",
        "type",
        STEPS,
        [cell(p, **kwargs) for p in rates],
        horizon_step=250,
        rng=np.random.default_rng(seed),  # type: ignore[arg-type]
    )


def test_level_and_growth_both_count() -> None:
    low_flat, low_growing = run([1e-6] * 3), run([1e-6, 1e-5, 1e-4])
    mid_flat, mid_growing = run([1e-3] * 3), run([1e-3, 2.5e-3, 8e-3])
    high, falling = run([0.02, 0.05, 0.2]), run([1e-3, 1e-4, 1e-5])
    order = [low_flat, low_growing, mid_growing, high]
    assert [f.score for f in order] == sorted(f.score for f in order)
    assert falling.score < mid_flat.score < mid_growing.score
    assert high.probability is not None
    assert high.probability > 0.9
    assert low_flat.probability is not None
    assert low_flat.probability < 0.05
    assert mid_growing.probability is not None
    assert 0.2 < mid_growing.probability < 0.95
    assert low_flat.step_median is None


def test_no_hits_share_the_lowest_score_whatever_the_sample_size() -> None:
    few, many = run([None] * 3, n_own=20), run([None] * 3, n_own=5000)
    assert few.score == many.score == NO_HIT_SCORE
    assert few.probability is not None
    assert many.probability is not None
    assert many.probability < few.probability < 0.3
    assert run([1e-9] * 3).score > NO_HIT_SCORE


def test_an_unresolved_cell_weighs_less() -> None:
    sure, unsure = run([1e-6] * 3), run([1e-6] * 3, resolved=False)
    assert sure.probability is not None
    assert unsure.probability is not None
    assert unsure.probability > sure.probability


def test_reproducible_and_score_takes_no_random_number() -> None:
    a, b, c = run([1e-3, 2e-3, 8e-3], 1), run([1e-3, 2e-3, 8e-3], 1), run([1e-3, 2e-3, 8e-3], 2)
    assert a == b
    assert a.score == c.score
    assert a.probability is not None
    assert c.probability == pytest.approx(a.probability, abs=0.05)
    assert a.steps_used == tuple(STEPS)


def test_forecasts_on_the_model_s_own_runs_are_calibrated_and_rank() -> None:
    """Runs drawn from the stated priors: forecast probabilities must match frequencies, and rank."""
    rng, probs, scores, happened = np.random.default_rng(3), [], [], []
    for i in range(100):
        start, growth = rng.uniform(-12, -2), GROWTH_MEAN + GROWTH_SD * rng.standard_normal()
        u = np.log(np.array([*STEPS, *np.geomspace(15, 250, 40)])) / math.log(250)
        noise = PATH_SD * np.concatenate([[0], np.cumsum(rng.standard_normal(len(u) - 1) * np.sqrt(np.diff(u)))])
        path = start + growth * u + noise
        f = run([float(expit(v)) for v in path[:3]], i)
        assert f.probability is not None
        probs.append(f.probability)
        scores.append(f.score)
        happened.append(bool((path[3:] > logit(0.1)).any()))
    assert auc(scores, np.array(happened), rng=rng).auc > 0.85
    spread = math.sqrt(sum(p * (1 - p) for p in probs))
    assert abs(sum(probs) - sum(happened)) < 4 * spread + 5  # the clocks it averages over are not the log clock alone


def test_expected_rate_is_a_rate() -> None:
    assert 0 < expected_rate(STEPS, [cell(1e-3)] * 3, horizon_step=250) < 1


def test_bad_input() -> None:
    with pytest.raises(InputError, match="horizon_step is 15"):
        forecast("r", "t", STEPS, [cell(1e-3)] * 3, horizon_step=15, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match=r"threshold is 1\.5"):
        forecast("r", "t", STEPS, [cell(1e-3)] * 3, threshold=1.5, horizon_step=99, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="at least two"):
        forecast("r", "t", [1], [cell(1e-3)], horizon_step=99, rng=np.random.default_rng(0))
