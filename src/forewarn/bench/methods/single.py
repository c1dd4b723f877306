"""forewarn's forecast of one type at a time (``prediction.emergence``), from all checkpoints so far.

Its clocks have no place for step 0, so that steps are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, interpolated
from forewarn.prediction import forecast

LEAST = 2
"""checkpoints that it needs"""


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {}
    for name, mine in seen.types.items():
        there = [(step + 1, e) for step, e in zip(seen.steps, mine.estimates, strict=True) if e is not None]
        if len(there) < LEAST:
            found[name] = Said(0.0, features=(0.0,))
            continue
        made = forecast(
            seen.run.name,
            name,
            [step for step, _ in there],
            [e for _, e in there],
            threshold=seen.protocol.score.event_rate,
            horizon_step=seen.last + 1,
            rng=rng,
        )
        assert made.path is not None
        passed = interpolated(tuple(step - 1 for step in made.path.steps), made.path.passed, seen.last)
        found[name] = Said(made.score, made.probability, passed=passed)
    return found


METHOD = Method("forewarn's forecast of one type at a time", _said)
