"""The slope of the study's pooled prefix estimator: log10 of its estimate over the logarithm of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, slope


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {}
    for name, mine in seen.types.items():
        points = [(math.log10(1 + s), v) for s, v in zip(seen.steps, mine.prefix_log10, strict=True) if v is not None]
        found[name] = by_score(slope(tuple(s for s, _ in points), tuple(v for _, v in points)))
    return found


METHOD = Method("the study's prefix estimator: slope of its log over the log of the step", _said)
