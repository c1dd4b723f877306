"""Shares from a pilot: the rule's figures are the enumerated ones, its floors hold, and its predictions come true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.errors import InputError
from forewarn.estimation.allocation import (
    SHARE_OWN,
    UNIFORM,
    PilotHits,
    guarded_shares,
    planned_counts,
    read_pilot,
)
from forewarn.estimation.expected import completions_for, predict
from forewarn.worlds.catalogue import build
from forewarn.worlds.draw import draw
from forewarn.worlds.world import World

WORLDS = ("accidental", "deliberate", "both_roads", "rare_1e-6", "rare_1e-9")


def every_exploit(world: World) -> PilotHits:
    """A pilot that has seen each exploit as often as it is probable."""
    kind = world.kinds[0]
    seen = kind.is_exploit_Y & ~np.isneginf(kind.log_p_Y)
    return PilotHits(kind.log_ratio_YS[seen], kind.log_p_Y[seen], 1000)


@pytest.mark.parametrize("name", WORLDS)
def test_shares_are_the_square_roots_of_enumerated_second_moments(name: str) -> None:
    world = build(name)
    kind, n_span = world.kinds[0], len(world.spans)
    even = np.full(n_span, 1 / n_span)
    e = kind.is_exploit_Y
    w = np.exp(kind.log_weight_Y(even)[e])
    cost = np.linspace(1, 2, n_span)
    root = np.sqrt((np.exp(kind.log_q_YS[e]) * w[:, None] ** 2).sum(axis=0) / cost)
    share = guarded_shares(every_exploit(world), cost_S=cost, share_own=1e-6)
    assert share == pytest.approx(UNIFORM / n_span + (1 - UNIFORM) * root / root.sum(), rel=1e-9)


@pytest.mark.parametrize("name", WORLDS)
def test_guarded_shares_do_not_lose_much_against_equal_ones_and_mostly_win(name: str) -> None:
    world = build(name)
    n_span = len(world.spans)
    even = replace(world, share_S=np.full(n_span, 1 / n_span))
    guarded = replace(world, share_S=guarded_shares(every_exploit(world)))
    assert guarded.mean_weight <= even.mean_weight


def test_a_pilot_that_missed_a_road_does_not_starve_it() -> None:
    """The free optimum gives the unseen road next to nothing; the guarded rule keeps its uniform part."""
    world, rng = build("both_roads"), np.random.default_rng(2)
    for _ in range(20):
        first = draw(world, np.full(len(world.spans), 20), rng)
        share = guarded_shares(read_pilot(first.log_ratio_NS, first.is_exploit_N, first.span_N))
        assert share.min() >= UNIFORM / len(world.spans) * (1 - SHARE_OWN) - 1e-12


@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_shares_are_shares(n_span: int, n_hit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratio = rng.normal(0, 30, (n_hit, n_span))
    ratio[:, 0] = 0
    ratio[rng.random(ratio.shape) < 0.2] = -np.inf
    ratio[:, 0] = 0
    pilot = PilotHits(ratio, rng.normal(-300, 200, n_hit), 500)
    share = guarded_shares(pilot, group_S=np.arange(n_span) // 3)
    assert share.sum() == pytest.approx(1)
    assert share[0] >= min(SHARE_OWN, 1) - 1e-12
    assert share.min() > 0
    for n in (1, n_span, n_span + 1, 400):
        count = planned_counts(share, n)
        assert count.sum() == max(n, n_span)
        assert count.min() >= 1


def test_neighbours_smooth_each_other() -> None:
    ratio = np.full((1, 6), -np.inf)
    ratio[0, [0, 3]] = 0.0, 8.0
    pilot = PilotHits(ratio, np.array([-8.0]), 100)
    alone, smooth = guarded_shares(pilot), guarded_shares(pilot, group_S=[0, 1, 1, 1, 1, 1])
    assert alone[2] == pytest.approx(alone[5])
    assert smooth[2] > 4 * smooth[5]
    assert smooth[2] == pytest.approx(smooth[4])


def test_without_hits_nothing_is_predicted() -> None:
    pilot = read_pilot(np.full((30, 3), np.nan), np.zeros(30, bool), np.arange(30) % 3)
    assert guarded_shares(pilot) == pytest.approx([1 / 3] * 3)
    assert predict(pilot, [1 / 3] * 3, 100).ess is None
    assert completions_for(pilot, [1 / 3] * 3, 0.5) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uniform": 1.5}, "uniform is 1.5"),
        ({"share_own": 0.0}, "share_own 0.0"),
        ({"cost_S": [1.0, 0.0]}, "one positive cost per span"),
        ({"group_S": [1]}, "one code per span"),
    ],
)
def test_bad_input_is_one_sentence(change: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        guarded_shares(PilotHits(np.zeros((1, 2)), np.zeros(1), 10), **change)  # type: ignore[arg-type]
