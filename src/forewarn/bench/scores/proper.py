"""Proper scores and coverage of the step of the crossing: CRPS of log min(T, S), Brier, log score, randomised PIT.

A forecast is F(s), the probability that the rate was passed by step s = 1, ..., S; what is left of 1 is an atom at "not
by S".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def check_passed(passed_IS: Floats) -> Floats:
    """The forecasts. Raises InputError unless each is a distribution: from 0 to 1, never falling."""
    wrong = ~np.isfinite(passed_IS) | (passed_IS < -1e-9) | (passed_IS > 1 + 1e-9)
    if wrong.any() or (np.diff(passed_IS, axis=1) < -1e-9).any():
        raise InputError("a forecast of the crossing's step is no distribution: give rising probabilities from 0 to 1")
    return passed_IS


def crps_log(passed_IS: Floats, crossing_I: Sequence[float | None]) -> Floats:
    """The CRPS of log min(T, S) of each pair: the integral of (F - 1[y <= x])^2 over x = log s from step 1 to S.

    F jumps at whole steps. ``crossing_I``: T; None: not by S.
    """
    check_passed(passed_IS)
    last = passed_IS.shape[1]
    at = np.arange(1, last, dtype=np.float64)
    width = np.log1p(1 / at)
    F_IS = passed_IS[:, :-1]
    seen_I = np.array([last if t is None else min(max(float(t), 1.0), last) for t in crossing_I])
    before_IS = np.clip(np.log(seen_I)[:, None] - np.log(at)[None, :], 0.0, width[None, :])
    score: Floats = (F_IS**2 * before_IS + (1 - F_IS) ** 2 * (width[None, :] - before_IS)).sum(axis=1)
    return score


def pit_ends(passed_IS: Floats, crossing_I: Sequence[float | None]) -> tuple[Floats, Floats]:
    """F just before and at what came: the randomised PIT is uniform between the two. A crossing counts at the next
    whole step, as forecasts do; "not by S" lies above all of them."""
    check_passed(passed_IS)
    last = passed_IS.shape[1]
    low, high = np.zeros(len(passed_IS)), np.ones(len(passed_IS))
    for i, t in enumerate(crossing_I):
        if t is None:
            low[i] = passed_IS[i, -1]
            continue
        step = min(max(math.ceil(t - 1e-9), 1), last)
        low[i], high[i] = (passed_IS[i, step - 2] if step > 1 else 0.0), passed_IS[i, step - 1]
    return low, high


def covered(passed_IS: Floats, crossing_I: Sequence[float | None], level: float) -> Floats:
    """The probability, over the PIT's own chance, that each pair falls into the central interval of this level.

    A step to which the forecast gives no probability at all has a PIT of one value, which is inside or not.
    """
    low_I, high_I = pit_ends(passed_IS, crossing_I)
    a, b = (1 - level) / 2, (1 + level) / 2
    inside = np.clip(np.minimum(high_I, b) - np.maximum(low_I, a), 0.0, None)
    size = high_I - low_I
    single = ((low_I >= a) & (low_I <= b)).astype(np.float64)
    return np.where(size > 1e-12, inside / np.where(size > 1e-12, size, 1.0), single)


def brier_values(probability_I: Floats, event_I: Bools) -> Floats:
    values: Floats = (probability_I - event_I) ** 2
    return values


def log_values(probability_I: Floats, event_I: Bools) -> Floats:
    """Minus the log of the probability given to what came (nats)."""
    return -np.log(np.where(event_I, probability_I, 1 - probability_I))


def calibration(probability_I: Floats, event_I: Bools, bins: int = 10) -> list[tuple[float, int, int]]:
    """The calibration curve in equal bins of pairs: mean probability, events, pairs of each. Ties share a bin's edge in
    the order of the pairs."""
    order = np.argsort(probability_I, kind="stable")
    return [
        (float(probability_I[mine].mean()), int(event_I[mine].sum()), len(mine))
        for mine in np.array_split(order, bins)
        if len(mine)
    ]
