"""A world: problems with enumerated completions, spans with planned shares, and everything exact that follows.

Letters: Y completions of one kind of problem, S spans, T problems; see ``process.py`` for the rest.
"""

# ruff: noqa: N802, N815 - names carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from forewarn.records import SUBJECT, Span
from forewarn.worlds.process import Floats, Ints, Tree

SUBJECT_MODEL = "subject"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: its completions with every probability."""

    tree: Tree
    log_p_Y: Floats
    log_q_YS: Floats
    """by who wrote each token, not through the ratio"""
    log_ratio_YS: Floats
    """+inf off the subject's support, 0 in column 0"""
    is_exploit_Y: NDArray[np.bool_]
    cumulative_YS: Floats
    """running sums of every span's law over the completions, for drawing"""

    def log_weight_Y(self, share_S: Floats) -> Floats:
        """log w under given shares; -inf off support."""
        off = np.isneginf(self.log_p_Y)
        safe = np.where(off[:, None], 0.0, self.log_ratio_YS)
        return np.where(off, -np.inf, -np.asarray(logsumexp(safe + np.log(share_S), axis=1)))


@dataclass(frozen=True, slots=True)
class World:
    """T problems, each of one of ``kinds``."""

    name: str
    spans: tuple[Span, ...]
    share_S: Floats
    kinds: tuple[Kind, ...]
    kind_T: Ints

    @property
    def n_problem(self) -> int:
        return len(self.kind_T)

    def _mean_over_problems(self, value_K: Sequence[float]) -> float:
        return float(np.asarray(value_K)[self.kind_T].mean())

    @property
    def p(self) -> float:
        """P(exploit), averaged over problems."""
        return self._mean_over_problems([float(np.exp(k.log_p_Y[k.is_exploit_Y]).sum()) for k in self.kinds])

    @property
    def mean_weight(self) -> float:
        """E_p[w | E] under the planned shares; 1 over it is the gain over brute force of as many completions."""
        rows = [(k, k.is_exploit_Y) for k in self.kinds]
        second = [float(np.exp(k.log_p_Y[e] + k.log_weight_Y(self.share_S)[e]).sum()) for k, e in rows]
        return self._mean_over_problems(second) / self.p

    @property
    def missed(self) -> float:
        """P(rho >= 1/2 | E): the part of the exploits' probability that brute force, not a donor, would bring."""
        half = math.log(0.5) - math.log(float(self.share_S[0]))
        rows = [(k, k.is_exploit_Y & (k.log_weight_Y(self.share_S) >= half)) for k in self.kinds]
        return self._mean_over_problems([float(np.exp(k.log_p_Y[seen]).sum()) for k, seen in rows]) / self.p

    @property
    def covered(self) -> bool:
        """The criterion of the benchmark: E_p[w | E] <= 1/30."""
        return self.mean_weight <= 1 / 30

    def variance(self, count_S: Ints) -> float:
        """Exact variance of the stratified estimate with ``count_S`` completions of each span for every problem.

        Weights use the realised shares, as the estimator does by default.
        """
        share_S = count_S / count_S.sum()
        value = []
        for kind in self.kinds:
            e = kind.is_exploit_Y
            w = np.exp(kind.log_weight_Y(share_S)[e])
            q_S = np.exp(kind.log_q_YS[e])
            spread_S = (w[:, None] ** 2 * q_S).sum(axis=0) - (w[:, None] * q_S).sum(axis=0) ** 2
            value.append(float((share_S**2 * spread_S / count_S).sum()))
        return self._mean_over_problems(value) / self.n_problem

    def variance_random(self, n: int) -> float:
        """Exact variance of the random design's estimate from ``n`` completions."""
        return (self.mean_weight * self.p - self.p**2) / n


def make_kind(tree: Tree, spans: Sequence[Span], is_exploit: Callable[[Tree], NDArray[np.bool_]]) -> Kind:
    """Densities of every span on every completion of a tree whose models are the subject and the spans' donors."""
    subject = tree.log_prob[SUBJECT_MODEL]
    log_p = subject.sum(axis=1)
    n_answer = tree.n_token_Y - tree.n_reasoning_Y
    log_q = np.empty((len(log_p), len(spans)))
    log_ratio = np.zeros_like(log_q)
    position = np.arange(tree.token_YI.shape[1])[None, :]
    off = np.isneginf(log_p)
    for s, span in enumerate(spans):
        if span.donor == SUBJECT:
            log_q[:, s] = log_p
            continue
        donor = tree.log_prob[span.donor]
        first = np.minimum(span.k, tree.n_reasoning_Y)[:, None]
        start = tree.n_reasoning_Y[:, None]
        stop = start + np.minimum(span.m, n_answer)[:, None]
        by_donor = (position < first) | ((position >= start) & (position < stop))
        log_q[:, s] = np.where(by_donor, donor, subject).sum(axis=1)
        step = np.where(by_donor, donor - np.where(np.isneginf(subject), 0.0, subject), 0.0)
        log_ratio[:, s] = np.where(off, np.inf, step.sum(axis=1))
    return Kind(tree, log_p, log_q, log_ratio, is_exploit(tree), np.cumsum(np.exp(log_q), axis=0))


def make_world(
    name: str,
    trees: Sequence[Tree],
    spans: Sequence[Span],
    is_exploit: Callable[[Tree], NDArray[np.bool_]],
    *,
    share_own: float = 0.2,
    kind_T: Ints | None = None,
) -> World:
    """A world whose subject's own span (first of ``spans``) has share ``share_own``, the others equal shares."""
    share = np.full(len(spans), (1 - share_own) / max(len(spans) - 1, 1))
    share[0] = share_own if len(spans) > 1 else 1.0
    kinds = tuple(make_kind(tree, spans, is_exploit) for tree in trees)
    return World(name, tuple(spans), share, kinds, np.zeros(1, np.int64) if kind_T is None else kind_T)


def checks(world: World) -> Mapping[str, float]:
    """How far sums of densities and q = p exp(D) are from exact: both should be rounding error."""
    total, identity = 0.0, 0.0
    for kind in world.kinds:
        total = max(total, float(np.abs(np.exp(kind.log_q_YS).sum(axis=0) - 1).max()))
        on = ~np.isneginf(kind.log_p_Y)
        rebuilt = np.exp(kind.log_p_Y[on, None] + kind.log_ratio_YS[on])
        identity = max(identity, float(np.abs(rebuilt - np.exp(kind.log_q_YS[on])).max()))
    return {"sum": total, "identity": identity, "p": world.p if math.isfinite(world.p) else math.nan}
