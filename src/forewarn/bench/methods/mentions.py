"""Mentions of the checker in reasoning, among the same completions as counting's: intent is commoner than exploits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, latest, log_odds


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    m = seen.protocol.monitor.completions
    found = {name: latest(mine.mentions) for name, mine in seen.types.items()}
    return {name: by_score(log_odds(m * (share or 0.0), m)) for name, share in found.items()}


METHOD = Method("mentions of the checker in reasoning, last checkpoint", _said)
