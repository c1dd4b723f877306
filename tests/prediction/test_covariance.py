"""Joint covariance over shared traces against simulation, and the GLS slope."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.estimation.sample import Sample, read_sample
from forewarn.prediction import fit_trend, gls_trend, joint_covariance
from forewarn.worlds.catalogue import Habits, simple
from forewarn.worlds.draw import Draws, draw_units
from forewarn.worlds.world import World

HABITS = Habits(intent=1e-3, slip=3e-3)


@pytest.fixture(scope="module")
def worlds() -> tuple[World, ...]:
    return tuple(simple(f"c{s}", replace(HABITS, intent=HABITS.intent * s)) for s in (1.0, 3.0, 10.0))


def read(d: Draws) -> Sample:
    return read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N, cluster_N=d.cluster_N)


def shared_draws(rng: np.random.Generator, n_trace: int, n_own: int) -> tuple[Draws, ...]:
    """Traces whose own weight is shared by three checkpoints and whose outcome is partly so; own completions apart."""
    effect, luck = rng.normal(0, 0.7, n_trace), rng.random(n_trace)
    out = []
    for c in range(3):
        hit = np.concatenate(
            [np.zeros(n_own, bool), np.where(rng.random(n_trace) < 0.7, luck, rng.random(n_trace)) < 0.4]
        )
        ratio = np.zeros((n_own + n_trace, 2))
        ratio[n_own:, 1] = 8.0 - c - effect
        span = np.repeat([0, 1], [n_own, n_trace])
        ids = np.concatenate([1000 + 1000 * c + np.arange(n_own), np.arange(n_trace)])
        no = np.zeros_like(hit)
        out.append(Draws(ratio, hit, span, np.zeros_like(span), ids, span, span, no, no))
    return tuple(out)


def test_covariance_matches_simulation() -> None:
    rng, logs, predicted = np.random.default_rng(0), [], []
    for _ in range(400):
        draws = shared_draws(rng, 100, 40)
        joint = joint_covariance([read(d) for d in draws], [d.cluster_N for d in draws])
        logs.append(joint.log_p_J)
        predicted.append(joint.covariance_JJ)
    seen, mean = np.cov(np.array(logs).T), np.mean(predicted, axis=0)
    assert np.diag(mean) == pytest.approx(np.diag(seen), rel=0.2)
    correlation = seen[0, 2] / math.sqrt(seen[0, 0] * seen[2, 2])
    expected = mean[0, 2] / math.sqrt(mean[0, 0] * mean[2, 2])
    assert correlation > 0.4  # the shared traces matter
    assert expected == pytest.approx(correlation, abs=0.1)


def test_gls_equals_weighted_least_squares_without_sharing_and_narrows_with_it() -> None:
    rng, steps = np.random.default_rng(1), [1, 5, 25]
    draws = shared_draws(rng, 120, 40)
    samples = [read(d) for d in draws]
    estimates = [mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, cluster_N=d.cluster_N) for d in draws]
    shared = joint_covariance(samples, [d.cluster_N for d in draws])
    own = joint_covariance(samples, [d.cluster_N + 100_000 * i for i, d in enumerate(draws)])
    assert own.covariance_JJ == pytest.approx(np.diag(np.diag(own.covariance_JJ)))
    x = np.log(steps)
    w = 1 / np.diag(own.covariance_JJ)
    x0 = x - (w * x).sum() / w.sum()
    plain = float((w * x0 * own.log_p_J).sum() / (w * x0**2).sum())
    trend = gls_trend(steps, estimates, own)
    assert trend.slope == pytest.approx(plain, abs=1e-4)
    assert trend.slope_interval is not None
    # Student's t, degrees of freedom by Satterthwaite from the three cells' own
    part = (w * x0) ** 2 / w
    degrees = part.sum() ** 2 / (part**2 / (w - 1)).sum()
    assert w.min() - 1 < degrees < w.sum()
    quantile = float(student.isf(0.05, degrees))
    assert 1.6449 < quantile < 1.75
    half = quantile / math.sqrt(float((w * x0**2).sum()))
    assert trend.slope_interval == pytest.approx((plain - half, plain + half), abs=1e-3)
    joint = gls_trend(steps, estimates, shared)
    assert joint.slope_interval is not None
    assert joint.slope_interval[1] - joint.slope_interval[0] < trend.slope_interval[1] - trend.slope_interval[0]
    independent = fit_trend(steps, estimates)
    assert independent.slope == pytest.approx(plain, abs=0.15)


def test_a_zero_cell_enters_by_likelihood(worlds: tuple[World, ...]) -> None:
    rng, steps = np.random.default_rng(2), [1, 5, 25]
    draws = list(draw_units(worlds, 80, 80, rng, answer_only=40))
    draws[0] = replace(draws[0], is_exploit_N=np.zeros(len(draws[0].span_N), bool))
    estimates = [mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, cluster_N=d.cluster_N) for d in draws]
    joint = joint_covariance([read(d) for d in draws], [d.cluster_N for d in draws])
    assert joint.hit_C == (False, True, True)
    trend = gls_trend(steps, estimates, joint)
    assert trend.n_zero_cells == 1
    pair = gls_trend(
        steps[1:], estimates[1:], joint_covariance([read(d) for d in draws[1:]], [d.cluster_N for d in draws[1:]])
    )
    assert trend.slope == pytest.approx(pair.slope, abs=0.02)  # 80 own completions say nothing about 1e-4
    sharp = [replace(estimates[0], upper_bound=1e-5), *estimates[1:]]
    steeper = gls_trend(steps, sharp, joint)
    assert steeper.slope is not None
    assert trend.slope is not None
    assert steeper.slope > trend.slope + 0.05
    nothing = replace(
        joint, hit_C=(False, False, True), log_p_J=joint.log_p_J[1:], covariance_JJ=joint.covariance_JJ[1:, 1:]
    )
    assert gls_trend(steps, estimates, nothing).slope is None


def test_bad_input(worlds: tuple[World, ...]) -> None:
    draws = draw_units(worlds, 20, 20, np.random.default_rng(3), answer_only=10)
    samples = [read(d) for d in draws]
    with pytest.raises(InputError, match="trace_ids has 1 checkpoints"):
        joint_covariance(samples, [draws[0].cluster_N])
    with pytest.raises(InputError, match=r"trace_ids\[0\] has shape"):
        joint_covariance(samples[:1], [draws[0].cluster_N[:-1]])
