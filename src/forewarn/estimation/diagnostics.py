"""What tells whether an estimate may be believed: responsibility split, direct test, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from forewarn.estimation.inputs import Floats
from forewarn.estimation.sample import Sample

MIN_ESS = 8.0
"""below it the interval is wider than about 0.6 decades"""
MAX_SHARE = 0.35
MAX_KHAT = 0.7
KHAT_SHARE = 0.15
"""the tail index counts only where one completion carries this much: on tails that carry little it rejected sound
estimates (w*E takes few values, which no Pareto law fits) and none that missed (docs/decisions)"""
MIN_P_VALUE = 0.01
MIN_ROUTES = 2.0
"""effective number of (problem, program) below which one of them carries an estimate over several problems"""
WHOLLY = 0.999
"""share of the estimate that counts as all of it"""
MAX_OPENED = 0.9
"""share of the estimate in hits that the donor only opened, above which the estimate says what follows the donor's
beginnings and not how often the subject exploits. Where it was needed the share was 1.000, and at most 0.6 where the
estimate was right (docs/estimates.md)"""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Everything ``resolved`` is decided on."""

    ess: float
    max_share: float
    khat: float | None
    direct_p_value: float | None
    """that brute force would hit this often if the donors' hits told all; None where donors never hit"""
    n_uncovered: int
    """the subject's own hits that donors don't reach: rho >= 1/2"""
    n_own: int = 0
    """the subject's own hits"""
    n_problem: int = 1
    routes: float | None = None
    """effective number of (problem, program) pairs; None: programs are not told apart"""
    donor_written: float | None = None
    """share of the estimate in hits whose whole answer the donor wrote; None: not told"""
    donor_opened: float | None = None
    """share of the estimate in hits that the donor only opened (``routes.py``); None: not told"""


def responsibility(sample: Sample) -> Floats:
    """rho = alpha_(0,0) * w in [0, 1]: the chance that brute force, not a donor, would have brought each hit."""
    rho: Floats = np.exp(np.minimum(sample.log_share_own_H + sample.log_weight_H, 0.0))
    return rho


def split(sample: Sample) -> tuple[float, float]:
    """log of the estimate's parts from hits with rho < 1/2 (donors reach them) and rho >= 1/2; -inf where none."""
    log_z_H, rho_H = sample.log_z_H, responsibility(sample)

    def log_sum(part: Floats) -> float:
        part = part[~np.isneginf(part)]
        return float(np.logaddexp.reduce(part)) if len(part) else -math.inf

    return log_sum(log_z_H[rho_H < 0.5]), log_sum(log_z_H[rho_H >= 0.5])


def direct_test(sample: Sample) -> float | None:
    """One-sided p-value of the (0,0) hits against Binomial(n_0, what the donors' hits predict).

    A donor's hit with rho < 1/2 estimates, with weight w / (1 - rho), the rate of such hits under the subject alone;
    what the subject's own completions show beyond it are routes that only brute force sees. The prediction's own error
    enters as a gamma law (a negative binomial count). None where no donor hits with rho < 1/2.
    """
    own_H = sample.span_N[sample.hit_H] == 0
    rho_H = responsibility(sample)
    seen_H = ~own_H & (rho_H < 0.5) & ~np.isneginf(sample.log_weight_H)
    if not seen_H.any():
        return None
    log_z_H = sample.log_z_H[seen_H] - np.log1p(-rho_H[seen_H])
    log_sum = float(np.logaddexp.reduce(log_z_H))
    ess = math.exp(2 * log_sum - float(np.logaddexp.reduce(2 * log_z_H)))
    mean = float((sample.span_N == 0).sum()) * math.exp(min(log_sum, 0.0))
    n_own = int(own_H.sum())
    return float(betainc(n_own, ess, mean / (ess + mean))) if n_own else 1.0


def count_uncovered(sample: Sample) -> int:
    """The subject's own hits with rho >= 1/2: what only brute force sees, and how often it saw it."""
    own_H = sample.span_N[sample.hit_H] == 0
    return int((own_H & (responsibility(sample) >= 0.5) & ~np.isneginf(sample.log_weight_H)).sum())


def judge(d: Diagnostics) -> tuple[bool, str]:
    """``resolved`` and its reason: the first that fails."""
    if d.ess < MIN_ESS:
        return (
            False,
            f"effective sample size {d.ess:.1f} is below {MIN_ESS:g}: more completions, or a donor nearer to the hits",
        )
    if d.max_share > MAX_SHARE:
        return False, f"one completion carries {d.max_share:.0%} of the estimate"
    if d.khat is not None and d.khat > MAX_KHAT and d.max_share > KHAT_SHARE:
        return False, f"tail index of w*E is {d.khat:.2f}, above {MAX_KHAT:g}: larger weights are likely still unseen"
    if d.n_own < MIN_ESS and (one_sided := _one_sided(d)) is not None:  # what brute force counts needs no donor
        return False, one_sided
    if d.direct_p_value is not None and d.direct_p_value < MIN_P_VALUE:
        if d.n_uncovered >= MIN_ESS:  # seen often enough to be counted, as the estimate does: high rates
            return True, f"resolved by counting: {d.n_uncovered} of brute force's hits are beyond the donors' reach"
        return False, f"brute force hits more often than the donors' hits explain (p = {d.direct_p_value:.1g})"
    return True, "resolved given coverage"


def by_donors_alone(donor_opened: float | None, donor_written: float | None) -> bool:
    """Whether the hits show too little of how the subject begins: shares of the estimate in hits of which a donor wrote
    the beginning, and in those whose whole answer it wrote; None: not told."""
    opened, written = donor_opened or 0.0, donor_written or 0.0
    return opened > MAX_OPENED or opened + written >= WHOLLY


def _one_sided(d: Diagnostics) -> str | None:
    """What an estimate lacks whose hits show too little of how the subject exploits."""
    if by_donors_alone(None, d.donor_written):
        return (
            "in every hit the donor wrote the whole answer, so that only its own programs are seen: add windows in "
            "which the subject writes on"
        )
    if by_donors_alone(d.donor_opened, d.donor_written):
        opened, written = d.donor_opened or 0.0, d.donor_written or 0.0
        parts = ("the beginning", opened) if opened > MAX_OPENED else ("the beginning or all of it", opened + written)
        return (
            f"hits of which the donor wrote {parts[0]} carry {parts[1]:.0%} of the estimate, so that exploits behind a "
            "beginning of the subject's own are hardly seen: add windows in which the donor begins later"
        )
    if d.routes is not None and d.n_problem > 1 and d.routes < MIN_ROUTES:
        return (
            f"one program of one problem of {d.n_problem} carries the estimate (effective number of routes "
            f"{d.routes:.1f}): more completions, or other donors"
        )
    return None
