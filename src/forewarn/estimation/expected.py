"""What a sample of given size and shares is expected to give, by a pilot's hits: effective sample size and interval.

A pilot's own figures stand for those of a larger sample only where its weights are even. Where a few hits carry it, a
larger sample meets larger weights, and its effective sample size grows more slowly than its size: a pilot with one
heavy hit says nothing of three such hits in three times as many completions. How much of this there is, the pilot shows
itself: by how far the effective sample size that a hit brings fell from half of it to the whole. That is carried on to
the sample's size, up to the bound that every weight keeps.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from forewarn.errors import InputError
from forewarn.estimation.allocation import PilotHits, log_weights
from forewarn.estimation.inputs import Floats, numbers
from forewarn.estimation.intervals import Units, gamma_interval
from forewarn.estimation.sample import check_level

HALVES = 400
"""random halves of a pilot's hits, in whose mean the growth is measured"""
MOST_COMPLETIONS = 10**9
LN10 = math.log(10)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a sample with these shares is expected to give, by the pilot's hits. None where the pilot has none."""

    n: int
    log10_p: float | None
    """the pilot's own estimate, for orientation; it enters no later estimate"""
    ess: float | None
    """effective number of hits"""
    width: float | None
    """of the interval, decades"""
    n_pilot_hits: int
    pilot_ess: float | None
    """effective number of hits in the pilot: below about 8 the prediction itself is a guess"""


@dataclass(frozen=True, slots=True)
class Moments:
    """What the pilot's hits say of w E under other shares, relative to its estimate p of the rate."""

    part_H: Floats
    """each hit's part of p"""
    relative_H: Floats
    """its w over p"""
    between: float
    """the part of E[(w E)^2] over p^2 that differs between spans, in which a stratified sample does not vary"""
    growth: float
    """the power of the number of completions with which that moment grows: 0 of even weights, 1 of one heavy hit"""
    most: float
    """1/(alpha_0 p): no w over p is larger"""

    def second(self, grown: float = 1.0) -> float:
        """E[(w E)^2] under the mixture over p^2, with weights ``grown`` times those that were seen."""
        return float((self.part_H * np.minimum(self.relative_H * grown, self.most)).sum())


def moments(pilot: PilotHits, share_S: Floats) -> Moments:
    """Moments of w E under ``share_S``, from a pilot that has hits."""
    log_p = pilot.log_p
    part_H = np.exp(pilot.log_part_H - log_p)
    log_w = log_weights(pilot.log_ratio_HS, share_S)
    # w over p, the weight of a hit in units of the rate: neither overflows where p is 1e-200
    relative_H = np.exp(log_w - log_p)
    mean_S = (part_H[:, None] * np.exp(log_w[:, None] + pilot.log_ratio_HS)).sum(axis=0)
    return Moments(
        part_H,
        relative_H,
        between=float((share_S * mean_S**2).sum()),
        growth=_growth(part_H, part_H * relative_H),
        most=math.exp(min(-math.log(float(share_S[0])) - log_p, 700.0)),
    )


def _growth(part_H: Floats, second_H: Floats) -> float:
    """log2 of how much more effective sample size a hit brings in half of the pilot than in the whole, within 0 and 1.

    A half keeps each hit with probability one half. Even weights bring the same in both: 0, and so does a single hit,
    of which nothing can be told. One hit that outweighs all others brings twice as much where the others are half as
    many, and without it the next one does: 1.
    """
    kept_RH = np.random.default_rng(0).random((HALVES, len(part_H))) < 0.5
    kept_RH = kept_RH[kept_RH.any(axis=1)]
    if not len(kept_RH):
        return 0.0
    ess_R = (kept_RH @ part_H) ** 2 / (kept_RH @ second_H)
    a_hit_R = ess_R / kept_RH.sum(axis=1) * second_H.sum() * len(part_H)
    return float(np.clip(np.log2(a_hit_R).mean(), 0.0, 1.0))


def predict(pilot: PilotHits, share_S: ArrayLike, n: int, *, level: float = 0.9) -> Prediction:
    """What ``n`` completions with these shares are expected to give.

    The relative variance of a stratified sample follows from the moments of w E, which the pilot's hits give with the
    weights that the new shares imply, and the width is that of the interval of ``mixture_estimate`` for it.
    """
    check_level(level)
    share = numbers("share_S", share_S)
    if share.shape != (pilot.log_ratio_HS.shape[1],) or not (share > 0).all():
        raise InputError(f"share_S is {share.tolist()}: give one positive share per span")
    if n < 1:
        raise InputError(f"n is {n}: give at least 1 completion")
    if not len(pilot.log_part_H):
        return Prediction(n, None, None, None, 0, None)
    return _prediction(pilot, moments(pilot, share), n, level)


def _prediction(pilot: PilotHits, found: Moments, n: int, level: float) -> Prediction:
    grown = (n / pilot.n) ** found.growth
    second = max(found.second(grown), 1.0)
    variance = max((second - min(found.between, second)) / n, 1 / (n + 2) ** 2)
    largest = min(float(found.relative_H.max()) * grown, found.most, float(n)) / n
    low, high = gamma_interval(Units(np.array([largest]), variance), level=level)
    return Prediction(
        n=n,
        log10_p=pilot.log_p / LN10,
        ess=n / second,
        width=math.inf if low <= 0 else math.log10(high / low),
        n_pilot_hits=len(found.part_H),
        pilot_ess=1 / float((found.part_H**2).sum()),
    )


def completions_for(pilot: PilotHits, share_S: ArrayLike, width: float, *, level: float = 0.9) -> int | None:
    """The fewest completions whose predicted interval is at most ``width`` decades wide; None without pilot hits, or
    where a thousand million would not do. Raises InputError."""
    if not width > 0:
        raise InputError(f"width is {width}: give a width above 0, in decades")
    if predict(pilot, share_S, 1, level=level).width is None:
        return None
    found = moments(pilot, numbers("share_S", share_S))

    def enough(n: int) -> bool:
        said = _prediction(pilot, found, n, level).width
        return said is not None and said <= width

    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_COMPLETIONS:
            return None
    low = high // 2
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
