"""The growth curve over proposals: how the estimate moves as spans are added.

A curve that still climbs says that routes are being missed; one that is flat says that *these* proposals agree, no
more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from forewarn.errors import InputError
from forewarn.estimation.inputs import numbers, one_dimensional
from forewarn.estimation.mixture import mixture_estimate
from forewarn.records import Estimate


def growth_curve(
    log_ratio_NS: ArrayLike,
    is_exploit_N: ArrayLike,
    span_N: ArrayLike,
    groups: Sequence[Sequence[int]],
    *,
    problem_N: ArrayLike | None = None,
    cluster_N: ArrayLike | None = None,
    level: float = 0.9,
) -> tuple[Estimate, ...]:
    """Estimates from the subject's own span plus the first, the first two, ... groups of spans (column numbers).

    Each uses only the completions and densities of its spans, realised shares; all are unbiased once span 0 is in, so
    a rising curve is a matter of what is *seen*. They share completions and are not independent. Raises InputError.
    """
    ratio = numbers("log_ratio_NS", log_ratio_NS)
    n = len(ratio)
    span = one_dimensional("span_N", span_N, n, "int")
    hit = one_dimensional("is_exploit_N", is_exploit_N, n, "bool")
    flat = [s for group in groups for s in group]
    if not groups or len(set(flat)) < len(flat) or any(not 0 < s < ratio.shape[1] for s in flat):
        raise InputError(
            f"groups is {[list(g) for g in groups]}: give each donor span (1..{ratio.shape[1] - 1}) at most once"
        )
    out, used = [], [0]
    for group in groups:
        used = used + list(group)
        keep = np.isin(span, used)
        column = np.full(ratio.shape[1], -1)
        column[used] = np.arange(len(used))
        out.append(
            mixture_estimate(
                ratio[keep][:, used],
                hit[keep],
                column[span[keep]],
                problem_N=None if problem_N is None else np.asarray(problem_N)[keep],
                cluster_N=None if cluster_N is None else np.asarray(cluster_N)[keep],
                level=level,
            )
        )
    return tuple(out)
