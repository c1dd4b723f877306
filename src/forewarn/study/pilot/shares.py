"""From a pilot's hits to counts a problem: the guarded rule over neighbouring windows, merged over checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.estimation import donor_key
from forewarn.estimation.allocation import SHARE_OWN, PilotHits, guarded_shares, planned_counts
from forewarn.records import Span

Floats = NDArray[np.float64]


def merged_shares(hits: Sequence[PilotHits], spans: Sequence[Span], cost_S: Floats | None) -> Floats:
    """Shares of one exploit type's spans, brute force first: the guarded rule's at each checkpoint, averaged.

    ``hits``: of each checkpoint; one without hits counts with equal shares, and so does a pilot that has none yet.
    ``cost_S``: tokens of a completion of each span.
    """
    order, group = neighbours(spans)
    cost = None if cost_S is None else cost_S[order]
    found = []
    for own in hits or [PilotHits(np.zeros((0, len(spans))), np.zeros(0), 0)]:
        ordered = PilotHits(own.log_ratio_HS[:, order], own.log_part_H, own.n)
        share = np.empty(len(spans))
        share[order] = guarded_shares(ordered, cost_S=cost, group_S=group)
        found.append(share)
    return np.asarray(np.mean(found, axis=0))


def neighbours(spans: Sequence[Span]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order of the columns in which neighbouring windows of one donor follow each other, brute force first, and in
    that order the code of each column's group."""
    keys = [_group(span) for span in spans]
    names = sorted(set(keys))
    order = sorted(range(len(spans)), key=lambda i: (spans[i].writes, keys[i], _place(spans[i])))
    return np.array(order, dtype=np.int64), np.array([names.index(keys[i]) for i in order], dtype=np.int64)


def _group(span: Span) -> tuple[str, ...]:
    """Windows that differ only in where they are and how long: one donor's, from one anchor, in the same channels."""
    if not span.writes:
        return ("",)
    channels = ("reasoning" * (span.k > 0), "answer" * (span.m > 0))
    random = span.random
    kind = "" if random is None else f"{random.channel} {random.bursts} {random.length}"
    return (donor_key(span), span.anchor or "", *channels, kind)


def _place(span: Span) -> tuple[float, ...]:
    mean = 0.0 if span.random is None else span.random.mean
    return (span.k0, span.m0, span.k, span.m, mean)


def counts_of(share_S: Floats, n: int) -> NDArray[np.int64]:
    """Whole counts a problem near ``share_S * n`` that sum to ``n``, brute force first and never below its floor.

    Each span has at least one completion a problem where ``n`` reaches for that (``least_completions``). Where it
    doesn't, the spans with the largest shares have one each beside brute force, and the others none.
    """
    n_own = _floor(n)
    if n < least_completions(len(share_S)):
        count = np.zeros(len(share_S), dtype=np.int64)
        count[1 + np.argsort(-share_S[1:], kind="stable")[: n - n_own]] = 1
        count[0] = n_own
        return count
    count = planned_counts(share_S, n)
    while count[0] < n_own:
        count[1 + int(np.argmax(count[1:]))] -= 1
        count[0] += 1
    return count


def least_completions(n_span: int) -> int:
    """The fewest completions a problem that give each span one and brute force its floor."""
    n = n_span
    while n - _floor(n) < n_span - 1:
        n += 1
    return n


def _floor(n: int) -> int:
    """Brute force's completions among ``n``, at least."""
    return max(1, math.ceil(SHARE_OWN * n - 1e-9))
