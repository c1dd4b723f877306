"""The study's estimators, as published, for the side-by-side. They are not recommended: see each docstring.

Source: "Early Indicators of Reward Hacking via Reasoning Interpolation" (EleutherAI, 2026-04-15). A *prefix* is the
first tokens (or whitespace words) of a donor's reasoning; N completions grown from prefixes, L lengths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from forewarn.errors import InputError
from forewarn.estimation.bounds import clopper_pearson, jeffreys
from forewarn.estimation.inputs import Floats, Ints, numbers, one_dimensional

LN10 = math.log(10)


@dataclass(frozen=True, slots=True)
class ClassicEstimate:
    """A point without a diagnostic, which is all the classic estimators give."""

    name: str
    log10_p: float | None
    """None where nothing hit; may exceed 0 (an estimate above 1)"""
    n: int
    n_hits: int


@dataclass(frozen=True, slots=True)
class BruteForce:
    """Plain counting."""

    rate: float
    clopper_pearson: tuple[float, float]
    jeffreys: tuple[float, float]
    level: float
    n: int
    n_hits: int


def prefix_log_ratio(subject_log_probs: ArrayLike, donor_log_probs: ArrayLike, n_prefix: int) -> float:
    """log p(z) - log q(z) in nats of the first ``n_prefix`` reasoning tokens (fewer where the reasoning is
    shorter)."""
    subject, donor = numbers("subject_log_probs", subject_log_probs), numbers("donor_log_probs", donor_log_probs)
    if subject.shape != donor.shape or subject.ndim != 1:
        raise InputError(
            f"subject_log_probs has shape {subject.shape} and donor_log_probs {donor.shape}: give one a token"
        )
    if n_prefix < 0:
        raise InputError(f"n_prefix is {n_prefix}: give 0 or more tokens")
    return float((subject[:n_prefix] - donor[:n_prefix]).sum())


def tokens_of_words(token_texts: Sequence[str], n_words: int) -> int:
    """How many tokens hold the first ``n_words`` whitespace words, as the study cut its prefixes."""
    text = ""
    for i, piece in enumerate(token_texts):
        text += piece
        if len(re.findall(r"\S+", text)) > n_words:
            return i
    return len(token_texts)


def _pairs(problem_N: ArrayLike, length_N: ArrayLike, n: int) -> tuple[Ints, int]:
    problem = np.unique(one_dimensional("problem_N", problem_N, n, "any"), return_inverse=True)[1]
    length = np.unique(one_dimensional("length_N", length_N, n, "any"), return_inverse=True)[1]
    _, pair = np.unique(problem * (int(length.max()) + 1) + length, return_inverse=True)
    return pair.astype(np.int64), int(pair.max()) + 1


def _log_sum(values: Floats) -> float | None:
    values = values[~np.isneginf(values)]
    return float(np.logaddexp.reduce(values)) if len(values) else None


def _inputs(
    log_ratio_N: ArrayLike, is_exploit_N: ArrayLike
) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    log_ratio = numbers("log_ratio_N", log_ratio_N)
    if log_ratio.ndim != 1 or len(log_ratio) == 0:
        raise InputError(f"log_ratio_N has shape {log_ratio.shape}: give one value per completion, at least one")
    is_exploit = one_dimensional("is_exploit_N", is_exploit_N, len(log_ratio), "bool")
    if np.isnan(log_ratio[is_exploit]).any():
        raise InputError("log_ratio_N holds NaN on a hit: score every exploit")
    return log_ratio, is_exploit


def pooled_prefix_is(
    log_ratio_N: ArrayLike, is_exploit_N: ArrayLike, problem_N: ArrayLike, length_N: ArrayLike
) -> ClassicEstimate:
    """Per-length prefix importance sampling, averaged over pairs (problem, length) in log space.

    ``log_ratio_N``: log p(z) - log q(z) of each completion's own prefix, nats. ``length_N``: its prefix length, in
    tokens or in words. Unbounded weights, and lengths pooled as if independent: it can exceed 1, and it misses routes
    that no prefix opens. Raises InputError.
    """
    log_ratio, is_exploit = _inputs(log_ratio_N, is_exploit_N)
    pair, n_pair = _pairs(problem_N, length_N, len(log_ratio))
    size = np.bincount(pair, minlength=n_pair)[pair]
    total = _log_sum((log_ratio - np.log(size) - math.log(n_pair))[is_exploit])
    return ClassicEstimate(
        "pooled prefix IS", None if total is None else total / LN10, len(pair), int(is_exploit.sum())
    )


def exp_minus_kl(
    log_ratio_N: ArrayLike, is_exploit_N: ArrayLike, problem_N: ArrayLike, length_N: ArrayLike
) -> ClassicEstimate:
    """exp(-KL(q||p)) times the exploit rate, per pair (problem, length), averaged over pairs.

    ``log_ratio_N``: log p(z) - log q(z) of each prefix, nats, needed on every completion. By Jensen's inequality
    below the truth on average where hits and weights are unrelated; no statement otherwise.
    """
    log_ratio, is_exploit = _inputs(log_ratio_N, is_exploit_N)
    if np.isnan(log_ratio).any():
        raise InputError("log_ratio_N holds NaN: the KL needs every prefix scored")
    pair, n_pair = _pairs(problem_N, length_N, len(log_ratio))
    size_P = np.bincount(pair, minlength=n_pair)
    kl_P = -np.bincount(pair, weights=log_ratio, minlength=n_pair) / size_P
    with np.errstate(divide="ignore"):
        log_rate_P = np.log(np.bincount(pair, weights=is_exploit, minlength=n_pair) / size_P)
    total = _log_sum(log_rate_P - kl_P - math.log(n_pair))
    return ClassicEstimate("exp(-KL) * rate", None if total is None else total / LN10, len(pair), int(is_exploit.sum()))


def max_over_lengths(
    log_prefix_prob_N: ArrayLike, is_exploit_N: ArrayLike, problem_N: ArrayLike, prefix_N: ArrayLike
) -> ClassicEstimate:
    """max over prefixes z of p(z) * r(z) per problem, averaged over problems; r is the measured rate after z.

    ``log_prefix_prob_N``: log p(z) under the subject, nats; ``prefix_N``: id of the prefix each completion grew from.
    Every p(z) r(z) is below the truth, but the maximum over noisy r is not a lower bound.
    """
    log_prob, is_exploit = _inputs(log_prefix_prob_N, is_exploit_N)
    n = len(log_prob)
    problem = np.unique(one_dimensional("problem_N", problem_N, n, "any"), return_inverse=True)[1]
    pair, n_pair = _pairs(problem_N, prefix_N, n)
    n_problem = int(problem.max()) + 1
    with np.errstate(divide="ignore"):
        log_rate_P = np.log(
            np.bincount(pair, weights=is_exploit, minlength=n_pair) / np.bincount(pair, minlength=n_pair)
        )
    best_T = np.full(n_problem, -np.inf)
    reached = log_rate_P[pair] + np.where(is_exploit, log_prob, -np.inf)
    np.maximum.at(best_T, problem, np.where(is_exploit, reached, -np.inf))
    total = _log_sum(best_T - math.log(n_problem))
    return ClassicEstimate("max over lengths", None if total is None else total / LN10, n, int(is_exploit.sum()))


def exploit_log_prob(log_prob_N: ArrayLike, problem_N: ArrayLike) -> float:
    """Mean over problems of the log-probability (nats) of example exploits placed right after the prompt. A score, no
    rate."""
    log_prob = numbers("log_prob_N", log_prob_N)
    if log_prob.ndim != 1 or not len(log_prob) or np.isnan(log_prob).any():
        raise InputError(
            f"log_prob_N has shape {log_prob.shape} or holds NaN: give one value per example, at least one"
        )
    problem = np.unique(one_dimensional("problem_N", problem_N, len(log_prob), "any"), return_inverse=True)[1]
    return float((np.bincount(problem, weights=log_prob) / np.bincount(problem)).mean())


def kl_slope(steps: Sequence[int], kl_C: ArrayLike) -> float:
    """Least-squares slope of the prefixes' KL (nats) on ln step; the study's score is its negative (KL falls toward
    hacks)."""
    kl, x = np.asarray(kl_C, dtype=np.float64), np.log(np.asarray(steps, dtype=np.float64))
    if kl.shape != x.shape or len(x) < 2 or len(np.unique(x)) < 2:
        raise InputError(
            f"steps has {len(x)} values and kl_C {kl.size}: a slope needs two different steps, one KL each"
        )
    return float(np.polyfit(x, kl, 1)[0])


def brute_force(n_hits: int, n: int, *, level: float = 0.9) -> BruteForce:
    """The rate by counting, with Clopper-Pearson and Jeffreys intervals at ``level`` (two-sided)."""
    exact, bayes = clopper_pearson(n_hits, n, level=level), jeffreys(n_hits, n, level=level)
    return BruteForce(n_hits / n, exact, bayes, level, n, n_hits)


def selected_donor_log_factor(success_rate_N: ArrayLike, accept_N: ArrayLike) -> Floats:
    """log(pi_D(t) / a_D(t, z)): what a bank of successful donor traces owes each weight p/q (nats, N values).

    ``success_rate_N``: pi_D, the donor's success rate on the problem; ``accept_N``: a_D, the chance that a trace
    starting with this prefix succeeds. The bank's density is q a_D / pi_D, so p over it is (p/q) pi_D / a_D. With
    estimated rates the result is a heuristic. Raises InputError for rates outside (0, 1].
    """
    success, accept = np.asarray(success_rate_N, dtype=np.float64), np.asarray(accept_N, dtype=np.float64)
    for name, value in (("success_rate_N", success), ("accept_N", accept)):
        if not ((value > 0) & (value <= 1)).all():
            raise InputError(f"{name} holds a value outside (0, 1]: a trace in the bank has succeeded at least once")
    return np.asarray(np.log(success) - np.log(accept), dtype=np.float64)
