"""What a pilot says a sample will give: exact on enumerated worlds, and right where a few hits carry the pilot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from forewarn.estimation import mixture_estimate
from forewarn.estimation.allocation import PilotHits, guarded_shares, planned_counts, read_pilot
from forewarn.estimation.expected import completions_for, moments, predict
from forewarn.worlds.catalogue import build
from forewarn.worlds.draw import draw
from forewarn.worlds.world import World

WORLDS = ("accidental", "deliberate", "both_roads", "rare_1e-6", "rare_1e-9", "half")


def every_exploit(world: World) -> PilotHits:
    """A pilot that has seen each exploit as often as it is probable."""
    kind = world.kinds[0]
    seen = kind.is_exploit_Y & ~np.isneginf(kind.log_p_Y)
    return PilotHits(kind.log_ratio_YS[seen], kind.log_p_Y[seen], 1000)


@pytest.mark.parametrize("name", WORLDS)
def test_the_moments_are_the_enumerated_ones(name: str) -> None:
    world = build(name)
    pilot = every_exploit(world)
    for wanted in (world.share_S, guarded_shares(pilot)):
        count_S = planned_counts(wanted, 1000)
        share_S = count_S / count_S.sum()
        one = replace(world, share_S=share_S, kind_T=np.zeros(1, dtype=np.int64))
        found = moments(pilot, share_S)
        assert found.second() == pytest.approx(one.mean_weight / one.p, rel=1e-9)
        assert (found.second() - found.between) / count_S.sum() * one.p**2 == pytest.approx(
            one.variance(count_S), rel=1e-6
        )
        assert found.relative_H.max() <= found.most * (1 + 1e-12)
        assert predict(pilot, share_S, 1000).log10_p == pytest.approx(math.log10(one.p), abs=1e-9)


def test_even_weights_keep_their_effective_size_a_hit_and_one_heavy_hit_does_not() -> None:
    share = np.array([0.2, 0.8])

    def of(log_ratio: list[float]) -> PilotHits:
        ratio = np.array([[0.0, d] for d in log_ratio])
        return PilotHits(ratio, -np.log(0.2 + 0.8 * np.exp(ratio[:, 1])) - math.log(100), 100)

    for n_hit in (1, 2, 3, 40):
        even = of([6.0] * n_hit)
        assert moments(even, share).growth == pytest.approx(0, abs=1e-9)
        assert predict(even, share, 300).ess == pytest.approx(3 * n_hit)
    steps = of([5.0 * i for i in range(20)])  # each outweighs all lighter ones together
    assert moments(steps, share).growth == pytest.approx(1, abs=0.05)
    assert predict(steps, share, 100).ess == pytest.approx(1, abs=0.05)
    assert predict(steps, share, 300).ess == pytest.approx(1, abs=0.1), "a larger sample meets a heavier one"
    # a hit of the largest weight there is outweighs all others already: nothing heavier is to come
    seen = PilotHits(np.array([[0.0, 9.0]] * 20 + [[0.0, -9.0]]), np.array([-9.0] * 20 + [math.log(5 / 100)]), 100)
    assert moments(seen, share).growth > 0.5
    assert predict(seen, share, 300).ess == pytest.approx(300 / moments(seen, share).second(), rel=0.02)
    # brute force's own part of a large sample bounds it: no weight is above 1/alpha_0
    n, p = 10**9, 10 ** (predict(steps, share, 100).log10_p or 0)
    assert predict(steps, share, n).ess == pytest.approx(n * 0.2 * p, rel=0.01)


def widths(world: World, rng: np.random.Generator, n_pilot: int, n: int) -> float | None:
    """Predicted width over the width that the sample then gets."""
    n_span, n_problem = len(world.spans), world.n_problem
    first = draw(world, np.full(n_span, max(1, round(n_pilot / n_span / n_problem))), rng)
    pilot = read_pilot(first.log_ratio_NS, first.is_exploit_N, first.span_N, problem_N=first.problem_N)
    counts = planned_counts(guarded_shares(pilot), n // n_problem)
    found = predict(pilot, counts / counts.sum(), int(counts.sum()) * n_problem)
    second = draw(world, counts, rng)
    got = mixture_estimate(
        second.log_ratio_NS, second.is_exploit_N, second.span_N, problem_N=second.problem_N
    ).interval_log10
    return None if got is None or found.width is None else found.width / (got[1] - got[0])


@pytest.mark.parametrize("name", ["rare_1e-6", "accidental", "half", "misses_95"])
def test_the_predicted_width_is_what_a_sample_then_gets(name: str) -> None:
    world, rng = build(name), np.random.default_rng(5)
    found = [widths(world, rng, 200, 600) for _ in range(25)]
    ratios = np.array([ratio for ratio in found if ratio is not None])
    assert len(ratios) >= 20
    assert np.mean((ratios > 0.5) & (ratios < 2)) >= 0.8


def heavy(rng: np.random.Generator, spread: float, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Ratios, hits and spans of a sample whose donor is far from the subject given an exploit: its log-ratio is normal
    with standard deviation ``spread`` nats under both. p = 1e-4; half of the donor's completions are exploits."""
    span = (np.arange(n) % 5 > 0).astype(np.int64)
    hit = rng.random(n) < np.where(span == 1, 0.5, 1e-4)
    middle = np.where(span == 1, 1, -1) * spread**2 / 2
    ratio = np.zeros((n, 2))
    ratio[:, 1] = math.log(0.5 / 1e-4) + middle + spread * rng.standard_normal(n)
    return ratio, hit, span


def test_where_a_few_heavy_hits_carry_the_pilot_the_width_is_not_said_to_shrink() -> None:
    rng = np.random.default_rng(1)
    grown, plain = [], []
    for _ in range(120):
        pilot = read_pilot(*heavy(rng, 4.0, 100))
        got = mixture_estimate(*heavy(rng, 4.0, 500)).interval_log10
        assert got is not None
        for held, said in ((grown, pilot), (plain, replace(pilot, n=500))):  # of a pilot of that size: nothing to grow
            found = predict(said, [0.2, 0.8], 500).width
            assert found is not None
            held.append(found / (got[1] - got[0]))
    narrow, before = (np.mean(np.array(held) <= 0.5) for held in (grown, plain))
    within, without = (np.mean((np.array(held) > 0.5) & (np.array(held) < 2)) for held in (grown, plain))
    assert before > 0.45, "the pilot's own figures say that half of the intervals will be far narrower than they are"
    assert narrow < 0.6 * before
    assert within > without + 0.1


def test_completions_for_a_width() -> None:
    pilot = every_exploit(build("deliberate"))
    share = guarded_shares(pilot)
    n = completions_for(pilot, share, 0.3)
    assert n is not None
    at, below = predict(pilot, share, n).width, predict(pilot, share, int(0.97 * n)).width
    assert at is not None
    assert below is not None
    assert at <= 0.3 < below
