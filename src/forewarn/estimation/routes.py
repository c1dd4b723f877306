"""What carries an estimate: over how many programs, problems and spans its parts are spread, as effective numbers, and
how much of it lies behind a donor's own beginning.

An effective number is the inverse Simpson index, 1 / sum of squared shares of w*E: n equal shares give n, one that
outweighs all others gives 1 (Hill 1973, order 2). It speaks of what was seen: a route that no
completion took leaves no trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, as_array, codes, one_dimensional
from forewarn.estimation.sample import Sample

FAVOURED = -math.log(2)
"""log-weight below which the mixture brings a hit more than twice as often as the subject alone: an opening that the
subject writes as often as the donor says nothing of the donor's ways"""


@dataclass(frozen=True, slots=True)
class Routes:
    """How an estimate's parts are spread; None: not told what it depends on."""

    programs: float | None
    """effective number of distinct programs among the hits"""
    problems: float
    spans: float
    """of the spans that the hits were drawn from"""
    pairs: float | None
    """effective number of (problem, program): the routes"""
    donor_written: float | None
    """share of the estimate in hits whose whole answer the donor wrote"""
    donor_opened: float | None
    """share of the estimate in hits that the donor only opened, and that the mixture favours (``FAVOURED``)"""


def effective_number(share_H: Floats, code_H: NDArray[np.int64]) -> float:
    """Inverse Simpson index of the shares, summed over equal codes."""
    total = np.bincount(code_H, weights=share_H)
    return float(total.sum() ** 2 / (total**2).sum())


def opened_by_donor(wrote_NL: NDArray[np.bool_], n_reasoning_N: ArrayLike, n_token_N: ArrayLike) -> NDArray[np.bool_]:
    """Whether all that the donor wrote of each completion is the beginning of its reasoning, of its answer, or of both,
    and the subject wrote at least half of every channel that the donor opened.

    ``wrote_NL``: whether the donor wrote each token, False beyond the end; ``n_reasoning_N``: tokens of the reasoning,
    behind which the answer begins; ``n_token_N``: tokens of the completion.
    """
    place_L = np.arange(wrote_NL.shape[1])
    n_reasoning_N, n_token_N = np.asarray(n_reasoning_N), np.asarray(n_token_N)
    opened_N: NDArray[np.bool_] = np.asarray(wrote_NL.any(axis=1))
    for first_N, end_N in ((np.zeros_like(n_reasoning_N), n_reasoning_N), (n_reasoning_N, n_token_N)):
        inside_NL = (first_N[:, None] <= place_L) & (place_L < end_N[:, None])
        count_N = (wrote_NL & inside_NL).sum(axis=1)
        leading_N = (wrote_NL & inside_NL & (place_L < (first_N + count_N)[:, None])).sum(axis=1) == count_N
        opened_N &= leading_N & ((count_N == 0) | (2 * count_N <= end_N - first_N))
    return opened_N


def routes_of(
    sample: Sample,
    program_N: ArrayLike | None,
    donor_wrote_answer_N: ArrayLike | None,
    donor_opened_N: ArrayLike | None = None,
) -> Routes | None:
    """The spread of a sample's estimate; None without a hit that counts. Only the hits' entries are read.

    Raises InputError for arrays of another length or kind.
    """
    on = ~np.isneginf(sample.log_weight_H)
    program_H = _programs(sample, program_N)
    wrote_H = _of_hits(sample, "donor_wrote_answer_N", donor_wrote_answer_N)
    opened_H = _of_hits(sample, "donor_opened_N", donor_opened_N)
    if not on.any():
        return None
    log_z_H = sample.log_z_H[on]
    share_H = np.exp(log_z_H - np.logaddexp.reduce(log_z_H))
    hit_H = sample.hit_H[on]
    problem_H = sample.problem_N[hit_H]
    programs = pairs = None
    if program_H is not None:
        code_H = program_H[on]
        programs = effective_number(share_H, code_H)
        pairs = effective_number(share_H, problem_H * (int(code_H.max()) + 1) + code_H)
    return Routes(
        programs=programs,
        problems=effective_number(share_H, problem_H),
        spans=effective_number(share_H, sample.span_N[hit_H]),
        pairs=pairs,
        donor_written=None if wrote_H is None else float(share_H[wrote_H[on]].sum()),
        donor_opened=None
        if opened_H is None
        else float(share_H[opened_H[on] & (sample.log_weight_H[on] < FAVOURED)].sum()),
    )


def _of_hits(sample: Sample, name: str, values_N: ArrayLike | None) -> NDArray[np.bool_] | None:
    return None if values_N is None else one_dimensional(name, values_N, sample.n, "bool")[sample.hit_H]


def _programs(sample: Sample, program_N: ArrayLike | None) -> NDArray[np.int64] | None:
    """Codes of the hits' programs; other completions may have none."""
    if program_N is None:
        return None
    array = as_array("program_N", program_N)
    if array.shape != (sample.n,):
        raise InputError(f"program_N has shape {array.shape}: there are {sample.n} completions")
    return codes("program_N", array[sample.hit_H], len(sample.hit_H))[0]
