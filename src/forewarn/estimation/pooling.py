"""Several batches of completions under one rule: a proposal may enter a completion's denominator only if it was fixed
independently of that completion.

``join`` puts batches into one mixture (one denominator); ``combine`` keeps each batch's own mixture and weighs the
results, which is what a refined donor or allocation needs. ``suggest_shares`` allocates the next batch. Wrong uses are
errors: training rollouts, a batch refined on itself, stopping on an estimated width, traces in two batches.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, numbers
from forewarn.estimation.mixture import estimate_from_sample
from forewarn.estimation.sample import Design, Sample, check_level, read_sample
from forewarn.records import Estimate

Stopping = Literal["fixed", "anytime", "width"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Completions that were planned together: arguments of ``mixture_estimate`` and where they came from."""

    name: str
    log_ratio_NS: NDArray[np.float64]
    """against the checkpoint being estimated, whichever checkpoint's subject wrote the completions"""
    is_exploit_N: NDArray[np.bool_]
    span_N: NDArray[np.int64]
    share_S: ArrayLike | None = None
    problem_N: ArrayLike | None = None
    cluster_N: ArrayLike | None = None
    """globally unique ids of donor traces; None: each completion its own"""
    valid_N: ArrayLike | None = None
    design: Design = "stratified"
    trained_step: int | None = None
    """first checkpoint these rollouts trained; None: drawn for evaluation"""
    fitted_on: frozenset[str] = field(default_factory=frozenset)
    """names of the batches that this batch's donors or shares were fitted on"""
    stopping: Stopping = "fixed"
    """what ended the batch: a planned number, an anytime bound, or an estimated width"""


def _check(batches: Sequence[Batch], at_step: int) -> None:
    if not batches:
        raise InputError("batches is empty: give at least one")
    names = [batch.name for batch in batches]
    if len(set(names)) < len(names):
        raise InputError(f"batches are named {names}: give each its own name")
    for batch in batches:
        if batch.trained_step is not None and at_step >= batch.trained_step:
            raise InputError(
                f"batch {batch.name!r} holds rollouts that trained checkpoint {batch.trained_step}: they can't "
                f"evaluate checkpoint {at_step}; draw completions for evaluation"
            )
        if batch.name in batch.fitted_on:
            raise InputError(
                f"batch {batch.name!r} is said to be fitted on itself: what fits a donor or shares can't be "
                "reused with them; draw a new batch"
            )
        if batch.stopping == "width":
            raise InputError(
                f"batch {batch.name!r} was stopped on an estimated width, which biases it: stop at a planned number or "
                "on an anytime bound"
            )
    seen: dict[object, str] = {}
    for batch in batches:
        for trace in set() if batch.cluster_N is None else np.unique(np.asarray(batch.cluster_N)).tolist():
            if trace in seen:
                raise InputError(
                    f"cluster_N has trace {trace!r} in batches {seen[trace]!r} and {batch.name!r}: batches must be "
                    "independent"
                )
            seen[trace] = batch.name


def _read(batch: Batch) -> Sample:
    return read_sample(
        batch.log_ratio_NS,
        batch.is_exploit_N,
        batch.span_N,
        share_S=batch.share_S,
        problem_N=batch.problem_N,
        cluster_N=batch.cluster_N,
        valid_N=batch.valid_N,
        design=batch.design,
    )


def _stack(parts: list[NDArray[Any]], offset: list[int]) -> NDArray[Any]:
    return np.concatenate([part + shift for part, shift in zip(parts, offset, strict=True)])


def _offsets(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts)[:-1].tolist()]


def merge_samples(samples: Sequence[Sample], weight_B: Floats) -> Sample:
    """One sample whose estimate is the weighted sum of the samples' estimates. Spans are numbered batch after batch,
    except that the subject's own span stays 0.
    """
    rows = _offsets([s.n for s in samples])
    shift = _offsets([s.n_span - 1 for s in samples])
    log_weight = [s.log_weight_H for s in samples]
    return Sample(
        n=sum(s.n for s in samples),
        n_span=1 + sum(s.n_span - 1 for s in samples),
        n_problem=max(s.n_problem for s in samples),
        n_unit=sum(s.n_unit for s in samples),
        span_N=np.concatenate([np.where(s.span_N > 0, s.span_N + d, 0) for s, d in zip(samples, shift, strict=True)]),
        problem_N=np.concatenate([s.problem_N for s in samples]),
        unit_N=_stack([s.unit_N for s in samples], _offsets([s.n_unit for s in samples])),
        stratum_U=_stack([s.stratum_U for s in samples], _offsets([int(s.stratum_U.max()) + 1 for s in samples])),
        valid_N=np.concatenate([s.valid_N for s in samples]),
        coef_N=np.concatenate([s.coef_N * w for s, w in zip(samples, weight_B, strict=True)]),
        own_coef_N=np.concatenate([s.own_coef_N * w for s, w in zip(samples, weight_B, strict=True)]),
        hit_H=_stack([s.hit_H for s in samples], rows),
        log_weight_H=np.concatenate(log_weight),
        log_share_own_H=np.concatenate([s.log_share_own_H for s in samples]),
    )


def combine(batches: Sequence[Batch], weight_B: ArrayLike, *, at_step: int, level: float = 0.9) -> Estimate:
    """Weighted sum of the batches' own estimates; a batch's donors or shares may be fitted on *earlier* batches.

    ``weight_B``: positive, summing to 1, **fixed before the batches were drawn** (weights by estimated variance gave
    0.62 of the truth). ``at_step``: the checkpoint being estimated. Given the earlier batches each later one is
    unbiased, so variances add and the certified bounds stand. Raises InputError for every wrong use.
    """
    check_level(level)
    _check(batches, at_step)
    weight = np.asarray(weight_B, dtype=np.float64)
    if weight.shape != (len(batches),) or not (weight > 0).all() or abs(float(weight.sum()) - 1) > 1e-9:
        raise InputError(
            f"weight_B is {weight.tolist()}: give one positive weight per batch, fixed beforehand, summing to 1"
        )
    for i, batch in enumerate(batches):
        late = batch.fitted_on & {b.name for b in batches[i:]}
        if late:
            raise InputError(f"batch {batch.name!r} is fitted on {sorted(late)[0]!r}, which does not come before it")
    return estimate_from_sample(merge_samples([_read(b) for b in batches], weight), level=level)


def join(batches: Sequence[Batch], *, at_step: int, level: float = 0.9) -> Estimate:
    """All completions in one mixture, realised shares per problem: for batches whose proposals are all independent of
    all completions (several checkpoints' evaluations, say). Columns mean the same span in every batch.

    A column may be another checkpoint's span, scored against this checkpoint's subject. Raises InputError where one
    batch's donors or shares were fitted on another: ``combine`` those.
    """
    check_level(level)
    _check(batches, at_step)
    names = {batch.name for batch in batches}
    for batch in batches:
        if batch.fitted_on & names:
            raise InputError(
                f"batch {batch.name!r} is fitted on {sorted(batch.fitted_on & names)[0]!r}: its proposals depend on "
                "those completions and may not enter their denominator; use combine"
            )
        if batch.design != "stratified" or batch.share_S is not None:
            raise InputError(
                f"batch {batch.name!r} has planned shares or a random design: only realised shares can be joined"
            )
        if batch.log_ratio_NS.shape[1] != batches[0].log_ratio_NS.shape[1]:
            raise InputError(
                f"log_ratio_NS of batch {batch.name!r} has other spans: score every batch under all of them"
            )

    def stacked(name: str, fill: object) -> NDArray[Any] | None:
        if all(getattr(b, name) is None for b in batches):
            return None
        return np.concatenate(
            [
                np.full(len(b.span_N), fill) if getattr(b, name) is None else np.asarray(getattr(b, name))
                for b in batches
            ]
        )

    if any(b.cluster_N is None for b in batches) and any(b.cluster_N is not None for b in batches):
        raise InputError("cluster_N is given for some batches and not for others: give trace ids for all or none")
    sample = read_sample(
        np.concatenate([b.log_ratio_NS for b in batches]),
        np.concatenate([b.is_exploit_N for b in batches]),
        np.concatenate([b.span_N for b in batches]),
        problem_N=stacked("problem_N", 0),
        cluster_N=stacked("cluster_N", 0),
        valid_N=stacked("valid_N", True),
    )
    return estimate_from_sample(sample, level=level)


def suggest_shares(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    *,
    problem_N: ArrayLike | None = None,
    share_own: float = 0.2,
    share_least: float = 0.02,
    n_round: int = 200,
) -> Floats:
    """Shares for the **next** batch that minimise its variance as this batch sees it (mark it ``fitted_on`` this one).

    Minimises the estimate of E_p[w | E] over the donors' shares, each at least ``share_least``, the subject's own
    fixed at ``share_own`` (what this batch has not seen, only brute force can bring). Convex; multiplicative updates.
    Without hits the shares are equal. Raises InputError.
    """
    sample = read_sample(log_ratio_NS, is_exploit_N, span_N, problem_N=problem_N)
    n_donor = sample.n_span - 1
    if not 0 < share_own < 1 or not 0 <= share_least * n_donor <= 1 - share_own:
        raise InputError(
            f"share_own is {share_own} and share_least {share_least}: they leave no room for {n_donor} spans"
        )
    room = 1 - share_own - share_least * n_donor
    free = np.full(n_donor, 1 / max(n_donor, 1))
    ratio = numbers("log_ratio_NS", log_ratio_NS)[sample.hit_H]
    on = ~np.isneginf(sample.log_weight_H)
    if n_donor and on.any():
        log_z = sample.log_z_H[on]
        z = np.exp(log_z - log_z.max())
        for _ in range(n_round):
            share = np.concatenate([[share_own], share_least + room * free])
            log_w = -np.logaddexp.reduce(ratio[on] + np.log(share), axis=1)
            # scale w out before squaring: w may be far below the smallest float
            gain = (z[:, None] * np.exp(2 * log_w[:, None] + ratio[on, 1:] - log_w.max())).sum(axis=0)
            free = free * np.sqrt(gain)
            free = (
                free / free.sum()
                if math.isfinite(float(free.sum())) and free.sum() > 0
                else np.full(n_donor, 1 / n_donor)
            )
    return np.concatenate([[share_own], share_least + room * free])
