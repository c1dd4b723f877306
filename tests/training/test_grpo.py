"""GRPO against by-hand numpy, brute-force log-probabilities, PEFT's own merge, and a problem it must solve."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.training.grpo import GRPO, Rollout, advantages, chosen, copy_merged, policy_loss, with_lora
from tests.engines.tiny import VOCAB, tiny_model

PAD = 0
ROLLOUTS = [
    Rollout((1, 2, 3), (4, 5), 0, 1.0),
    Rollout((1, 2, 3), (6, 7, 8, 9, 10), 0, 0.0),
    Rollout((9,), (PAD, 2, PAD), 1, 1.0),  # a real token may equal the pad
    Rollout((9,), (3,), 1, None),
    Rollout((9,), (4, 1, 1, 2), 1, 0.0),
    Rollout((5, 5), (1, 2), 2, 1.0),
    Rollout((5, 5), (2, 1), 2, 1.0),
]


def lora_model(seed: int = 0) -> Any:
    """A LoRA that changes something: PEFT's starts at zero."""
    model = with_lora(tiny_model("llama"), rank=3, alpha=6, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


GROUPS = st.lists(st.tuples(st.floats(-5, 5, width=32), st.integers(0, 4)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(GROUPS)
def test_advantages_by_hand(rows: list[tuple[float, int]]) -> None:
    reward, group = (np.array(column) for column in zip(*rows, strict=True))
    wanted = np.zeros(len(rows))
    for g in set(group.tolist()):
        mine = reward[group == g]
        if len(set(mine.tolist())) > 1:
            wanted[group == g] = (mine - mine.mean()) / mine.std()
    found = advantages(torch.tensor(reward, dtype=torch.float64), torch.tensor(group)).numpy()
    usable = np.array([np.ptp(reward[group == g]) > 1e-6 or np.ptp(reward[group == g]) == 0 for g in group])
    np.testing.assert_allclose(found[usable], wanted[usable], rtol=1e-5, atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(st.floats(-1, 1, width=32), st.integers(1, 40))
def test_equal_rewards_give_exactly_no_advantage(reward: float, n: int) -> None:
    assert not advantages(torch.full((n,), reward), torch.zeros(n, dtype=torch.long)).any()


def test_policy_loss_and_gradient_are_those_of_every_token_on_its_own() -> None:
    advantage = torch.tensor([0.7, -1.3, 2.0, 0.4, -0.6, 0.0, 1.1])
    model = lora_model()
    loss = policy_loss(model, ROLLOUTS, advantage, PAD)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert found

    plain = lora_model()
    total = torch.zeros(())
    for rollout, weight in zip(ROLLOUTS, advantage, strict=True):
        ids = list(rollout.prompt_ids)
        for token in rollout.token_ids:
            log_probs = torch.log_softmax(plain(input_ids=torch.tensor([ids])).logits[0, -1], dim=-1)
            total = total - weight * log_probs[token]
            ids.append(token)
    total.backward()
    assert float(loss.detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            np.testing.assert_allclose(found[name].numpy(), parameter.grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=name)


def test_copy_merged_is_pefts_own_merge() -> None:
    model = lora_model()
    target = tiny_model("llama")
    before = copy.deepcopy(target.state_dict())
    for _ in range(3):  # repeated, as in training: nothing piles up
        copy_merged(model, target)
    wanted = copy.deepcopy(model).merge_and_unload().state_dict()
    found = target.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert len(changed) == 2 * 7, "all seven linear layers of both blocks"


def test_a_lora_depends_on_its_seed_and_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, same, other = (trained(with_lora(tiny_model("llama"), rank=2, alpha=4, seed=s)) for s in (5, 5, 6))
    torch.random.set_rng_state(state)
    with_lora(copy.deepcopy(PLAIN), rank=2, alpha=4, seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


PLAIN = tiny_model("llama")


def test_a_step_counts_what_carries_a_gradient_and_its_passes_do_not_matter() -> None:
    whole, cut = lora_model(), lora_model()
    start = trained(whole)
    assert GRPO(whole, lr=1e-2, pad_id=PAD).step(ROLLOUTS) == 4, "the broken one and the even group are left out"
    assert GRPO(cut, lr=1e-2, pad_id=PAD, max_rows=1).step(ROLLOUTS) == 4
    for name, value in trained(whole).items():
        assert not torch.equal(value, start[name])
        np.testing.assert_allclose(trained(cut)[name].numpy(), value.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "rollouts",
    [[], [Rollout((1,), (2,), 0, None)], ROLLOUTS[-2:], [Rollout((1,), (2,), 0, 0.1)] * 3],
    ids=["none", "all broken", "even", "even, not binary"],
)
def test_a_step_without_a_signal_changes_nothing(rollouts: list[Rollout]) -> None:
    model = lora_model()
    start = trained(model)
    assert GRPO(model, lr=1e-2, pad_id=PAD).step(rollouts) == 0
    assert all(torch.equal(value, start[name]) for name, value in trained(model).items())


def test_a_rewarded_token_becomes_likely() -> None:
    model = with_lora(tiny_model("llama"), rank=4, alpha=8, seed=1)
    sampled = tiny_model("llama")
    learner = GRPO(model, lr=2e-2, pad_id=PAD)
    generator = torch.Generator().manual_seed(3)
    prompts = [(1, 2), (3,)]

    def distribution(prompt: tuple[int, ...]) -> torch.Tensor:
        copy_merged(model, sampled)
        with torch.no_grad():
            return torch.softmax(sampled(input_ids=torch.tensor([prompt])).logits[0, -1], dim=-1)

    # the rarest token that a group of 64 still sees
    start = torch.stack([distribution(p) for p in prompts]).amin(0)
    rewarded = min((t for t in range(VOCAB) if start[t] > 0.03), key=lambda t: float(start[t]))
    assert start[rewarded] < 0.3
    path = [float(start[rewarded])]
    for _ in range(20):
        rollouts = []
        for group, prompt in enumerate(prompts):
            drawn = torch.multinomial(distribution(prompt), 64, replacement=True, generator=generator).tolist()
            rollouts += [Rollout(prompt, (token,), group, float(token == rewarded)) for token in drawn]
        learner.step(rollouts)
        path.append(min(float(distribution(prompt)[rewarded]) for prompt in prompts))
    assert path[-1] > max(0.5, 8 * path[0]), path
    assert path[0] < path[5] < path[-1]


def test_a_sample_of_the_completions_has_the_gradient_of_all_as_its_expectation() -> None:
    size = torch.tensor([0.0, 5.0, 0.2, 0.2, 0.2, 0.4, 0.0, 1.0, 0.2, 0.3])
    value = torch.tensor([9.0, 2.0, -1.0, 4.0, 0.5, 3.0, 9.0, -2.0, 1.0, 7.0])
    n = 2000
    sums, counts = torch.zeros(n), torch.zeros(len(size))
    for seed in range(n):
        rows, factor = chosen(size, 4, seed)
        assert len(rows) == len(set(rows)) == 4
        sums[seed] = (value[rows] * factor).sum()
        counts[rows] += 1
    assert counts[[0, 6]].tolist() == [0, 0], "rows of size 0 add nothing and are never taken"
    assert counts[1] == n, "a row that outweighs the others is always taken"
    expected = float(value[size > 0].sum())
    assert abs(float(sums.mean()) - expected) < 4 * float(sums.std()) / n**0.5
    assert float(counts[5] / counts[2]) == pytest.approx(2.0, rel=0.1), "in proportion to size"


def test_few_completions_are_all_taken_as_they_are() -> None:
    rows, factor = chosen(torch.tensor([0.0, 1.0, 3.0]), 2, seed=1)
    assert (rows, factor.tolist()) == ([1, 2], [1.0, 1.0])


def test_a_sampled_step_moves_on_average_as_the_whole_one() -> None:
    rollouts = [Rollout((1, 2), (3 + i % 7, 4), i % 2, float(i % 3 == 0)) for i in range(24)]

    def moved(most: int | None, seed: int) -> torch.Tensor:
        model = lora_model()
        before = trained(model)
        GRPO(model, lr=0.1, pad_id=PAD, optimizer="sgd", most_rollouts=most).step(rollouts, seed)
        return torch.cat([(trained(model)[name] - before[name]).flatten() for name in before])

    whole = moved(None, 0)
    mean = torch.stack([moved(8, seed) for seed in range(60)]).mean(0)
    one = moved(8, 0)
    assert float((mean - whole).norm() / whole.norm()) < 0.3 * float((one - whole).norm() / whole.norm())


def test_the_divergence_pulls_back_to_the_base_and_is_none_at_it() -> None:
    equal = [Rollout((1, 2, 3), (4, 5), 0, 1.0), Rollout((1, 2, 3), (6, 7), 0, 1.0)]
    at_base = with_lora(tiny_model("llama"), rank=3, alpha=6, seed=1)
    before = trained(at_base)
    assert GRPO(at_base, lr=1.0, pad_id=PAD, optimizer="sgd", kl=1.0).step(equal) == 2
    for name, value in trained(at_base).items():
        torch.testing.assert_close(value, before[name], atol=1e-6, rtol=0)

    away = lora_model()
    learner = GRPO(away, lr=0.5, pad_id=PAD, optimizer="sgd", kl=1.0)

    def divergence() -> float:
        no_advantage = torch.zeros(2)
        with torch.no_grad():
            return float(policy_loss(away, equal, no_advantage, PAD, torch.ones(2)))

    first = divergence()
    for _ in range(20):
        learner.step(equal)
    assert 0 <= divergence() < 0.5 * first
    untouched = lora_model()
    assert GRPO(untouched, lr=0.5, pad_id=PAD, optimizer="sgd").step(equal) == 0, "without it, nothing to learn"


def test_the_divergence_is_the_estimators_sum_by_hand() -> None:
    model = lora_model()
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    found = float(policy_loss(model, ROLLOUTS, torch.zeros(7), PAD, weight).detach())
    total = 0.0
    for rollout, w in zip(ROLLOUTS, weight, strict=True):
        ids = list(rollout.prompt_ids)
        for token in rollout.token_ids:
            with torch.no_grad():
                mine = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], -1)[token]
                with model.disable_adapter():
                    base = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], -1)[token]
            ratio = float((base - mine).exp())
            total += float(w) * (ratio - np.log(ratio) - 1)
            ids.append(token)
    assert found == pytest.approx(total, rel=1e-4)
