"""Whether a leader is visible: the share of hits that counting has of the leader of a type's own family.

As a share and not as yes or no, since the leaders are visible from the first checkpoint on.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen, by_score, log_odds

OTHER_FAMILY = 0.5
"""weight of the other family's leader beside the own one's"""


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    leaders = {}
    for name, role in seen.roles.items():
        if role.role == "leader":
            last = next((c for c in reversed(seen.types[name].counts) if c is not None), None)
            leaders[role.family] = log_odds(0, 1) if last is None else log_odds(last.hits, last.n)
    return {
        name: by_score(
            leaders[seen.roles[name].family]
            + OTHER_FAMILY * sum(v for family, v in leaders.items() if family != seen.roles[name].family)
        )
        for name in seen.types
    }


METHOD = Method("whether a leader is visible: counting's share of hits of the family's leader", _said)
