"""The staged sampler draws from exactly the density that the estimator divides by."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from forewarn.errors import InputError
from forewarn.estimation import span_log_ratios
from forewarn.estimation.windows import in_fixed_window
from forewarn.formats import Channels, anchor_starts
from forewarn.formats.pieces import Pieces
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.records import UNBOUNDED, Completion, Policy, RandomWindows, Span
from forewarn.records.spans import ANCHORS
from tests.tiny_world import POLICY, SPANS, TOKENS, TinyWorld, enumerate_world

WIDE = (*SPANS, Span(UNBOUNDED, 0, "donor"), Span(1, UNBOUNDED, "donor"), Span(UNBOUNDED, UNBOUNDED, "donor"))
WINDOWS = (
    Span(3, 0, "donor", k0=1),
    Span(2, 3, "donor", k0=1, m0=1),
    Span(0, 1, "donor", anchor="line"),
    Span(1, UNBOUNDED, "donor", m0=1, anchor="line"),
    Span(0, 2, "donor", anchor="body"),
    Span(0, 2, "subject", temperature=2.5),
    Span(0, 0, "donor", random=RandomWindows("answer", 1.5, starts=3)),
    Span(0, 0, "donor", random=RandomWindows("reasoning", 1.5, bursts=2, starts=2)),
    Span(0, 0, "donor", random=RandomWindows("all", 1.25, bursts=2, starts=4)),
    Span(0, 0, "subject", random=RandomWindows("all", 2, starts=3, length="fixed"), temperature=2.5),
    Span(2, 0, "donor", random=RandomWindows("answer", 1.5, starts=2)),
    Span(0, 0, "donor", anchor="line", random=RandomWindows("all", 1.5, bursts=2, starts=3)),
    Span(0, 0, "donor", anchor="body", random=RandomWindows("answer", 1, starts=2)),
)
WARPED = Policy(temperature=1.5, top_p=0.97, max_total_tokens=4)


def draw(
    world: TinyWorld, channels: Channels, spans: Sequence[Span], count: int, policy: Policy = POLICY, seed: int = 1
) -> list[Completion]:
    problem = world.problems[0]
    subject, _ = world.engine("subject")
    donor, adapter = world.engine("donor")
    prompt = channels.prompt_ids(problem.question)
    orders = [Order(problem.problem_id, prompt, span, count, problem.entry_point) for span in spans]
    drawn = sample_spans(
        orders,
        subject=Writer(subject),
        donors={"donor": Writer(donor, adapter), "subject^2.5": Writer(subject, None, 2.5)},
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


def check_draws(
    world: TinyWorld, channels: Channels, spans: Sequence[Span], n: int, policy: Policy
) -> list[Completion]:
    """Every span's density sums to 1 over all completions, and its draws follow it."""
    problem = world.problems[0]
    listing = enumerate_world(world, problem, ["subject", "donor"], policy)
    hot = enumerate_world(world, problem, ["subject"], replace(policy, temperature=2.5)).log_probs["subject"]
    splits = [channels.split(ids) for ids in listing.completions]
    opened = [None if s.case in ("missing", "cut_reasoning") else s.n_reasoning for s in splits]
    names = {span.anchor for span in spans if span.anchor is not None}
    anchors = [
        {name: anchor_starts(channels, ids, r, name, problem.entry_point) for name in names}
        for ids, r in zip(listing.completions, opened, strict=True)
    ]
    subject, donor = listing.log_probs["subject"], listing.log_probs["donor"]
    # off the subject's support nothing is estimated, but the density is still that of the writers
    ratios = span_log_ratios(
        [np.maximum(s, -1e3) for s in subject],
        {"donor": donor, "subject^2.5": hot},
        [s.n_reasoning for s in splits],
        spans,
        anchors=anchors,
    )
    log_p = np.array([np.maximum(s, -1e3).sum() for s in subject])
    q_span = np.exp(log_p[:, None] + ratios)
    np.testing.assert_allclose(q_span.sum(axis=0), 1.0, atol=1e-9)
    drawn = draw(world, channels, spans, n, policy)
    index = {ids: i for i, ids in enumerate(listing.completions)}
    for s, span in enumerate(spans):
        counts = Counter(index[c.token_ids] for c in drawn if c.span == span)
        observed = np.zeros(len(index))
        observed[list(counts)] = list(counts.values())
        expected = n * q_span[:, s]
        assert not observed[expected < 1e-200].any(), span
        common = expected >= 5
        seen = np.append(observed[common], observed[~common].sum())
        due = np.append(expected[common], expected[~common].sum())
        assert stats.chisquare(seen, due * n / due.sum()).pvalue > 1e-4, span.name
    return drawn


@pytest.mark.parametrize("closer", CLOSERS)
@pytest.mark.parametrize("policy", [POLICY, WARPED])
def test_every_span_draws_from_its_own_density(world: TinyWorld, closer: str, policy: Policy) -> None:
    check_draws(world, with_closer(world, closer), WIDE, 3_000, policy)


@pytest.mark.parametrize("closer", CLOSERS)
def test_windows_draw_from_their_own_density(world: TinyWorld, closer: str) -> None:
    channels = with_closer(world, closer)
    drawn = check_draws(world, channels, (Span(), *WINDOWS), 800, POLICY)
    switches: Counter[Span] = Counter()
    for c in drawn:
        wrote = list(c.donor_wrote)
        switches[c.span] = max(switches[c.span], sum(a != b for a, b in itertools.pairwise(wrote)))
        if c.span.random is None:
            closed = channels.closed_at(c.token_ids)
            anchors = {name: anchor_starts(channels, c.token_ids, closed, name, "solve") for name in ANCHORS}
            assert wrote == in_fixed_window(c.span, c.n_reasoning, len(c.token_ids), anchors).tolist(), c.span.name
    assert switches[WINDOWS[8]] == 3, "two bursts, two stretches of the subject's"


@pytest.mark.parametrize("span", WINDOWS, ids=lambda span: span.name)
def test_who_wrote_a_window_is_who_scored_it(world: TinyWorld, span: Span) -> None:
    """The log-probs kept while sampling are those of the writers that ``donor_wrote`` names."""
    subject, _ = world.engine("subject")
    donor, adapter = world.engine("donor")
    prompt = world.channels.prompt_ids(world.problems[0].question)
    hot = Writer(subject, None, 2.5)
    drawn = list(
        sample_spans(
            [Order("same-0", prompt, span, 40, "solve")],
            subject=Writer(subject),
            donors={"donor": Writer(donor, adapter), "subject^2.5": hot},
            channels=world.channels,
            policy=POLICY,
            seed=3,
            checkpoint_id="subject",
        )
    )
    ids = [one.completion.token_ids for one in drawn]
    own = subject.score([prompt] * 40, ids, policy=POLICY)
    if span.temperature is None:
        other = donor.score([prompt] * 40, ids, policy=POLICY, adapter=adapter)
    else:
        other = subject.score([prompt] * 40, ids, policy=hot.policy(POLICY))
    for one, p, d in zip(drawn, own, other, strict=True):
        np.testing.assert_allclose(one.log_probs, np.where(one.completion.donor_wrote, d, p), atol=1e-9)
    assert any(any(one.completion.donor_wrote) for one in drawn)


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
    with pytest.raises(InputError, match=r"names a donor that is not given; given are \['donor', 'subject\^2.5'\]"):
        draw(world, world.channels, [Span(1, 0, "stranger")], 1)
    with pytest.raises(InputError, match="names a donor that is not given"):
        draw(world, world.channels, [Span(1, 0, "donor", 0.5)], 1)
    with pytest.raises(InputError, match="asks for 0 completions"):
        draw(world, world.channels, [Span()], 0)


def test_an_anchor_that_no_token_can_spell_is_refused(world: TinyWorld) -> None:
    bare = replace(world.channels, pieces=Pieces(world.channels.tokenizer, range(len(TOKENS))))
    with pytest.raises(InputError, match="the anchor 'line' can never occur: no token of the tokenizer holds"):
        draw(world, bare, [Span(0, 2, "donor", anchor="line")], 1)


def test_windows_far_larger_than_a_completion_are_drawn(world: TinyWorld) -> None:
    huge = Span(0, 0, "donor", random=RandomWindows("all", 1e8, 1, 10**9, "fixed"))
    assert not any(any(c.donor_wrote) for c in draw(world, world.channels, [huge], 30))
    at_once = Span(0, 0, "donor", random=RandomWindows("all", 1e8, 10**9, 10**9, "fixed"))
    assert all(all(c.donor_wrote) for c in draw(world, world.channels, [at_once], 30))
