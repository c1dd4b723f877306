"""Checks an engine's draws: tokens appear as often as their scored probabilities say, and never outside the support.

Companion of ``laws.py``, which compares log-probabilities. Each function runs an engine and returns figures.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from forewarn.engines.base import Engine, Ids
from forewarn.records import Policy

Floats = NDArray[np.float64]
MIN_P_VALUE = 1e-4
"""p-value below which draws do not match the scored probabilities"""


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Token frequencies compared with scored probabilities."""

    n: int
    n_cells: int
    p_value: float | None
    """p-value of a chi-square test; None if too few outcomes are likely enough to test"""
    n_outside: int
    """draws that the score calls impossible"""


def frequencies(
    engine: Engine, prompt: Ids, *, policy: Policy, n: int, seed: int, adapter: str | None = None, length: int = 2
) -> Frequencies:
    """Test whether ``n`` samples of ``length`` tokens are drawn as often as their scored probabilities say.

    The outcomes of a first draw are the cells of the test on a second one; all other outcomes form one more cell. So
    the vocabulary need not be enumerated.
    """
    pilot, fresh = (
        Counter(
            sample.token_ids
            for sample in engine.sample(
                [prompt], policy=policy, seed=seed + i, max_new_tokens=length, stop_ids=(), n=n, adapter=adapter
            )
        )
        for i in range(2)
    )
    outcomes = sorted(pilot.keys() | fresh.keys())
    scores = engine.score([prompt] * len(outcomes), outcomes, policy=policy, adapter=adapter)
    probability = {ids: math.exp(float(score.sum())) for ids, score in zip(outcomes, scores, strict=True)}
    n_outside = sum(fresh[ids] + pilot[ids] for ids in outcomes if probability[ids] == 0)
    cells = [ids for ids in sorted(pilot) if n * probability[ids] >= 5]
    observed = np.array([fresh[ids] for ids in cells], dtype=np.float64)
    expected = np.array([n * probability[ids] for ids in cells])
    n_cells, p_value = _chi_square(observed, expected, n)
    return Frequencies(n, n_cells, p_value, n_outside)


@dataclass(frozen=True, slots=True)
class Support:
    """Whether a truncating policy's density is the truncated, renormalised one."""

    policy: Policy
    n_tokens: int
    """tokens whose density was examined, at one position"""
    n_inside: int
    n_drawn_outside: int
    """sampled tokens that the score calls impossible"""
    n_misplaced: int
    """tokens inside the support that are less likely than one outside"""
    n_excess: int
    """tokens inside the support that the policy leaves out, by the full policy's log-probs"""
    worst_constant: float
    """nats: largest deviation of log-probs inside the support from the full policy's plus a constant"""
    worst_gap: float
    """nats: largest difference between scored log-probs and those given when sampled"""
    mass: float
    """sum of the examined probabilities inside the support: at most 1"""
    p_value: float | None
    """p-value of a chi-square test of the draws; None if too few outcomes are likely enough to test"""

    @property
    def holds(self) -> bool:
        counts = self.n_drawn_outside == self.n_misplaced == self.n_excess == 0
        densities = max(self.worst_constant, self.worst_gap) < 0.01 and self.mass < 1.001
        return counts and densities and (self.p_value is None or self.p_value > MIN_P_VALUE)


def support(engine: Engine, prompt: Ids, *, policy: Policy, n: int, seed: int, adapter: str | None = None) -> Support:
    """Compare a truncating policy's log-probs of single tokens with those at the same temperature without truncation.

    The tokens examined are those of ``n`` draws from each of the two policies.
    """
    full = Policy(temperature=policy.temperature)
    drawn = [
        engine.sample([prompt], policy=p, seed=seed + i, max_new_tokens=1, stop_ids=(), n=n, adapter=adapter)
        for i, p in enumerate((policy, full))
    ]
    tokens = sorted({sample.token_ids for samples in drawn for sample in samples})
    scores = [
        np.array([float(row[0]) for row in engine.score([prompt] * len(tokens), tokens, policy=p, adapter=adapter)])
        for p in (policy, full)
    ]
    inside = np.isfinite(scores[0])
    scored = dict(zip(tokens, scores[0].tolist(), strict=True))
    constant = scores[0][inside] - scores[1][inside]
    edge = scores[1][~inside].max() if (~inside).any() else -math.inf
    kept = [sample for sample in drawn[0] if math.isfinite(scored[sample.token_ids])]
    counts = Counter(sample.token_ids for sample in drawn[0])
    likely = [token for token in tokens if n * math.exp(scored[token]) >= 5]
    observed = np.array([float(counts[token]) for token in likely])
    return Support(
        policy=policy,
        n_tokens=len(tokens),
        n_inside=int(inside.sum()),
        n_drawn_outside=n - len(kept),
        n_misplaced=int((scores[1][inside] < edge).sum()),
        n_excess=_excess(np.exp(scores[1][inside]), policy),
        worst_constant=float(np.abs(constant - np.median(constant)).max()) if inside.any() else 0.0,
        worst_gap=max((abs(sample.log_probs[0] - scored[sample.token_ids]) for sample in kept), default=0.0),
        mass=float(np.exp(scores[0][inside]).sum()),
        p_value=_chi_square(observed, np.array([n * math.exp(scored[token]) for token in likely]), n)[1],
    )


def _excess(probability_inside: Floats, policy: Policy) -> int:
    """Return tokens that the policy must leave out: beyond the k likeliest, a mass of top_p, or min_p's threshold."""
    ordered = np.sort(probability_inside)[::-1]
    before = np.cumsum(ordered) - ordered
    out = before >= policy.top_p + 1e-3
    if policy.top_k > 0:
        out |= np.arange(len(ordered)) >= policy.top_k
    if len(ordered):
        out |= ordered < ordered[0] * policy.min_p * 0.999
    return int(out.sum())


def _chi_square(observed: Floats, expected: Floats, n: int) -> tuple[int, float | None]:
    """Return (cells, p-value) of counts against expected ones; the rest of the ``n`` draws form one more cell."""
    rest = n - float(expected.sum())
    if rest >= 5:
        observed, expected = np.append(observed, n - observed.sum()), np.append(expected, rest)
    if len(expected) < 2:
        return len(expected), None
    if not observed.any():
        return len(expected), 0.0
    expected = expected * (observed.sum() / expected.sum())
    return len(expected), float(stats.chisquare(observed, expected).pvalue)
