"""The laws of an engine. A new engine's tests call these with a small real model behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from forewarn.models.base import Engine, Sample
from forewarn.records import Policy


def check_sample_then_score(
    engine: Engine, prompts: Sequence[Sequence[int]], policy: Policy, stop_ids: Sequence[int], tolerance: float = 1e-4
) -> list[Sample]:
    """Scoring a sample gives its own log-probs back (nats)."""
    samples = engine.sample(prompts, policy=policy, seed=11, max_new_tokens=12, stop_ids=stop_ids, n=4)
    assert len(samples) == 4 * len(prompts)
    spread = [prompt for prompt in prompts for _ in range(4)]
    scores = engine.score(spread, [sample.token_ids for sample in samples], policy=policy)
    for sample, score in zip(samples, scores, strict=True):
        assert score.dtype == np.float64
        assert len(sample.token_ids) == len(sample.log_probs) == len(score)
        np.testing.assert_allclose(score, sample.log_probs, rtol=0, atol=tolerance)
        stops = [token in stop_ids for token in sample.token_ids]
        assert not any(stops[:-1])
        assert (sample.finish == "stop") == (bool(stops) and stops[-1])
        assert sample.finish == "stop" or len(sample.token_ids) == 12
    return samples


def check_batch_is_single(
    engine: Engine, prompts: Sequence[Sequence[int]], policy: Policy, tolerance: float = 1e-4
) -> None:
    """A batch of unequal rows scores as its rows do one by one."""
    continuations = [tuple(reversed(prompt))[: 1 + i] for i, prompt in enumerate(prompts)]
    together = engine.score(prompts, continuations, policy=policy)
    for prompt, continuation, score in zip(prompts, continuations, together, strict=True):
        alone = engine.score([prompt], [continuation], policy=policy)[0]
        np.testing.assert_allclose(score, alone, rtol=0, atol=tolerance)


def check_frequencies(
    engine: Engine, prompt: Sequence[int], policy: Policy, vocab_size: int, n: int, *, likely: int | None = None
) -> float:
    """p-value of a chi-square test of n two-token samples against their enumerated probabilities.

    ``likely``: enumerate the pairs that begin with this many likeliest tokens, the rest being one class.
    """
    first = np.exp(engine.score([prompt] * vocab_size, [(a,) for a in range(vocab_size)], policy=policy)).reshape(-1)
    alive = [a for a in range(vocab_size) if first[a] > 0]
    if likely is not None:
        alive = np.argsort(-first)[:likely].tolist()
    pairs = [(a, b) for a in alive for b in range(vocab_size)]
    log_probs = engine.score([prompt] * len(pairs), pairs, policy=policy)
    expected = n * np.exp([row.sum() for row in log_probs])
    np.testing.assert_allclose(expected.sum(), n * first[alive].sum(), rtol=1e-4)
    samples = engine.sample([prompt], policy=policy, seed=5, max_new_tokens=2, stop_ids=(), n=n)
    index = {pair: i for i, pair in enumerate(pairs)}
    observed = np.zeros(len(pairs))
    for sample in samples:
        place = index.get((sample.token_ids[0], sample.token_ids[1]))
        assert place is not None or likely is not None, "a token outside the policy's support was drawn"
        if place is not None:
            observed[place] += 1
    assert not observed[expected == 0].any(), "a token outside the policy's support was drawn"
    rare = expected < 5  # pooled, as the chi-square approximation asks
    cells = [(observed[~rare], expected[~rare])] + (
        [(observed[rare].sum(), expected[rare].sum())] if rare.any() else []
    )
    if likely is not None:
        cells.append((n - observed.sum(), n - expected.sum()))
    seen = np.concatenate([np.atleast_1d(o) for o, _ in cells])
    due = np.concatenate([np.atleast_1d(e) for _, e in cells])
    keep = due > 0
    return float(stats.chisquare(seen[keep], due[keep] * seen[keep].sum() / due[keep].sum()).pvalue)
