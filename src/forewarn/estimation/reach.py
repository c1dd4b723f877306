"""What each donor brings to an estimate: its responsibility, and over how many hits its part is spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forewarn.estimation.inputs import Floats


@dataclass(frozen=True, slots=True)
class Reach:
    """A donor's part of one estimate."""

    responsibility: float
    """in [0, 1]: the chance that its spans, and no others, would have brought the exploit; those of all writers sum
    to 1"""
    ess: float
    """effective number of hits that its part is spread over"""


def reach_of(
    log_ratio_HS: Floats, log_weight_H: Floats, share_S: Floats, donor_S: Sequence[str]
) -> Mapping[str, Reach] | None:
    """Return the reach of every writer of an estimate; None where no hit weighs anything.

    ``log_ratio_HS``: of the hits, nats; ``log_weight_H``: log w, -inf off support; ``share_S``: planned shares;
    ``donor_S``: who writes each span. A hit with weight w has been brought by span s with probability
    alpha_s exp(D_s) w, whichever span it was drawn from. Exact where each span's completions are spread over problems
    as planned.
    """
    kept_H = ~np.isneginf(log_weight_H)
    if not kept_H.any():
        return None
    log_ratio_HS, log_weight_H = log_ratio_HS[kept_H], log_weight_H[kept_H]
    part_H = np.exp(log_weight_H - log_weight_H.max())
    brought_HS = np.exp(log_ratio_HS + log_weight_H[:, None]) * share_S
    found = {}
    for donor in dict.fromkeys(donor_S):
        mine = np.array([name == donor for name in donor_S])
        own_H = part_H * brought_HS[:, mine].sum(axis=1)
        total, squares = float(own_H.sum()), float((own_H**2).sum())
        found[donor] = Reach(total / float(part_H.sum()), total**2 / squares if squares else 0.0)
    return found
