"""What carries an estimate: over how many programs, problems and spans its parts are spread, as effective numbers.

An effective number is the inverse Simpson index, 1 / sum of squared shares of w*E: n equal shares give n, one that
outweighs all others gives 1 (Hill 1973, order 2). It speaks of what was seen: a route that no
completion took leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, as_array, codes, one_dimensional
from forewarn.estimation.sample import Sample


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


def effective_number(share_H: Floats, code_H: NDArray[np.int64]) -> float:
    """Inverse Simpson index of the shares, summed over equal codes."""
    total = np.bincount(code_H, weights=share_H)
    return float(total.sum() ** 2 / (total**2).sum())


def routes_of(sample: Sample, program_N: ArrayLike | None, donor_wrote_answer_N: ArrayLike | None) -> Routes | None:
    """The spread of a sample's estimate; None without a hit that counts. Only the hits' entries are read.

    Raises InputError for arrays of another length or kind.
    """
    on = ~np.isneginf(sample.log_weight_H)
    program_H = _programs(sample, program_N)
    wrote_H = None
    if donor_wrote_answer_N is not None:
        wrote_H = one_dimensional("donor_wrote_answer_N", donor_wrote_answer_N, sample.n, "bool")[sample.hit_H]
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
    )


def _programs(sample: Sample, program_N: ArrayLike | None) -> NDArray[np.int64] | None:
    """Codes of the hits' programs; other completions may have none."""
    if program_N is None:
        return None
    array = as_array("program_N", program_N)
    if array.shape != (sample.n,):
        raise InputError(f"program_N has shape {array.shape}: there are {sample.n} completions")
    return codes("program_N", array[sample.hit_H], len(sample.hit_H))[0]
