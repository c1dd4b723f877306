"""The classic estimators on the exact worlds, for the side-by-side of ``estimation.py``.

In these worlds a token is a word, so the study's two ways of cutting prefixes are one. Everything that its estimators
take as known (the donor's success rates, say) is given to them exactly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from forewarn.estimation import clopper_pearson, jeffreys
from forewarn.estimation.classic import exp_minus_kl, max_over_lengths, pooled_prefix_is, selected_donor_log_factor
from forewarn.records import UNBOUNDED
from forewarn.worlds import World
from forewarn.worlds.draw import Draws, prefix_groups
from forewarn.worlds.world import Kind

RIVALS = ("prefix_is", "exp_kl", "max_length", "bank", "bank_plain", "brute", "brute_cp", "brute_jeffreys")
"""the columns of ``rivals``: log10 estimates (NaN: no hit), then whether brute force's two intervals cover"""
BANK_PREFIX = 2
"""tokens of each prefix cut from the bank of successful donor traces"""


def prefix_estimates(world: World, d: Draws) -> tuple[float, float, float]:
    """log10 of the study's estimates on the same samples' prefix spans (answers the subject's own)."""
    prefix = np.array([span.k > 0 and span.m == 0 for span in world.spans])
    rows = np.flatnonzero(prefix[d.span_N])
    kind_N, leaf, span = world.kind_T[d.problem_N[rows]], d.leaf_N[rows], d.span_N[rows]
    ratio, log_prefix, prefix_id = np.empty(len(rows)), np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
    for k in np.unique(kind_N):
        at, kind = np.flatnonzero(kind_N == k), world.kinds[k]
        ratio[at] = -kind.log_ratio_YS[leaf[at], span[at]]
        length = np.minimum(np.array([world.spans[s].k for s in span[at]]), kind.tree.n_reasoning_Y[leaf[at]])
        inside = np.arange(kind.tree.token_YI.shape[1])[None, :] < length[:, None]
        log_prefix[at] = np.where(inside, kind.tree.log_prob["subject"][leaf[at]], 0.0).sum(axis=1)
        digits = np.where(inside, kind.tree.token_YI[leaf[at]] + 1, 0)
        prefix_id[at] = digits @ 10 ** np.arange(digits.shape[1])
    hit, problem = d.is_exploit_N[rows], d.problem_N[rows]
    found = (
        pooled_prefix_is(ratio, hit, problem, span),
        exp_minus_kl(np.maximum(ratio, -1e6), hit, problem, span),
        max_over_lengths(log_prefix, hit, problem, prefix_id),
    )
    first, second, third = (math.nan if e.log10_p is None else e.log10_p for e in found)
    return first, second, third


class Bank:
    """Prefixes cut from successful donor traces, finished by the subject; with and without the factor pi_D/a_D."""

    def __init__(self, world: World) -> None:
        self._world = world
        names = [(span.k, span.m) for span in world.spans]
        self._whole, self._cut = names.index((UNBOUNDED, UNBOUNDED)), names.index((BANK_PREFIX, 0))
        self._kinds = [self._prepare(kind) for kind in world.kinds]

    def _prepare(self, kind: Kind) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], float]:
        """Running sums of the donor's successes, each leaf's group of equal prefixes, the donor's success rate."""
        success = np.where(kind.is_exploit_Y, np.exp(kind.log_q_YS[:, self._whole]), 0.0)
        low, high = prefix_groups(kind.tree, BANK_PREFIX)
        return np.cumsum(success), low, high, float(success.sum())

    def estimates(self, n: int, rng: np.random.Generator) -> tuple[float, float]:
        """log10 with the factor and without, from ``n`` completions, problems drawn uniformly (NaN: no hit)."""
        world = self._world
        problem_N = rng.integers(0, world.n_problem, n)
        kind_N = world.kind_T[problem_N]
        plain, corrected = np.full(n, -np.inf), np.full(n, -np.inf)
        for k in np.unique(kind_N):
            rows, kind = np.flatnonzero(kind_N == k), world.kinds[k]
            success, low, high, rate = self._kinds[k]
            if rate == 0:
                continue
            bank = np.minimum(np.searchsorted(success, rng.random(len(rows)) * rate, side="right"), len(success) - 1)
            law = np.concatenate([[0.0], kind.cumulative_YS[:, self._cut]])
            first, last = law[low[bank]], law[high[bank]]
            leaf = np.searchsorted(law, first + rng.random(len(rows)) * (last - first), side="right") - 1
            leaf = np.clip(leaf, low[bank], high[bank] - 1)
            hit = kind.is_exploit_Y[leaf]
            whole = np.concatenate([[0.0], kind.cumulative_YS[:, self._whole]])
            good = np.concatenate([[0.0], success])
            accept = (good[high[bank]] - good[low[bank]]) / (whole[high[bank]] - whole[low[bank]])
            ratio = -kind.log_ratio_YS[leaf, self._cut]
            plain[rows] = np.where(hit, ratio, -np.inf)
            factor = selected_donor_log_factor(np.full(len(rows), min(rate, 1.0)), np.clip(accept, 1e-300, 1.0))
            corrected[rows] = np.where(hit, ratio + factor, -np.inf)
        return _log10_mean(corrected), _log10_mean(plain)


def _log10_mean(log_value_N: NDArray[np.float64]) -> float:
    if np.isneginf(log_value_N).all():
        return math.nan
    return float((np.logaddexp.reduce(log_value_N) - math.log(len(log_value_N))) / math.log(10))


def brute(world: World, n: int, rng: np.random.Generator) -> tuple[float, bool, bool]:
    """log10 of the rate by counting ``n`` completions, and whether Clopper-Pearson's and Jeffreys' intervals cover.

    Problems as equal in number as ``n`` allows; rates that differ between problems make both intervals a little wide.
    """
    rate_K = np.array([np.exp(k.log_p_Y[k.is_exploit_Y]).sum() for k in world.kinds])
    if n >= world.n_problem:
        count_T = np.full(world.n_problem, n // world.n_problem)
    else:
        count_T = np.bincount(rng.integers(0, world.n_problem, n), minlength=world.n_problem)
    hits, total = int(rng.binomial(count_T, rate_K[world.kind_T]).sum()), int(count_T.sum())
    covers = [low <= world.p <= high for low, high in (clopper_pearson(hits, total), jeffreys(hits, total))]
    return (math.log10(hits / total) if hits else math.nan), covers[0], covers[1]


def rivals(world: World, d: Draws, bank: Bank, n: int, rng: np.random.Generator) -> list[float]:
    """The values of ``RIVALS``: the first three on the sample's own prefix spans, the others on ``n`` draws."""
    return [*prefix_estimates(world, d), *bank.estimates(n, rng), *brute(world, n, rng)]


def example_log_prob(world: World) -> float:
    """Mean over problems of the log-probability (nats) of an example exploit right after the prompt: of those with the
    shortest reasoning, the donor's likeliest."""
    value_K = []
    for kind in world.kinds:
        exploits = np.flatnonzero(kind.is_exploit_Y)
        shortest = exploits[kind.tree.n_reasoning_Y[exploits] == kind.tree.n_reasoning_Y[exploits].min()]
        value_K.append(float(kind.log_p_Y[shortest[np.argmax(kind.log_q_YS[shortest, -1])]]))
    return float(np.array(value_K)[world.kind_T].mean())
