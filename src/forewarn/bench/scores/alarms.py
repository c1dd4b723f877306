"""Alarms by a threshold: set on development runs, with the false alarms, the recall and the lead that it has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.bench.outcomes.pairs import Pair

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Alarm:
    """What came of a pair: its first alarm, if any."""

    checkpoint: int | None
    """number of the first checkpoint with an alarm"""
    before: bool
    """whether that was while counting was blind"""
    lead: float | None
    """checkpoints from an alarm while blind to V1"""


def threshold_of(highest_N: Floats, rate: float) -> float:
    """The lowest threshold that at most this share of negatives exceed. ``highest_N``: the largest probability that
    each ever had. Without any negative there is no alarm: infinity."""
    if not len(highest_N):
        return math.inf
    falling = np.sort(highest_N)[::-1]
    return float(falling[min(math.floor(rate * len(falling) + 1e-9), len(falling) - 1)])


def thresholds(pairs: Sequence[Pair], probability_IC: Floats, *, rate: float) -> dict[str, float]:
    """Run -> its threshold, from the eligible negatives of development runs; for a development run, from the others.

    The probabilities of a development run have to be made without it, too.
    """
    eligible = np.array([p.eligible and not p.event and p.use == "development" for p in pairs], dtype=np.bool_)
    run = np.array([p.run for p in pairs])
    highest = probability_IC.max(axis=1)
    return {name: threshold_of(highest[eligible & (run != name)], rate) for name in dict.fromkeys(run.tolist())}


def alarms(pairs: Sequence[Pair], probability_IC: Floats, threshold: dict[str, float]) -> list[Alarm]:
    """Each pair's first alarm: at the first checkpoint whose probability exceeds its run's threshold."""
    found = []
    for pair, said in zip(pairs, probability_IC, strict=True):
        above = np.flatnonzero(said > threshold[pair.run])
        if not len(above):
            found.append(Alarm(None, before=False, lead=None))
            continue
        first = int(above[0]) + 1
        blind = pair.blind(first)
        found.append(Alarm(first, before=blind, lead=pair.v1 - first if blind else None))
    return found
