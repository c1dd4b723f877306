"""Interval of the estimate from the hits' parts of it, the donor trace as unit and (problem, span) as strata.

The method was chosen by measured coverage: see ``docs/decisions`` and ``benchmarks/estimation.py``.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammainccinv, gammaincinv

from forewarn.estimation.inputs import Floats
from forewarn.estimation.sample import Sample


@dataclass(frozen=True, slots=True)
class Units:
    """Unit totals of the estimate, relative to it (they sum to 1)."""

    share_H: Floats
    """totals of the units that hit, largest first"""
    relative_variance: float
    """variance of the estimate over its square, within strata"""

    @property
    def ess(self) -> float:
        """effective number of hits: (sum z)^2 / sum z^2"""
        return 1.0 / float((self.share_H**2).sum())


def unit_totals(sample: Sample) -> tuple[Units, float] | None:
    """The units and the log of the estimate (nats), or None without a hit that counts."""
    log_z_H = sample.log_z_H
    if not len(log_z_H) or np.isneginf(log_z_H).all():
        return None
    top = float(log_z_H.max())
    z_H = np.exp(log_z_H - top)
    total = float(z_H.sum())
    unit, inverse = np.unique(sample.unit_N[sample.hit_H], return_inverse=True)
    share = np.bincount(inverse, weights=z_H) / total
    stratum = sample.stratum_U[unit]
    size = np.bincount(sample.stratum_U)[stratum]  # units in the stratum of each unit that hit
    _, code = np.unique(stratum, return_inverse=True)
    size_K = np.zeros(code.max() + 1)
    size_K[code] = size
    square_K = np.bincount(code, weights=share**2)
    sum_K = np.bincount(code, weights=share)
    # a stratum of one unit has no spread to see: its square bounds its variance
    within_K = np.where(size_K > 1, size_K / np.maximum(size_K - 1, 1) * (square_K - sum_K**2 / size_K), square_K)
    floor = float(square_K.sum()) / (sample.n_unit + 2)  # every unit hit alike: still not certain (Agresti-Coull)
    units = Units(np.sort(share[share > 0])[::-1], max(float(within_K.sum()), floor))
    return units, top + math.log(total)


def gamma_interval(units: Units, *, level: float) -> tuple[float, float]:
    """Lower and upper factor on the estimate: scaled-Poisson (Fay & Feuer 1997, eq. 4), stratified variance.

    A weighted sum of Poisson counts is matched by a gamma law of its mean and variance; the upper end allows for one
    more hit of the largest weight seen.
    """
    tail = (1 - level) / 2
    variance = units.relative_variance
    low = variance * float(gammaincinv(1 / variance, tail))
    extra = float(units.share_H[0])
    mean_up, variance_up = 1 + extra, variance + extra**2
    high = variance_up / mean_up * float(gammainccinv(mean_up**2 / variance_up, tail))
    return low, high
