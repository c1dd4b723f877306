"""The laws catch engines that break them: real engines behind a wrapper that does one thing wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forewarn.engines.base import Sample
from forewarn.engines.check.draws import frequencies, support
from forewarn.engines.check.laws import (
    batched_against_single,
    differences,
    engine_against_engine,
    sample_then_score,
)
from forewarn.engines.transformers.engine import HFEngine
from forewarn.records import Policy
from tests.engines.tiny import tiny_model

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8]]
TRUNCATING = [Policy(top_k=3), Policy(top_p=0.6), Policy(min_p=0.3), Policy(temperature=0.7, top_p=0.9, top_k=6)]


class Faulty:
    """An engine with a fault in what it is asked or in what it answers."""

    def __init__(
        self,
        policy: Callable[[Policy], Policy] = lambda p: p,
        scores: Callable[[list[np.ndarray]], list[np.ndarray]] = lambda s: s,
        sampled: Callable[[Policy], Policy] = lambda p: p,
    ) -> None:
        self._engine = HFEngine(tiny_model())
        self._policy, self._scores, self._sampled = policy, scores, sampled
        self.vocab_size = self._engine.vocab_size

    def sample(self, prompts: Sequence[Sequence[int]], *, policy: Policy, **arguments: Any) -> list[Sample]:
        return self._engine.sample(prompts, policy=self._sampled(policy), **arguments)

    def score(self, prompts: Any, continuations: Any, *, policy: Policy, adapter: str | None = None) -> Any:
        return self._scores(self._engine.score(prompts, continuations, policy=self._policy(policy)))


def test_an_engine_that_scores_at_another_temperature_is_caught() -> None:
    policy = Policy(temperature=0.8)
    cold: Any = Faulty(policy=lambda p: replace(p, temperature=1.0))
    arguments: dict[str, Any] = {"policy": policy, "stop_ids": (), "n": 20, "max_new_tokens": 20, "seed": 1}
    good = sample_then_score(HFEngine(tiny_model()), PROMPTS, **arguments).differences
    bad = sample_then_score(cold, PROMPTS, **arguments).differences
    assert good.rate_factor < 1.0001
    assert good.n_tokens == bad.n_tokens == 3 * 20 * 20
    assert bad.rate_factor > 1.5
    assert bad.worst_token > 0.05
    assert bad.worst_prefix > 1
    between = engine_against_engine(HFEngine(tiny_model()), cold, [[1, 2]] * 2, [[3, 4, 5], [6]], policy=policy)
    assert between.n_tokens == 4
    assert between.worst_token > 0.01
    assert frequencies(cold, [1, 2, 3], policy=policy, n=20_000, seed=3).p_value < 1e-6  # type: ignore[operator]
    assert frequencies(HFEngine(tiny_model()), [1, 2, 3], policy=policy, n=20_000, seed=3).p_value > 1e-3  # type: ignore[operator]


def test_rows_that_depend_on_their_batch_are_caught() -> None:
    def leak(scores: list[np.ndarray]) -> list[np.ndarray]:
        return [score + 0.01 * len(scores) for score in scores]

    found = batched_against_single(Faulty(scores=leak), PROMPTS, [[1, 2], [3], [4]], policy=Policy())  # type: ignore[arg-type]
    # Beside the leak, what f32 rounds differently in a batch: below 1e-5 nats a token, more or less of it by processor.
    assert found.worst_token == pytest.approx(0.02, abs=1e-5)
    assert found.bias == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize("policy", TRUNCATING)
def test_truncation_that_the_score_ignores_is_caught(policy: Policy) -> None:
    good = support(HFEngine(tiny_model()), [5, 6], policy=policy, n=500, seed=2)
    assert good.holds, good
    assert good.n_inside < good.n_tokens
    assert good.mass == pytest.approx(1, abs=1e-4)
    full = Policy(temperature=policy.temperature)
    narrow: Any = Faulty(policy=lambda p: p if p == full else replace(full, top_k=1))
    assert support(narrow, [5, 6], policy=policy, n=500, seed=2).n_drawn_outside > 100
    deaf: Any = Faulty(policy=lambda p: full)
    bad = support(deaf, [5, 6], policy=policy, n=500, seed=2)
    assert bad.n_inside == bad.n_tokens
    assert not bad.holds, "it draws from the truncated policy and scores the full one"
    assert bad.worst_gap > 0.05
    indifferent: Any = Faulty(policy=lambda p: full, sampled=lambda p: full)
    ignored = support(indifferent, [5, 6], policy=policy, n=500, seed=2)
    assert ignored.n_excess > 0
    assert not ignored.holds, "draws and scores agree, but the policy is another"
    silent: Any = Faulty(sampled=lambda p: full if p == policy else p)
    assert not support(silent, [5, 6], policy=policy, n=500, seed=2).holds
    unnormalised: Any = Faulty(scores=lambda scores: [0.5 * s for s in scores])
    assert not support(unnormalised, [5, 6], policy=policy, n=500, seed=2).holds


def test_draws_outside_the_support_are_counted() -> None:
    narrow: Any = Faulty(policy=lambda p: replace(p, top_k=2))
    found = frequencies(narrow, [1, 2, 3], policy=Policy(), n=2_000, seed=3)
    assert found.n_outside > 100
    arguments: dict[str, Any] = {"policy": Policy(), "stop_ids": (), "n": 20, "max_new_tokens": 5, "seed": 1}
    assert sample_then_score(narrow, PROMPTS, **arguments).differences.n_support > 10


def test_what_a_difference_does_to_a_weight() -> None:
    rng = np.random.default_rng(0)
    truth = [rng.normal(-2, 1, 200) for _ in range(50)]
    biased = differences([row + 1e-3 for row in truth], truth)
    assert biased.bias == pytest.approx(0.1)
    assert biased.weight_factor == pytest.approx(np.exp(0.1))
    assert biased.worst_prefix == pytest.approx(0.2)
    noisy = differences([row + rng.normal(0, 0.01, 200) for row in truth], truth)
    assert noisy.spread == pytest.approx(0.1, rel=0.05)
    assert abs(noisy.bias) < 4 * noisy.bias_error
    assert differences([], []).rate_factor == 1
