"""The staged sampler draws from exactly the density that the estimator divides by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from forewarn.errors import InputError
from forewarn.estimation import span_log_ratios
from forewarn.formats import Channels
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.records import UNBOUNDED, Completion, Policy, Span
from tests.tiny_world import POLICY, SPANS, TinyWorld, enumerate_world

WIDE = (*SPANS, Span(UNBOUNDED, 0, "donor"), Span(1, UNBOUNDED, "donor"), Span(UNBOUNDED, UNBOUNDED, "donor"))
WARPED = Policy(temperature=1.5, top_p=0.97, max_total_tokens=4)


def draw(
    world: TinyWorld, channels: Channels, spans: Sequence[Span], count: int, policy: Policy = POLICY, seed: int = 1
) -> list[Completion]:
    problem = world.problems[0]
    subject, _ = world.engine("subject")
    donor, adapter = world.engine("donor")
    orders = [Order(problem.problem_id, channels.prompt_ids(problem.question), span, count) for span in spans]
    drawn = sample_spans(
        orders,
        subject=Writer(subject),
        donors={"donor": Writer(donor, adapter)},
        channels=channels,
        policy=policy,
        seed=seed,
        checkpoint_id="subject",
    )
    return [one.completion for one in drawn]


CLOSERS = {"one token": "</think>", "two tokens": "hm </think>", "cut within a token": "hm def"}


def with_closer(world: TinyWorld, name: str) -> Channels:
    """The reasoning ends at two tokens, which any span may part, or within a token, whose rest is the answer's."""
    return replace(world.channels, format=replace(world.channels.format, closer=CLOSERS[name]))


@pytest.mark.parametrize("closer", CLOSERS)
@pytest.mark.parametrize("policy", [POLICY, WARPED])
def test_every_span_draws_from_its_own_density(world: TinyWorld, closer: str, policy: Policy) -> None:
    channels = with_closer(world, closer)
    listing = enumerate_world(world, world.problems[0], ["subject", "donor"], policy)
    splits = [channels.split(ids).n_reasoning for ids in listing.completions]
    subject, donor = listing.log_probs["subject"], listing.log_probs["donor"]
    # off the subject's support nothing is estimated, but the density is still that of the writers
    ratios = span_log_ratios([np.maximum(s, -1e3) for s in subject], {"donor": donor}, splits, WIDE)
    log_p = np.array([np.maximum(s, -1e3).sum() for s in subject])
    q_span = np.exp(log_p[:, None] + ratios)
    np.testing.assert_allclose(q_span.sum(axis=0), 1.0, atol=1e-9)
    n = 3_000
    drawn = draw(world, channels, WIDE, n, policy)
    index = {ids: i for i, ids in enumerate(listing.completions)}
    for s, span in enumerate(WIDE):
        counts = Counter(index[c.token_ids] for c in drawn if c.span == span)
        observed = np.zeros(len(index))
        observed[list(counts)] = list(counts.values())
        expected = n * q_span[:, s]
        assert not observed[expected < 1e-200].any(), span
        common = expected >= 5
        seen = np.append(observed[common], observed[~common].sum())
        due = np.append(expected[common], expected[~common].sum())
        assert stats.chisquare(seen, due * n / due.sum()).pvalue > 1e-4, (span, closer)


@pytest.mark.parametrize("closer", CLOSERS)
def test_completions_say_who_wrote_what(world: TinyWorld, closer: str) -> None:
    channels = with_closer(world, closer)
    drawn = draw(world, channels, WIDE, 300)
    assert Counter(c.span for c in drawn) == dict.fromkeys(WIDE, 300)
    assert len({c.completion_id for c in drawn}) == len(drawn) == len({c.trace_id for c in drawn})
    split_closers = 0
    for c in drawn:
        split = channels.split(c.token_ids)
        assert c.n_reasoning == split.n_reasoning
        assert 1 <= len(c.token_ids) <= POLICY.max_total_tokens
        r, a = c.n_reasoning, c.n_answer
        expected = [i < c.span.k for i in range(r)] + [i < c.span.m for i in range(a)]
        assert list(c.donor_wrote) == expected
        ended = c.token_ids[-1] in channels.end_ids
        assert (c.finish_reason == "stop") == ended
        assert ended or len(c.token_ids) == POLICY.max_total_tokens
        assert not any(token in channels.end_ids for token in c.token_ids[:-1])
        if closer != "one token" and split.case != "missing" and a and c.donor_wrote[r - 2] != c.donor_wrote[r - 1]:
            split_closers += 1
    if closer == "two tokens":
        assert split_closers > 0, "some closer must have been written by two hands"


def test_same_seed_same_completions(world: TinyWorld) -> None:
    first, again, other = (draw(world, world.channels, SPANS, 20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [c.token_ids for c in first] != [c.token_ids for c in other]
    assert not {c.completion_id for c in first} & {c.completion_id for c in other}


def test_bad_orders_are_refused(world: TinyWorld) -> None:
    with pytest.raises(InputError, match="names a donor that is not given; given are \\['donor'\\]"):
        draw(world, world.channels, [Span(1, 0, "stranger")], 1)
    with pytest.raises(InputError, match="names a donor that is not given"):
        draw(world, world.channels, [Span(1, 0, "donor", 0.5)], 1)
    with pytest.raises(InputError, match="asks for 0 completions"):
        draw(world, world.channels, [Span()], 0)
