"""Several checkpoints at once: covariance of the log estimates over shared donor traces, and the slope by GLS.

Donor reasoning traces can serve every checkpoint, so estimates at different checkpoints are correlated, and a slope
from them is more precise than one from independent estimates. Without shared traces ``trend.fit_trend`` is enough.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import stdtrit

from forewarn.errors import InputError
from forewarn.estimation.intervals import unit_totals
from forewarn.estimation.sample import Sample
from forewarn.prediction.trend import certified_slopes, check_steps, zero_cell_exposure
from forewarn.records import Estimate, Trend

Floats = NDArray[np.float64]

_MAX_SLOPE = 60.0


@dataclass(frozen=True, slots=True)
class JointEstimate:
    """ln estimates at the checkpoints with hits, and their covariance."""

    hit_C: tuple[bool, ...]
    """which of the given checkpoints had hits"""
    log_p_J: Floats
    """nats, of those checkpoints"""
    covariance_JJ: Floats


def joint_covariance(samples: Sequence[Sample], trace_ids: Sequence[ArrayLike]) -> JointEstimate:
    """Return the covariance of log p_hat across checkpoints, by the delta method on unit totals.

    ``trace_ids[c]``: for each completion of checkpoint c, the id of its donor trace. Equal ids at different
    checkpoints are one unit, with all its completions at all checkpoints. Strata are each checkpoint's own (problem,
    spans). This equals the expectation of a bootstrap of units within strata, without its noise. Raises InputError for
    lengths that don't match.
    """
    if len(samples) != len(trace_ids):
        raise InputError(f"trace_ids has {len(trace_ids)} checkpoints, but samples has {len(samples)}: give one each")
    log_p, totals, hit, heaviest = [], [], [], []
    for c, (sample, ids) in enumerate(zip(samples, trace_ids, strict=True)):
        trace = np.asarray(ids)
        if trace.shape != (sample.n,):
            raise InputError(f"trace_ids[{c}] has shape {trace.shape}: checkpoint {c} has {sample.n} completions")
        found = unit_totals(sample)
        hit.append(found is not None)
        if found is not None:
            log_p.append(found[1])
            totals.append(_centred(sample, trace, found[1]))
            heaviest.append(float(found[0].share_H[0]))
    covariance = np.array([[sum(a[k] * b[k] for k in a.keys() & b.keys()) for b in totals] for a in totals])
    # few hits don't show the spread of their weights. The estimate's interval allows on its upper side for one more of
    # the heaviest unit seen; here adding a quarter of its square brings measured coverage to the nominal one
    unseen = np.diag(0.25 * np.array(heaviest) ** 2)
    return JointEstimate(tuple(hit), np.array(log_p), covariance.reshape(len(totals), len(totals)) + unseen)


def _centred(sample: Sample, trace: NDArray[np.generic], log_p: float) -> dict[object, float]:
    """Return unit totals over the estimate, less their stratum's mean, by trace id; their products sum to
    (co)variances."""
    z = np.exp(sample.log_z_H - log_p)
    total = np.bincount(sample.unit_N[sample.hit_H], weights=z, minlength=sample.n_unit)
    size = np.bincount(sample.stratum_U)
    mean = np.bincount(sample.stratum_U, weights=total) / np.maximum(size, 1)
    n = size[sample.stratum_U]
    # a stratum of one unit does not show its spread, which its own square bounds
    value = np.where(n > 1, (total - mean[sample.stratum_U]) * np.sqrt(n / np.maximum(n - 1, 1)), total)
    first = np.unique(sample.unit_N, return_index=True)[1]
    return dict(zip(trace[first].tolist(), value.tolist(), strict=True))


def gls_trend(
    steps: Sequence[int], estimates: Sequence[Estimate], joint: JointEstimate, *, level: float = 0.9
) -> Trend:
    """Return the slope of ln p on ln step by generalised least squares; checkpoints without hits enter as exp(-n_0 p).

    The interval is that of the profile of -1/2 r' C^-1 r - sum n_0 exp(a + b x) (r: residuals of ln p_hat). Without
    hits at two checkpoints ``slope`` is None. Raises InputError. Source: method.md, "Across checkpoints".
    """
    x_C = check_steps(steps, estimates)
    if len(joint.hit_C) != len(steps):
        raise InputError(f"joint has {len(joint.hit_C)} checkpoints, but steps has {len(steps)}: give one step each")
    x_C = x_C - x_C.mean()
    hit = np.asarray(joint.hit_C)
    exposure = np.array([zero_cell_exposure(e) for e, h in zip(estimates, hit, strict=True) if not h])
    slope, interval = (None, None) if hit.sum() < 2 else _profile_slope(x_C[hit], joint, x_C[~hit], exposure, level)
    return Trend(
        slope=slope,
        slope_interval=interval,
        level=level,
        steps=tuple(int(s) for s in steps),
        n_zero_cells=int((~hit).sum()),
        certified_slopes=certified_slopes(x_C, estimates),
    )


def slope_degrees(x_J: Floats, covariance_JJ: Floats) -> float:
    """Return the degrees of freedom of the slope's variance (Satterthwaite 1946): the cells' variances are themselves
    estimated, each from about 1/variance effective hits, and the outer cells matter most for the slope."""
    precision = np.linalg.inv(covariance_JJ + 1e-12 * np.eye(len(x_J)))
    centred = x_J - float(precision.sum(axis=0) @ x_J) / float(precision.sum())
    lever = precision @ centred / float(centred @ precision @ centred)
    variance = np.diag(covariance_JJ)
    part = lever**2 * variance
    return max(float(part.sum() ** 2 / (part**2 / np.maximum(1 / variance - 1, 1.0)).sum()), 1.0)


def _profile_slope(
    x_J: Floats, joint: JointEstimate, x_zero: Floats, exposure: Floats, level: float
) -> tuple[float | None, tuple[float, float] | None]:
    precision = np.linalg.inv(joint.covariance_JJ + 1e-12 * np.eye(len(x_J)))
    weight = float(precision.sum())

    def log_likelihood(slope: float) -> float:
        residual = joint.log_p_J - slope * x_J
        start = float(precision.sum(axis=0) @ residual) / weight

        def loss(a: float) -> float:
            r = residual - a
            return 0.5 * float(r @ precision @ r) + float(
                (exposure * np.exp(np.minimum(a + slope * x_zero, 600.0))).sum()
            )

        if not len(exposure):
            return -loss(start)
        # zero cells only pull the intercept down
        low = start - 1.0 - float((exposure * np.exp(np.minimum(start + slope * x_zero, 600.0))).sum()) / weight
        return -float(minimize_scalar(loss, bounds=(max(low, start - 200.0), start), method="bounded").fun)

    found = minimize_scalar(lambda b: -log_likelihood(b), bounds=(-_MAX_SLOPE, _MAX_SLOPE), method="bounded")
    best, top = float(found.x), -float(found.fun)
    drop = float(stdtrit(slope_degrees(x_J, joint.covariance_JJ), (1 - level) / 2)) ** 2 / 2

    def excess(slope: float) -> float:
        return top - log_likelihood(slope) - drop

    low = float(brentq(excess, -_MAX_SLOPE, best)) if excess(-_MAX_SLOPE) > 0 else -math.inf
    high = float(brentq(excess, best, _MAX_SLOPE)) if excess(_MAX_SLOPE) > 0 else math.inf
    return best, (low, high)
