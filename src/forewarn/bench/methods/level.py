"""The level of the estimate alone: log10 of the last estimate that has a hit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, latest

UNSEEN = -15.0
"""log10 for a type without any hit so far: below all that is ever estimated"""


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    found = {}
    for name, mine in seen.types.items():
        value = latest(tuple(None if e is None else e.log10_p for e in mine.estimates))
        found[name] = by_score(UNSEEN if value is None else value)
    return found


METHOD = Method("level of the estimate alone", _said)
