"""Cumulative labelled rollouts: the exploits among all training rollouts so far, every one of them judged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, log_odds


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    return {name: by_score(log_odds(mine.rollout_hits, mine.rollouts)) for name, mine in seen.types.items()}


METHOD = Method("cumulative labelled rollouts: exploits among all of them so far", _said, uses_rollouts=True)
