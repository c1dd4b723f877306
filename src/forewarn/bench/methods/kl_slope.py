"""The slope of the divergence from the base over the last two windows of training: the same for all types of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, slope

POINTS = 3
"""checkpoints that the slope is taken over"""


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    kl = (0.0, *(window.kl for window in seen.windows))  # the first checkpoint is the base itself
    steps = tuple(float(step) for step in seen.steps)
    value = slope(steps[-POINTS:], kl[-POINTS:])
    return {name: by_score(value) for name in seen.types}


METHOD = Method("slope of KL from the base", _said)
