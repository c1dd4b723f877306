"""The variance of a type's rewards since the last checkpoint: what a policy gradient has to go by, labels aside."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {}
    for name in seen.types:
        earned, n = seen.windows[-1].rewarded.get(name, (0, 0)) if seen.windows else (0, 0)
        share = earned / n if n else 0.0
        found[name] = by_score(share * (1 - share))
    return found


METHOD = Method("variance of the type's rewards since the last checkpoint", _said)
