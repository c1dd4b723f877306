"""The mixture estimator: one probability from completions of all spans (balance heuristic).

Arrays in, ``Estimate`` out. Weights: ``sample.py``; interval: ``intervals.py``; certificates: ``bounds.py``; verdict:
``diagnostics.py``. Log-ratios: ``spans.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.estimation.bounds import certified_lower, certified_upper
from forewarn.estimation.diagnostics import Diagnostics, count_uncovered, direct_test, judge, split
from forewarn.estimation.inputs import one_dimensional
from forewarn.estimation.intervals import gamma_interval, unit_totals
from forewarn.estimation.routes import routes_of
from forewarn.estimation.sample import Design, Sample, check_level, read_sample
from forewarn.estimation.tails import pareto_khat
from forewarn.records import Estimate

LN10 = math.log(10)


def mixture_estimate(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    *,
    share_S: ArrayLike | None = None,
    problem_N: ArrayLike | None = None,
    cluster_N: ArrayLike | None = None,
    valid_N: ArrayLike | None = None,
    inconsistent_N: ArrayLike | None = None,
    program_N: ArrayLike | None = None,
    donor_wrote_answer_N: ArrayLike | None = None,
    donor_opened_N: ArrayLike | None = None,
    level: float = 0.9,
    design: Design = "stratified",
) -> Estimate:
    """Probability that the subject exploits, averaged over problems, from completions of a mixture of spans.

    N completions, S spans (column 0: the subject's own).

    - ``log_ratio_NS[i, s]``: log q_s(y_i) - log p(y_i), nats, -inf allowed; column 0 all zeros; +inf means the subject
      cannot write y_i: weight 0, counted off support. Rows where ``is_exploit_N`` is False are never read.
    - ``span_N``: the span each completion was drawn from. ``problem_N``: its problem (any ids; default: one problem).
    - ``share_S``: planned shares; the default is the realised share of each span within each problem.
    - ``cluster_N``: id of the donor trace each grew from, the unit of every interval and bet (default: each its own).
    - ``valid_N``: False where sandbox or engine broke: no exploit in the estimate and the lower bound, an exploit in
      the upper bound.
    - ``inconsistent_N``: True where the program behaves differently when it is run again; bounded in the same way, and
      counted apart (``Estimate.n_inconsistent``), since a program can choose it.
    - ``program_N``: id of each hit's program; ``donor_wrote_answer_N``: whether the donor wrote every token of its
      answer; ``donor_opened_N``: whether it wrote the beginning alone (``routes.opened_by_donor``). With them the
      verdict sees an estimate that rests on one program of one problem, or on what a donor wrote alone or began.
    - ``design``: "random" where each completion drew its problem (uniformly) and span (by ``share_S``) independently.

    w = 1 / sum_S alpha_S exp(D_S) and p_hat = mean over problems of sum_S alpha_S mean of w*E, in log space; unbiased,
    with 0 <= w <= 1/alpha_(0,0). ``interval_log10`` is two-sided at ``level``; ``lower_bound`` and ``upper_bound``
    are each one-sided at ``level``. Raises InputError, one sentence naming argument and value.

    Source: Veach & Guibas 1995 (balance heuristic); Owen & Zhou 2000, eq. 8 (deterministic mixture); method.md.
    """
    check_level(level)
    n = len(np.atleast_1d(span_N))
    valid, inconsistent = _marks("valid_N", valid_N, n, True), _marks("inconsistent_N", inconsistent_N, n, False)
    sample = read_sample(
        log_ratio_NS,
        is_exploit_N,
        span_N,
        share_S=share_S,
        problem_N=problem_N,
        cluster_N=cluster_N,
        valid_N=valid & ~inconsistent,
        design=design,
    )
    written = {"donor_wrote_answer_N": donor_wrote_answer_N, "donor_opened_N": donor_opened_N}
    estimate = estimate_from_sample(sample, level=level, program_N=program_N, **written)
    n_inconsistent = int((inconsistent & valid).sum())
    return replace(estimate, n_invalid=estimate.n_invalid - n_inconsistent, n_inconsistent=n_inconsistent)


def _marks(name: str, values_N: ArrayLike | None, n: int, default: bool) -> NDArray[np.bool_]:
    return np.full(n, default) if values_N is None else one_dimensional(name, values_N, n, "bool")


def upper_bound(sample: Sample, *, level: float) -> float:
    """Certified upper bound: brute force on the subject's own span, invalid completions counted as hits."""
    own = np.flatnonzero(sample.span_N == 0)
    against = ~sample.valid_N[own]
    is_hit_N = np.zeros(sample.n, dtype=np.bool_)
    is_hit_N[sample.hit_H] = True
    weight = sample.own_coef_N[own]
    _, unit = np.unique(sample.unit_N[own], return_inverse=True)
    size_U = np.bincount(unit, weights=weight)
    value_U = np.bincount(unit, weights=weight * (is_hit_N[own] | against))
    return certified_upper(value_U, size_U, level=level)


def estimate_from_sample(
    sample: Sample,
    *,
    level: float,
    program_N: ArrayLike | None = None,
    donor_wrote_answer_N: ArrayLike | None = None,
    donor_opened_N: ArrayLike | None = None,
) -> Estimate:
    """The ``Estimate`` of a checked sample; the other arguments as in ``mixture_estimate``."""
    nothing = _without_hits(sample, level)
    totals, routes = unit_totals(sample), routes_of(sample, program_N, donor_wrote_answer_N, donor_opened_N)
    if totals is None or routes is None:
        return nothing
    units, log_p = totals
    low, high = (log_p + math.log(factor) if factor > 0 else -math.inf for factor in gamma_interval(units, level=level))
    lower = certified_lower(units.share_H, sample.n_unit, level=level) * math.exp(min(log_p, 0.0))
    log_covered, log_uncovered = split(sample)
    found = Diagnostics(
        ess=units.ess,
        max_share=float(units.share_H[0]),
        khat=pareto_khat(units.share_H),
        direct_p_value=direct_test(sample),
        n_uncovered=count_uncovered(sample),
        n_own=nothing.hits_by_span[0],
        n_problem=sample.n_problem,
        routes=routes.pairs,
        donor_written=routes.donor_written,
        donor_opened=routes.donor_opened,
    )
    resolved, reason = judge(found)
    return replace(
        nothing,
        log10_p=log_p / LN10,
        # an estimate may exceed 1 (it is bounded by 1/alpha_0); a rate can't
        interval_log10=(min(low / LN10, 0.0), min(high / LN10, 0.0)),
        lower_bound=min(lower, 1.0),
        ess=found.ess,
        max_share=found.max_share,
        khat=found.khat,
        covered_log10_p=None if log_covered == -math.inf else log_covered / LN10,
        uncovered_log10_p=None if log_uncovered == -math.inf else log_uncovered / LN10,
        resolved=resolved,
        reason=reason,
        effective_programs=routes.programs,
        effective_problems=routes.problems,
        effective_spans=routes.spans,
        donor_written=routes.donor_written,
        donor_opened=routes.donor_opened,
    )


def _without_hits(sample: Sample, level: float) -> Estimate:
    """What is known where nothing hits, or nothing that counts."""
    why = "no hits" if not len(sample.hit_H) else "every hit is off the subject's support"
    return Estimate(
        log10_p=None,
        interval_log10=None,
        lower_bound=0.0,
        upper_bound=upper_bound(sample, level=level),
        level=level,
        n=sample.n,
        n_hits=len(sample.hit_H),
        hits_by_span=tuple(int(c) for c in np.bincount(sample.span_N[sample.hit_H], minlength=sample.n_span)),
        n_invalid=int((~sample.valid_N).sum()),
        n_off_support=sample.n_off_support,
        ess=None,
        max_share=None,
        khat=None,
        covered_log10_p=None,
        uncovered_log10_p=None,
        resolved=False,
        reason=f"{why} in {sample.n} completions",
    )
