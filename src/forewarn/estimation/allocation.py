"""Shares of the spans from a pilot, by a rule that does not overfit. What they will then give: ``expected.py``.

Minimising the estimated variance over all shares (``pooling.suggest_shares``) trusts every pilot hit: with two ways to
the exploit, a pilot that saw one of them starves the other, and the estimate reads low with a narrow interval. The
guarded rule takes square roots of second moments, shares them between neighbouring spans, leaves a part uniform and
never lets brute force fall below a floor. No completion of a pilot may enter an estimate whose shares it fixed.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, Ints, as_array, numbers
from forewarn.estimation.sample import Sample, read_sample

UNIFORM, SHARE_OWN = 0.3, 0.1
"""the part of the budget that is spread evenly over all spans, and the least share of brute force"""
TO_A_NEIGHBOUR = 0.25
"""the part of a span's own figure that each of its two neighbours takes over"""


@dataclass(frozen=True, slots=True)
class PilotHits:
    """What a pilot says of the exploits: its hits, weighed so that they stand for the subject's own."""

    log_ratio_HS: Floats
    log_part_H: Floats
    """log of each hit's part of the pilot's estimate, nats"""
    n: int
    """completions of the pilot"""

    @property
    def log_p(self) -> float:
        """log of the pilot's own estimate, nats; -inf without hits."""
        return float(logsumexp(self.log_part_H)) if len(self.log_part_H) else -math.inf


def read_pilot(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    *,
    share_S: ArrayLike | None = None,
    problem_N: ArrayLike | None = None,
    valid_N: ArrayLike | None = None,
) -> PilotHits:
    """A pilot's hits from arrays as ``mixture_estimate`` takes them. Raises InputError naming the argument."""
    sample = read_sample(log_ratio_NS, is_exploit_N, span_N, share_S=share_S, problem_N=problem_N, valid_N=valid_N)
    return pilot_hits(sample, numbers("log_ratio_NS", log_ratio_NS))


def pilot_hits(sample: Sample, log_ratio_NS: Floats) -> PilotHits:
    """A pilot's hits from a checked sample and the log-ratios it was read from."""
    on = ~np.isneginf(sample.log_weight_H)
    return PilotHits(log_ratio_NS[sample.hit_H[on]], sample.log_z_H[on], sample.n)


def guarded_shares(
    pilot: PilotHits,
    *,
    cost_S: ArrayLike | None = None,
    group_S: ArrayLike | None = None,
    uniform: float = UNIFORM,
    share_own: float = SHARE_OWN,
) -> Floats:
    """Shares for the next batch from a pilot's hits.

    Each span is given the square root of E_s[(w E)^2] over its cost, where w is the weight under equal shares: the
    part of the second moment that the span would bring (``method.md``, "Pilot and shares"). Neighbours in a group
    smooth each other, ``uniform`` is spread evenly, and brute force, column 0, gets at least ``share_own``.

    - ``cost_S``: relative cost of one completion of each span, in tokens or seconds; default: equal.
    - ``group_S``: spans with equal codes are neighbours in the order of their columns (a grid of starts, say); by
      default no span has a neighbour.

    Without hits the shares are equal, brute force at least ``share_own``. Raises InputError.
    """
    n_span = pilot.log_ratio_HS.shape[1]
    if not 0 <= uniform <= 1 or not 0 < share_own < 1:
        raise InputError(f"uniform is {uniform} and share_own {share_own}: give values between 0 and 1")
    cost = _costs(cost_S, n_span)
    if n_span == 1:
        return np.ones(1)
    figure = np.zeros(n_span)
    if len(pilot.log_part_H):
        log_w = log_weights(pilot.log_ratio_HS, np.full(n_span, 1 / n_span))
        log_moment = logsumexp((pilot.log_part_H + 2 * log_w)[:, None] + pilot.log_ratio_HS, axis=0)
        log_figure = (log_moment - np.log(cost)) / 2
        figure = np.exp(log_figure - log_figure.max())
    figure = _smoothed(figure, _groups(group_S, n_span))
    wanted = figure / figure.sum() if figure.sum() > 0 else np.full(n_span, 1 / n_span)
    share = uniform / n_span + (1 - uniform) * wanted
    if share[0] < share_own:
        share[1:] *= (1 - share_own) / share[1:].sum()
        share[0] = share_own
    return np.asarray(share / share.sum())


def planned_counts(share_S: Floats, n: int) -> Ints:
    """Whole numbers near ``share_S * n``, each at least 1, that sum to ``n`` or to the number of spans if that is
    more."""
    count = np.maximum(1, np.floor(share_S * n)).astype(np.int64)
    for s in np.argsort(-(share_S * n - count), kind="stable"):
        if count.sum() >= n:
            break
        count[s] += 1
    while count.sum() > max(n, len(count)):  # small shares were raised to 1: the spans most above theirs give
        count[np.argmax(np.where(count > 1, count - share_S * n, -np.inf))] -= 1
    return count


def log_weights(log_ratio_HS: Floats, share_S: Floats) -> Floats:
    """log w of each hit under given shares, nats."""
    return -np.asarray(logsumexp(log_ratio_HS + np.log(share_S), axis=1))


def _costs(cost_S: ArrayLike | None, n_span: int) -> Floats:
    cost = np.ones(n_span) if cost_S is None else numbers("cost_S", cost_S)
    if cost.shape != (n_span,) or not (np.isfinite(cost).all() and (cost > 0).all()):
        raise InputError(f"cost_S is {cost.tolist()}: give one positive cost per span, {n_span} in all")
    return cost


def _groups(group_S: ArrayLike | None, n_span: int) -> Sequence[Ints]:
    """The columns of each group, in order."""
    if group_S is None:
        return []
    group = as_array("group_S", group_S)
    if group.shape != (n_span,):
        raise InputError(f"group_S has shape {group.shape}: give one code per span, {n_span} in all")
    return [np.flatnonzero(group == code) for code in np.unique(group)]


def _smoothed(figure_S: Floats, groups: Sequence[Ints]) -> Floats:
    """A quarter of each figure goes to each neighbour; at an end of a group it stays."""
    out = figure_S.copy()
    for columns in groups:
        if len(columns) > 1:
            padded = np.pad(figure_S[columns], 1, mode="edge")
            out[columns] = (1 - 2 * TO_A_NEIGHBOUR) * padded[1:-1] + TO_A_NEIGHBOUR * (padded[:-2] + padded[2:])
    return out
