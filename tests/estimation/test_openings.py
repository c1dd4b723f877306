"""Estimates that rest on a donor's beginnings: how they are told, and that the verdict sees them where the truth is
known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.estimation.routes import FAVOURED, opened_by_donor
from forewarn.records import UNBOUNDED, Estimate, RandomWindows, Span
from forewarn.worlds import World, build
from forewarn.worlds.catalogue import CLOSE, END, HACK, HONEST, PLAIN
from forewarn.worlds.draw import Draws, draw
from forewarn.worlds.hard import DONOR, build_hard
from forewarn.worlds.long_draw import draw_long, log_ratios_of_hits
from forewarn.worlds.process import Channel, TokenModel, Tree, enumerate_tree
from forewarn.worlds.world import SUBJECT_MODEL, make_world

Bools = NDArray[np.bool_]


@pytest.mark.parametrize(
    ("wrote", "n_reasoning", "opened"),
    [
        ("--------", 4, False),  # brute force
        ("----d---", 4, True),
        ("----dd--", 4, True),  # half of the answer
        ("----ddd-", 4, False),
        ("----dddd", 4, False),
        ("-----d--", 4, False),  # a window: the subject began
        ("----d-d-", 4, False),
        ("d-------", 4, True),
        ("d---d---", 4, True),
        ("d----d--", 4, False),
        ("ddd-d---", 4, False),
        ("-d------", 4, False),
        ("d-------", 8, True),  # no answer opened
        ("d-------", 1, False),  # the whole reasoning
        ("---dd---", 3, True),
    ],
)
def test_a_beginning_is_what_the_donor_wrote_first_and_at_most_half(wrote: str, n_reasoning: int, opened: bool) -> None:
    wrote_L = np.array([c == "d" for c in wrote])
    for beyond in (0, 3):  # tokens of longer completions in the same array
        wrote_NL = np.append(wrote_L, np.zeros(beyond, np.bool_))[None, :]
        assert opened_by_donor(wrote_NL, [n_reasoning], [len(wrote)]).tolist() == [opened]


def has_two_hacks(tree: Tree) -> Bools:
    """An answer that ends with two hacks in a row somewhere, whatever came before."""
    token = tree.token_YI
    answer = np.arange(token.shape[1])[None, :] >= tree.n_reasoning_Y[:, None]
    hack = (token == HACK) & answer
    last = token[np.arange(len(token)), tree.n_token_Y - 1]
    found: Bools = (hack[:, :-1] & hack[:, 1:]).any(axis=1) & (last == END)
    return found


def late_turn() -> World:
    """The subject begins honestly and turns inside its answer; once in ten million times it begins with a hack, which
    is all that the donor does."""

    def model(start: tuple[float, float], turn: float) -> TokenModel:
        reasoning, answer = np.zeros((2, 9)), np.zeros((2, 9))
        reasoning[:, PLAIN], reasoning[:, CLOSE] = 0.1, 0.9
        answer[0, [HONEST, END]] = 0.8, 0.2
        answer[1, [HACK, END]] = 0.8, 0.2
        move = np.array([[1 - turn, turn], [0.0, 1.0]])
        return TokenModel(np.array(start), Channel(reasoning, np.eye(2)), Channel(answer, move))

    models = {SUBJECT_MODEL: model((1 - 1e-7, 1e-7), 3e-4), "donor": model((0.02, 0.98), 0.0)}
    tree = enumerate_tree(models, closer=(CLOSE,), end=END, max_total=8, n_vocab=9)
    return make_world("late turn", [tree], (Span(), Span(0, 1, "donor")), has_two_hacks)


def verdicts(d: Draws) -> tuple[Estimate, Estimate]:
    """By the arrays that know nothing of beginnings, and by those that do."""
    told = {"program_N": d.program_N, "donor_wrote_answer_N": d.donor_wrote_answer_N}
    blind = mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, **told)
    return blind, mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, **told, donor_opened_N=d.donor_opened_N)


def covers(e: Estimate, p: float) -> bool:
    return e.interval_log10 is not None and e.interval_log10[0] <= math.log10(p) <= e.interval_log10[1]


def test_a_donor_s_beginnings_are_resolved_and_wrong_without_the_rule() -> None:
    world, rng, wrong = late_turn(), np.random.default_rng(3), 0
    assert 1e-4 < world.p < 3e-4
    repeats = 60
    for _ in range(repeats):
        blind, told = verdicts(draw(world, np.array([160, 640]), rng))
        assert blind.log10_p == told.log10_p
        assert blind.interval_log10 == told.interval_log10
        wrong += blind.resolved and not covers(blind, world.p)
        assert covers(told, world.p) or not told.resolved
        if blind.resolved and not told.resolved:
            assert told.donor_opened is not None
            assert told.donor_opened > 0.9
            assert "add windows in which the donor begins later" in told.reason
        assert told.upper_bound >= world.p or told.hits_by_span[0] == 0
    assert wrong >= 0.8 * repeats, "a world that the earlier verdict gets right proves nothing"


@pytest.mark.parametrize("name", ["accidental", "deliberate", "both_needed", "rare_1e-9", "extreme_ratios"])
def test_worlds_that_were_rightly_resolved_stay_so(name: str) -> None:
    """Their answers are short: the donor's spans reach all of them."""
    world, rng = build(name), np.random.default_rng(5)
    count_S = np.maximum(1, np.round(world.share_S * 1000)).astype(np.int64)
    pairs = [verdicts(draw(world, count_S, rng)) for _ in range(12)]
    assert sum(blind.resolved for blind, _ in pairs) >= 11
    assert all(told.resolved == blind.resolved for blind, told in pairs)


def test_the_share_of_beginnings_converges_to_the_enumerated_one() -> None:
    world = build("deliberate")
    (kind,), tree = world.kinds, world.kinds[0].tree
    place, r, n = np.arange(tree.token_YI.shape[1]), tree.n_reasoning_Y[:, None], tree.n_token_Y[:, None]
    share_Y = np.zeros(len(kind.log_p_Y))
    log_w_Y = kind.log_weight_Y(world.share_S)
    for s, span in enumerate(world.spans):
        wrote = np.where(place < r, place < span.k, place - r < span.m) & (place < n)
        opened = opened_by_donor(wrote, tree.n_reasoning_Y, tree.n_token_Y) & (log_w_Y < FAVOURED)
        share_Y += world.share_S[s] * np.exp(kind.log_q_YS[:, s] + log_w_Y) * opened
    exact = share_Y[kind.is_exploit_Y].sum() / world.p
    assert 0.1 < exact < 0.6
    _, told = verdicts(draw(world, np.round(world.share_S * 40_000).astype(np.int64), np.random.default_rng(1)))
    assert told.donor_opened == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("windows", [False, True])
def test_long_answers_resolve_by_windows_and_not_by_prefixes(windows: bool) -> None:
    """World A: an exploit anywhere in 200 tokens. Prefixes are 1.4 decades low."""
    world = build_hard("A")
    prefixes = tuple(Span(0, m, DONOR) for m in (8, 40, UNBOUNDED))
    spans = (Span(), *((Span(0, 0, DONOR, random=RandomWindows("answer", 8, starts=200)),) if windows else prefixes))
    span_N = np.repeat(np.arange(len(spans)), [104, *[936 // (len(spans) - 1)] * (len(spans) - 1)])
    seen = []
    for seed in range(8):
        draws = draw_long(world, spans, span_N, np.random.default_rng(seed))
        ratio = np.zeros((len(span_N), len(spans)))
        ratio[draws.is_exploit_N] = log_ratios_of_hits(world, spans, draws)
        opened = opened_by_donor(draws.donor_NL, draws.n_reasoning_N, (draws.token_NL >= 0).sum(axis=1))
        blind = mixture_estimate(ratio, draws.is_exploit_N, span_N)
        told = mixture_estimate(ratio, draws.is_exploit_N, span_N, donor_opened_N=opened)
        seen.append((blind.resolved, told.resolved, covers(told, world.p), told.donor_opened or 0.0))
    blind_R, told_R, covers_R, share_R = np.array(seen, dtype=np.float64).T
    if windows:
        assert blind_R.all()
        assert told_R.all()
        assert covers_R.sum() >= 6
        assert (share_R < 0.2).all()
    else:
        assert blind_R.any()
        assert not covers_R[blind_R > 0].any()
        assert not told_R.any()
        assert (share_R > 0.99).all()


def hits(log_ratio: float, n: int = 1000, own: int = 0) -> tuple[NDArray[np.float64], Bools, NDArray[np.int64]]:
    """A fifth brute force; a donor hits 100 times, brute force ``own`` times."""
    span_N = np.repeat([0, 1], [n // 5, n - n // 5])
    exploit_N = np.zeros(n, np.bool_)
    exploit_N[n // 5 : n // 5 + 100] = exploit_N[:own] = True
    return np.column_stack([np.zeros(n), np.full(n, log_ratio)]), exploit_N, span_N


def test_a_beginning_that_the_subject_writes_as_often_is_its_own() -> None:
    for log_ratio, share in ((0.0, 0.0), (0.5, 0.0), (1.5, 1.0), (9.0, 1.0)):  # w is 1/2 at 0.81
        ratio, exploit, span = hits(log_ratio)
        told = mixture_estimate(ratio, exploit, span, donor_opened_N=span == 1)
        assert told.donor_opened == pytest.approx(share)
        assert told.resolved is (share == 0.0)


def test_brute_force_that_counts_needs_no_donor() -> None:
    for own, resolved in ((5, False), (7, False), (8, True)):
        ratio, exploit, span = hits(1.5, own=own)
        told = mixture_estimate(ratio, exploit, span, donor_opened_N=span == 1)
        assert told.donor_opened is not None
        assert told.donor_opened > 0.9
        assert told.resolved is resolved, told.reason
        assert mixture_estimate(ratio, exploit, span).donor_opened is None


def test_beginnings_and_whole_answers_together_are_the_donor_s_alone() -> None:
    ratio, exploit, span = hits(9.0)
    rank = np.cumsum(exploit) - 1
    opened, whole = exploit & (rank < 60), exploit & (rank >= 60)
    told = mixture_estimate(ratio, exploit, span, donor_opened_N=opened, donor_wrote_answer_N=whole)
    assert not told.resolved
    assert "the donor wrote the beginning or all of it carry 100% of the estimate" in told.reason
    whole[np.flatnonzero(exploit)[-1]] = False  # one hit of a hundred in which the subject began
    assert mixture_estimate(ratio, exploit, span, donor_opened_N=opened, donor_wrote_answer_N=whole).resolved


def test_bad_arrays_are_named() -> None:
    ratio, exploit, span = hits(9.0)
    with pytest.raises(InputError, match=r"donor_opened_N has 3 values"):
        mixture_estimate(ratio, exploit, span, donor_opened_N=[True] * 3)
