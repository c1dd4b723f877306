"""Checked input of every mixture estimator: codes, planned coefficients and log-weights of the hits.

Covers the three designs of the method and the off-support rule. Does not cover estimates or intervals.
"""

# ruff: noqa: N802, N815 - fields and properties carry shape suffixes
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, Ints, check_shares, codes, numbers, one_dimensional

Design = Literal["stratified", "random"]
"""Stratified: the number of completions of each (problem, span) was planned. Random: each completion drew its
(problem, span) independently, the problem uniformly and the span from the shares."""

Bools = NDArray[np.bool_]

LARGEST_LOG_RATIO = 1e9
"""nats, a million tokens at a thousand each; what lies beyond comes of logits masked with their float type's minimum,
which means probability 0, and would overflow in sums and squares"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Completions of one exploit type at one checkpoint; p_hat = sum_i coef_N[i] * w_i * E_i."""

    n: int
    n_span: int
    n_problem: int
    n_unit: int
    span_N: Ints
    problem_N: Ints
    """0 .. T-1"""
    unit_N: Ints
    """0 .. U-1: the donor trace each completion grew from"""
    stratum_U: Ints
    """units with equal codes are exchangeable: same problem, same spans (spans that agree on every hit are one)"""
    valid_N: Bools
    coef_N: Floats
    """planned weight of each completion; sums to 1"""
    own_coef_N: Floats
    """weight of each completion of the subject's own span in brute force's estimate, 0 elsewhere; sums to 1"""
    hit_H: Ints
    """row of each hit"""
    log_weight_H: Floats
    """log w, nats; -inf off support"""
    log_share_own_H: Floats
    """log alpha_(0,0) of the hit's problem"""

    @property
    def log_z_H(self) -> Floats:
        """log of each hit's part of p_hat."""
        return np.log(self.coef_N[self.hit_H]) + self.log_weight_H

    @property
    def n_off_support(self) -> int:
        return int(np.isneginf(self.log_weight_H).sum())


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a value strictly between 0 and 1")


def _coefficients(
    count_TS: Ints, span_N: Ints, problem_N: Ints, share_S: Floats | None, design: Design
) -> tuple[Floats, Floats]:
    """Planned weight of each completion (N) and the mixture's log-shares per problem (T x S)."""
    n_problem, n = count_TS.shape[0], len(span_N)
    if design == "random":
        if share_S is None:
            raise InputError("share_S is None: the random design needs the shares its spans were drawn from")
        return np.full(n, 1.0 / n), np.log(np.broadcast_to(share_S, count_TS.shape))
    if share_S is None:
        count_T1 = count_TS.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):  # a span this problem never used has no part in its mixture
            return 1.0 / (n_problem * count_T1[problem_N, 0]), np.log(count_TS / count_T1)
    if (count_TS == 0).any():
        t, s = (int(i) for i in np.argwhere(count_TS == 0)[0])
        raise InputError(
            f"share_S plans span {s} for every problem but problem number {t} has no completion of it: "
            "draw one or use design='random'"
        )
    coef_N = share_S[span_N] / (n_problem * count_TS[problem_N, span_N])
    return coef_N, np.log(np.broadcast_to(share_S, count_TS.shape))


def _log_weights(log_ratio_HS: Floats, log_share_HS: Floats) -> Floats:
    """log w = -log sum_S alpha_S exp(D_S); -inf where the subject cannot have written the completion."""
    off_H: Bools = np.asarray(np.isposinf(log_ratio_HS).any(axis=1))
    safe_HS = np.where(off_H[:, None], 0.0, log_ratio_HS)
    log_weight_H = -np.atleast_1d(logsumexp(safe_HS + log_share_HS, axis=1))
    return np.where(off_H, -np.inf, log_weight_H)


def _without_masks(log_ratio_HS: Floats) -> Floats:
    return np.where(np.abs(log_ratio_HS) > LARGEST_LOG_RATIO, np.copysign(np.inf, log_ratio_HS), log_ratio_HS)


def _check_hits(log_ratio_HS: Floats, span_H: Ints, hit_H: Ints) -> None:
    if np.isnan(log_ratio_HS).any():
        i, s = (int(v) for v in np.argwhere(np.isnan(log_ratio_HS))[0])
        raise InputError(f"log_ratio_NS[{int(hit_H[i])}, {s}] is NaN on a hit: score every exploit under every span")
    if (log_ratio_HS[:, 0] != 0).any():
        i = int(np.flatnonzero(log_ratio_HS[:, 0] != 0)[0])
        raise InputError(
            f"log_ratio_NS[{int(hit_H[i])}, 0] is {log_ratio_HS[i, 0]}: column 0 is the subject's own span, all zeros"
        )
    drawn_H = log_ratio_HS[np.arange(len(hit_H)), span_H]
    impossible_H = np.isneginf(drawn_H) | (np.isposinf(log_ratio_HS).any(axis=1) & (span_H == 0))
    if impossible_H.any():
        i = int(np.flatnonzero(impossible_H)[0])
        raise InputError(
            f"completion {int(hit_H[i])} was drawn from span {int(span_H[i])}, which gives it probability 0 by "
            "log_ratio_NS: the scores are not those of the policy that was sampled"
        )


def _strata(unit_N: Ints | None, problem_N: Ints, span_N: Ints, log_ratio_HS: Floats, design: Design) -> Ints:
    """A code per unit. Units of one code have the same problem and the same make-up by span."""
    n_span = log_ratio_HS.shape[1]
    if design == "random":
        n_unit = len(span_N) if unit_N is None else int(unit_N.max()) + 1
        if unit_N is None:
            return np.zeros(n_unit, dtype=np.int64)
        return np.bincount(unit_N, minlength=n_unit).astype(np.int64)
    if len(log_ratio_HS):
        # spans that agree on every hit give w*E the same law: one stratum, so splitting a span changes nothing
        merged_S = np.unique(log_ratio_HS, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)
    else:
        merged_S = np.arange(n_span, dtype=np.int64)
    cell_N: Ints = problem_N * n_span + merged_S[span_N]
    if unit_N is None:
        return cell_N
    # a sum of square roots of distinct integers tells make-ups apart; a collision would only merge two strata
    signature_U = np.bincount(unit_N, weights=np.sqrt(cell_N + 2.0))
    code_U: Ints = np.unique(np.round(signature_U, 7), return_inverse=True)[1].astype(np.int64)
    return code_U


def read_sample(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    *,
    share_S: ArrayLike | None = None,
    problem_N: ArrayLike | None = None,
    cluster_N: ArrayLike | None = None,
    valid_N: ArrayLike | None = None,
    design: Design = "stratified",
) -> Sample:
    """Check and code the arguments of ``mixture_estimate`` (shapes and meaning there).

    Raises InputError naming the argument and the value.
    """
    log_ratio = numbers("log_ratio_NS", log_ratio_NS)
    if log_ratio.ndim != 2 or log_ratio.shape[1] == 0:
        raise InputError(f"log_ratio_NS has shape {log_ratio.shape}: give completions x spans")
    n, n_span = log_ratio.shape
    if n == 0:
        raise InputError("log_ratio_NS has no rows: there are no problems and no completions to estimate from")
    if design not in ("stratified", "random"):
        raise InputError(f"design is {design!r}: give 'stratified' or 'random'")
    is_exploit = one_dimensional("is_exploit_N", is_exploit_N, n, "bool")
    span = one_dimensional("span_N", span_N, n, "int").astype(np.int64)
    if span.min() < 0 or span.max() >= n_span:
        raise InputError(f"span_N ranges over {span.min()}..{span.max()}: log_ratio_NS has spans 0..{n_span - 1}")
    valid = np.ones(n, dtype=np.bool_) if valid_N is None else one_dimensional("valid_N", valid_N, n, "bool")
    if (is_exploit & ~valid).any():
        i = int(np.flatnonzero(is_exploit & ~valid)[0])
        raise InputError(f"is_exploit_N[{i}] is True but valid_N[{i}] is False: an invalid completion has no verdict")
    problem, n_problem = codes("problem_N", problem_N, n)
    unit, n_unit = (None, n) if cluster_N is None else codes("cluster_N", cluster_N, n)
    count_TS = np.bincount(problem * n_span + span, minlength=n_problem * n_span).reshape(n_problem, n_span)
    _check_counts(count_TS, design)
    share = None if share_S is None else check_shares(share_S, n_span)
    coef_N, log_share_TS = _coefficients(count_TS, span, problem, share, design)
    if design == "random":
        own_coef_N = np.where(span == 0, 1.0 / max(int((span == 0).sum()), 1), 0.0)
    else:
        own_coef_N = np.where(span == 0, 1.0 / (n_problem * count_TS[problem, 0]), 0.0)
    hit_H = np.flatnonzero(is_exploit)
    log_ratio_HS = _without_masks(log_ratio[hit_H])
    _check_hits(log_ratio_HS, span[hit_H], hit_H)
    return Sample(
        n=n,
        n_span=n_span,
        n_problem=n_problem,
        n_unit=n_unit,
        span_N=span,
        problem_N=problem,
        unit_N=np.arange(n, dtype=np.int64) if unit is None else unit,
        stratum_U=_strata(unit, problem, span, log_ratio_HS, design),
        valid_N=valid,
        coef_N=coef_N,
        own_coef_N=own_coef_N,
        hit_H=hit_H,
        log_weight_H=_log_weights(log_ratio_HS, log_share_TS[problem[hit_H]]),
        log_share_own_H=log_share_TS[problem[hit_H], 0],
    )


def _check_counts(count_TS: Ints, design: Design) -> None:
    if count_TS[:, 0].sum() == 0:
        raise InputError("span_N has no completion of span 0: the certificates need the subject's own span")
    empty_S = np.flatnonzero(count_TS.sum(axis=0) == 0)
    if len(empty_S):
        raise InputError(f"span_N has no completion of span {int(empty_S[0])}: drop its column or draw from it")
    bare_T = np.flatnonzero(count_TS[:, 0] == 0)
    if design == "stratified" and len(bare_T):
        raise InputError(
            f"problem number {int(bare_T[0])} (sorted problem_N) has no completion of span 0: its weights have no "
            "bound; draw one, or use design='random' if spans were drawn at random"
        )
