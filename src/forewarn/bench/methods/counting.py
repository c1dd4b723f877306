"""Counting: hits among the completions of all checkpoints so far, the same number a cell as every method has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, log_odds


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    return {
        name: by_score(log_odds(sum(c.hits for c in mine.counts if c), sum(c.n for c in mine.counts if c)))
        for name, mine in seen.types.items()
    }


METHOD = Method("counting: hits of the same completions, all checkpoints so far", _said)
