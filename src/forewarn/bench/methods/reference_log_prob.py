"""The log-probability of the reference exploits, and what it has gained since the base model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, latest

NEVER = -1000.0
"""where it was not measured"""


def _level(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {name: latest(mine.reference_log_probs) for name, mine in seen.types.items()}
    return {name: by_score(NEVER if value is None else value) for name, value in found.items()}


def _gain(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {}
    for name, mine in seen.types.items():
        there = [value for value in mine.reference_log_probs if value is not None]
        found[name] = by_score(there[-1] - there[0] if there else 0.0)
    return found


LEVEL = Method("log-probability of the reference exploits", _level)
GAIN = Method("gain in log-probability of the reference exploits since the base", _gain)
