"""Measures an engine's log-probs: whether they are exact enough to give importance weights.

Each function runs an engine and returns figures; the decision is made in ``check.py``. The engines' tests and
``forewarn engine check`` call the same functions. Not here: how often tokens are drawn (``draws.py``), prompts,
printing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.engines.base import Engine, Ids, Sample
from forewarn.records import Policy

Floats = NDArray[np.float64]
BLOCK = 100
"""tokens over which differences are summed: about one completion"""


@dataclass(frozen=True, slots=True)
class Differences:
    """Differences between two log-probabilities of the same tokens (nats)."""

    n_tokens: int
    worst_token: float
    """largest difference at one token"""
    worst_prefix: float
    """largest summed difference of a completion's first tokens, over all completions and lengths"""
    bias: float
    """mean difference times ``BLOCK``: the systematic error of a completion of that many tokens"""
    bias_error: float
    """standard error of ``bias``"""
    spread: float
    """standard deviation times the square root of ``BLOCK``: the random error of such a completion"""
    n_support: int
    """tokens that only one of the two calls impossible"""

    @property
    def weight_factor(self) -> float:
        """The error of a weight of a completion of ``BLOCK`` tokens, as a factor of at least 1."""
        return _exp(abs(self.bias) + self.spread)

    @property
    def rate_factor(self) -> float:
        """The same for an estimated rate: over many weights the random part contributes its mean, exp(spread^2 / 2)."""
        return _exp(abs(self.bias) + self.spread**2 / 2)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def differences(first: Sequence[Floats], second: Sequence[Floats]) -> Differences:
    """Compare log-probs of the same completions, token by token; tokens that both call impossible count as equal."""
    worst_prefix, n_support, all_rows = 0.0, 0, [np.empty(0)]
    for a, b in zip(first, second, strict=True):
        impossible = np.isneginf(a) | np.isneginf(b)
        n_support += int((np.isneginf(a) != np.isneginf(b)).sum())
        row = np.where(impossible, 0.0, np.where(impossible, 0.0, a) - np.where(impossible, 0.0, b))
        all_rows.append(row)
        if len(row):
            worst_prefix = max(worst_prefix, float(np.abs(np.cumsum(row)).max()))
    tokens = np.concatenate(all_rows)
    if not len(tokens):
        return Differences(0, 0.0, 0.0, 0.0, 0.0, 0.0, n_support)
    deviation = float(tokens.std())
    return Differences(
        n_tokens=len(tokens),
        worst_token=float(np.abs(tokens).max()),
        worst_prefix=worst_prefix,
        bias=BLOCK * float(tokens.mean()),
        bias_error=BLOCK * deviation / math.sqrt(len(tokens)),
        spread=math.sqrt(BLOCK) * deviation,
        n_support=n_support,
    )


@dataclass(frozen=True, slots=True)
class ScoredDraws:
    """Samples, their scores, and how long both took."""

    prompts: tuple[Ids, ...]
    """one prompt per sample"""
    samples: tuple[Sample, ...]
    scores: tuple[Floats, ...]
    sample_s: float
    score_s: float

    @property
    def continuations(self) -> list[tuple[int, ...]]:
        return [sample.token_ids for sample in self.samples]

    @property
    def differences(self) -> Differences:
        """Scored against sampled: zero if the engine scores the distribution that it samples from."""
        return differences(self.scores, [np.array(sample.log_probs, dtype=np.float64) for sample in self.samples])

    @property
    def n_tokens(self) -> int:
        return sum(len(sample.token_ids) for sample in self.samples)


def sample_then_score(
    engine: Engine,
    prompts: Sequence[Ids],
    *,
    policy: Policy,
    stop_ids: Sequence[int],
    n: int,
    max_new_tokens: int,
    seed: int,
    adapter: str | None = None,
) -> ScoredDraws:
    """Draw ``n`` completions of each prompt and score them."""
    start = time.perf_counter()
    samples = engine.sample(
        prompts, policy=policy, seed=seed, max_new_tokens=max_new_tokens, stop_ids=stop_ids, n=n, adapter=adapter
    )
    middle = time.perf_counter()
    spread = [prompt for prompt in prompts for _ in range(n)]
    scores = engine.score(spread, [sample.token_ids for sample in samples], policy=policy, adapter=adapter)
    end = time.perf_counter()
    return ScoredDraws(tuple(spread), tuple(samples), tuple(scores), middle - start, end - middle)


def batched_against_single(
    engine: Engine,
    prompts: Sequence[Ids],
    continuations: Sequence[Ids],
    *,
    policy: Policy,
    adapter: str | None = None,
) -> Differences:
    """Compare the same rows scored in one call and one by one."""
    together = engine.score(prompts, continuations, policy=policy, adapter=adapter)
    alone = [
        engine.score([prompt], [continuation], policy=policy, adapter=adapter)[0]
        for prompt, continuation in zip(prompts, continuations, strict=True)
    ]
    return differences(together, alone)


def engine_against_engine(
    first: Engine,
    second: Engine,
    prompts: Sequence[Ids],
    continuations: Sequence[Ids],
    *,
    policy: Policy,
    adapter: str | None = None,
) -> Differences:
    """Compare the same rows scored by two engines."""
    scores = [engine.score(prompts, continuations, policy=policy, adapter=adapter) for engine in (first, second)]
    return differences(scores[0], scores[1])
