"""Cross-entropy refinement of a donor: teach it, reasoning included, what the subject's own exploits look like.

A donor trained without reasoning seldom reasons toward an exploit, so routes that announce themselves stay
undersampled. Exploits found with it, weighted by p/q, are draws from the subject's distribution given an exploit;
fitting a donor to them is one step of the cross-entropy method (Rubinstein 1999; de Boer et al. 2005, eq. 6). What
was used to fit a donor must not enter an estimate made with it: draw a batch of its own for this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.training.sft import Example

MAX_SHARE = 0.1
"""most of a group's examples that one exploit may make up: a single heavy weight would be learned by heart"""


@dataclass(frozen=True, slots=True)
class WeightedExploit:
    """A verified exploit of the refinement batch."""

    group: str
    """examples are spread evenly over groups (exploit types)"""
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """reasoning and answer"""
    log_weight: float
    """log p(y) - log q(y), nats: q the mixture it was drawn from"""


def capped_shares(log_weight_N: Sequence[float], max_share: float = MAX_SHARE) -> NDArray[np.float64]:
    """Weights normalised to sum to 1, none above ``max_share`` (or 1/N where that is more).

    What is cut goes to the others in proportion to their weights, until none is above. Raises InputError without
    weights, or where one is not a finite number.
    """
    if not log_weight_N or not all(map(math.isfinite, log_weight_N)):
        raise InputError(f"log weights {list(log_weight_N)[:5]} can't be shared out: give at least one, all finite")
    log_weight = np.asarray(log_weight_N, dtype=np.float64)
    limit = max(max_share, 1 / len(log_weight))
    share = np.full(len(log_weight), limit)
    capped = np.zeros(len(log_weight), dtype=bool)
    while True:
        free = log_weight[~capped]
        rest = np.exp(free - free.max())
        share[~capped] = (1 - limit * int(capped.sum())) * rest / rest.sum()
        over = ~capped & (share > limit)
        if not over.any() or (capped | over).all():
            break
        share[over] = limit
        capped |= over
    share /= share.sum()
    return share


def refinement_examples(
    exploits: Sequence[WeightedExploit], n_per_group: int, *, max_share: float = MAX_SHARE, seed: int
) -> list[Example]:
    """``n_per_group`` (prompt, completion) examples of each group that has exploits, drawn by weight.

    Systematic resampling: an exploit of share s appears n*s times, up or down to a whole number. Raises InputError
    without any exploit of weight above 0, or where a weight is infinite or no number.
    """
    if n_per_group < 1:
        raise InputError(f"n_per_group is {n_per_group}: give at least 1")
    rng = np.random.default_rng(seed)
    groups: dict[str, list[WeightedExploit]] = {}
    for exploit in exploits:
        if math.isnan(exploit.log_weight) or exploit.log_weight == math.inf:
            raise InputError(
                f"an exploit of group {exploit.group!r} has log weight {exploit.log_weight}: "
                "weigh it by log p - log q of a mixture that can write it"
            )
        if exploit.log_weight > -math.inf:
            groups.setdefault(exploit.group, []).append(exploit)
    if not groups:
        raise InputError("no exploits to refine a donor on: draw a larger batch, or go on with the donor as it is")
    return [example for name in sorted(groups) for example in _resampled(groups[name], n_per_group, max_share, rng)]


def _resampled(
    members: Sequence[WeightedExploit], count: int, max_share: float, rng: np.random.Generator
) -> list[Example]:
    share = capped_shares([m.log_weight for m in members], max_share)
    positions = (np.arange(count) + rng.random()) / count
    chosen = np.minimum(np.searchsorted(np.cumsum(share), positions), len(members) - 1)
    return [(members[i].prompt_ids, members[i].token_ids) for i in chosen]


def pooled(batches: Sequence[Sequence[WeightedExploit]]) -> list[WeightedExploit]:
    """The exploits of several batches as those of one; a single batch is left as it is.

    Within a group every batch counts by the effective number of its exploits, whatever its weights are in sum: a later
    batch, drawn with a better donor, says more than one whose few hits are heavy.
    """
    if len(batches) == 1:
        return list(batches[0])
    return [exploit for batch in batches for exploit in _levelled(batch)]


def _levelled(batch: Sequence[WeightedExploit]) -> list[WeightedExploit]:
    """A batch whose weights sum, in each group, to their effective number."""
    moved = {
        name: math.log(effective) - float(np.logaddexp.reduce(weights))
        for name, weights in _finite_by_group(batch).items()
        for effective in [_effective(weights)]
    }
    return [replace(exploit, log_weight=exploit.log_weight + moved.get(exploit.group, 0.0)) for exploit in batch]


def effective_by_group(exploits: Sequence[WeightedExploit]) -> dict[str, float]:
    """Effective number of each group's exploits by their weights, (sum w)^2 / sum w^2, for a report."""
    return {name: _effective(weights) for name, weights in _finite_by_group(exploits).items()}


def _effective(log_weights: NDArray[np.float64]) -> float:
    return float(np.exp(2 * np.logaddexp.reduce(log_weights) - np.logaddexp.reduce(2 * log_weights)))


def _finite_by_group(exploits: Sequence[WeightedExploit]) -> dict[str, NDArray[np.float64]]:
    held: dict[str, list[float]] = {}
    for exploit in exploits:
        if math.isfinite(exploit.log_weight):
            held.setdefault(exploit.group, []).append(exploit.log_weight)
    return {name: np.array(weights) for name, weights in held.items()}


def found_by_group(exploits: Sequence[WeightedExploit]) -> Mapping[str, int]:
    """Exploits of each group, for a report."""
    counts: dict[str, int] = {}
    for exploit in exploits:
        counts[exploit.group] = counts.get(exploit.group, 0) + 1
    return counts
