"""The laws of an engine as assertions. A new engine's tests call these with a small real model behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forewarn.engines.base import Engine, Sample
from forewarn.engines.check.draws import frequencies, support
from forewarn.engines.check.laws import batched_against_single, sample_then_score
from forewarn.records import Policy

N_TOKENS = 12


def check_sample_then_score(
    engine: Engine, prompts: Sequence[Sequence[int]], policy: Policy, stop_ids: Sequence[int], tolerance: float = 1e-4
) -> list[Sample]:
    """Scoring a sample gives its own log-probs back (nats)."""
    drawn = sample_then_score(engine, prompts, policy=policy, stop_ids=stop_ids, n=4, max_new_tokens=N_TOKENS, seed=11)
    assert len(drawn.samples) == 4 * len(prompts)
    for sample, score in zip(drawn.samples, drawn.scores, strict=True):
        assert score.dtype == np.float64
        assert len(sample.token_ids) == len(sample.log_probs) == len(score)
        assert np.isfinite(score).all()
        stops = [token in stop_ids for token in sample.token_ids]
        assert not any(stops[:-1])
        assert (sample.finish == "stop") == (bool(stops) and stops[-1])
        assert sample.finish == "stop" or len(sample.token_ids) == N_TOKENS
    assert drawn.differences.worst_token <= tolerance
    assert drawn.differences.n_support == 0
    return list(drawn.samples)


def check_batch_is_single(
    engine: Engine, prompts: Sequence[Sequence[int]], policy: Policy, tolerance: float = 1e-4
) -> None:
    """A batch of unequal rows scores as its rows do one by one."""
    continuations = [tuple(reversed(prompt))[: 1 + i] for i, prompt in enumerate(prompts)]
    found = batched_against_single(engine, prompts, continuations, policy=policy)
    assert found.n_tokens == sum(map(len, continuations))
    assert found.worst_token <= tolerance
    assert found.n_support == 0


def check_frequencies(engine: Engine, prompt: Sequence[int], policy: Policy, n: int) -> float:
    """p-value of a chi-square test of n two-token samples against their scored probabilities."""
    found = frequencies(engine, prompt, policy=policy, n=n, seed=5)
    assert found.n_outside == 0, "a token outside the policy's support was drawn"
    assert found.p_value is not None
    return found.p_value


def check_support(engine: Engine, prompt: Sequence[int], policy: Policy, n: int) -> None:
    """A truncating policy's density is the truncated, renormalised one."""
    found = support(engine, prompt, policy=policy, n=n, seed=6)
    assert 0 < found.n_inside < found.n_tokens, "the policy must leave something out for this to be a test"
    assert found.holds, found
