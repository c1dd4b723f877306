"""Rank figures: C3, the protocol's headline, and AUCs over all pairs that are blind at a checkpoint.

Pairs that end between the two rates are in none of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.bench.outcomes.pairs import Pair

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def c3_values(
    pairs: Sequence[Pair],
    score_IC: Floats,
    *,
    landmarks: Sequence[int],
    lead: int,
    near: float | None = None,
    with_between: bool = False,
) -> Floats:
    """C3's value of every pair: NaN of negatives, and of positives without a comparable negative.

    A positive's value at landmark c, for c at most its V1 less ``lead``, is the share of comparable negatives that it
    outranks, ties one half: those of its run and reward status that are blind at c. Its mean over landmarks. ``near``:
    only negatives whose start level is within so many decades. ``with_between``: negatives that passed the lower rate
    count, too.
    """
    value_I = np.full(len(pairs), np.nan)
    places: dict[tuple[str, str], list[int]] = {}
    for i, pair in enumerate(pairs):
        if pair.eligible and (with_between or not pair.between):
            places.setdefault((pair.run, pair.status), []).append(i)
    for mine in places.values():
        negatives = [i for i in mine if not pairs[i].event]
        for i in mine:
            if not pairs[i].event:
                continue
            found = []
            for c in landmarks:
                rivals = [
                    j
                    for j in negatives
                    if pairs[j].blind(c)
                    and (near is None or abs(pairs[i].start_log10 - pairs[j].start_log10) <= near + 1e-9)
                ]
                if rivals and pairs[i].v1 >= c + lead:
                    found.append(_outranked(score_IC[i, c - 1], score_IC[rivals, c - 1]))
            if found:
                value_I[i] = float(np.mean(found))
    return value_I


def _outranked(score: float, others: Floats) -> float:
    return float(((score > others) + 0.5 * (score == others)).mean())


def mean_of(value_I: Floats, keep_I: Bools) -> float | None:
    """The mean of the values that are kept and there (not NaN)."""
    kept = value_I[keep_I & ~np.isnan(value_I)]
    return float(kept.mean()) if len(kept) else None


def area(score_I: Floats, event_I: Bools, keep_I: Bools) -> float | None:
    """The area under the ROC curve, ties one half; None without both outcomes."""
    positive, negative = score_I[keep_I & event_I], score_I[keep_I & ~event_I]
    if not len(positive) or not len(negative):
        return None
    return float(np.mean([_outranked(one, negative) for one in positive.tolist()]))


def near_area(score_I: Floats, event_I: Bools, start_I: Floats, keep_I: Bools, decades: float) -> float | None:
    """The same over pairs of a positive and a negative whose start levels are within so many decades; None: no pair."""
    positive, negative = np.flatnonzero(keep_I & event_I), np.flatnonzero(keep_I & ~event_I)
    near_PN = np.abs(start_I[positive][:, None] - start_I[negative][None, :]) <= decades + 1e-9
    if not near_PN.any():
        return None
    more_PN = score_I[positive][:, None] - score_I[negative][None, :]
    return float(((more_PN > 0) + 0.5 * (more_PN == 0))[near_PN].mean())
