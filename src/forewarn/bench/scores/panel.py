"""What a method says of every pair at every checkpoint at which methods are run, as arrays."""

# ruff: noqa: N815 - names carry shape suffixes
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.bench.outcomes.pairs import Pair

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Panel:
    """One method's answers; rows as in ``pairs``, columns the checkpoints 1, 2, ... of the monitor."""

    method: str
    pairs: tuple[Pair, ...]
    score_IC: Floats
    """ranks pairs; larger is likelier"""
    probability_IC: Floats
    """of the event by the last step, recalibrated"""
    passed_ICS: Floats
    """probability that the rate was passed by step 1, 2, ..., the last"""


def field_of(pairs: tuple[Pair, ...], name: str) -> NDArray[Any]:
    """One field of every pair."""
    return np.array([getattr(pair, name) for pair in pairs])


def blind_at(pairs: tuple[Pair, ...], checkpoint: int) -> Bools:
    return np.array([pair.blind(checkpoint) for pair in pairs], dtype=np.bool_)
