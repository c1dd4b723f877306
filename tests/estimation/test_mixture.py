"""The mixture estimate against enumerated truth, its invariances, and every refusal of bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.records import Estimate
from forewarn.worlds import build
from forewarn.worlds.draw import Draws, draw, draw_random, planned_counts
from forewarn.worlds.world import World


def estimate(d: Draws, **kwargs: object) -> Estimate:
    return mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N, problem_N=d.problem_N, **kwargs)  # type: ignore[arg-type]


def value(e: Estimate) -> float:
    return 0.0 if e.log10_p is None else 10**e.log10_p


@pytest.fixture(scope="module")
def world() -> World:
    return build("both_roads")


@pytest.mark.parametrize("name", ["both_roads", "limit_bites", "top_p", "thirty_problems"])
def test_unbiased_within_exact_error(name: str) -> None:
    world, rng = build(name), np.random.default_rng(1)
    count_S = planned_counts(world, 1000)
    assert count_S is not None
    values = [value(estimate(draw(world, count_S, rng))) for _ in range(60)]
    assert abs(np.mean(values) - world.p) < 4 * math.sqrt(world.variance(count_S) / 60)


def test_planned_shares_with_unequal_counts_are_unbiased() -> None:
    world, rng = build("thirty_problems"), np.random.default_rng(2)
    values = []
    for _ in range(40):
        # twice as many completions for a third of the problems: realised shares differ from the planned ones
        count_S = np.array([8, 3, 3, 3, 3, 3, 3, 3, 3, 3])
        d, more = draw(world, count_S, rng), draw(world, np.full(10, 4), rng)
        keep = more.problem_N % 3 == 0
        joined = Draws(*(np.concatenate([getattr(d, f), getattr(more, f)[keep]]) for f in d.__dataclass_fields__))
        values.append(value(estimate(joined, share_S=world.share_S)))
    sem = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - world.p) < 4 * sem
    assert sem < 0.1 * world.p


def test_random_design_is_unbiased_with_fewer_completions_than_cells() -> None:
    world, rng = build("thousand_problems"), np.random.default_rng(3)
    values = [value(estimate(draw_random(world, 1000, rng), share_S=world.share_S, design="random")) for _ in range(60)]
    assert abs(np.mean(values) - world.p) < 4 * math.sqrt(world.variance_random(1000) / 60)


def test_donor_that_is_the_subject_gives_the_brute_force_rate() -> None:
    rng = np.random.default_rng(4)
    hit, span = rng.random(600) < 0.2, np.arange(600) % 3
    e = mixture_estimate(np.zeros((600, 3)), hit, span)
    assert value(e) == pytest.approx(hit.mean(), rel=1e-12)
    assert e.ess == pytest.approx(hit.sum(), rel=1e-12)
    assert e.hits_by_span == tuple(int(hit[span == s].sum()) for s in range(3))


def test_zero_hits_give_no_point_and_no_interval_but_a_bound(world: World) -> None:
    n = 500
    e = mixture_estimate(np.full((n, 5), np.nan), np.zeros(n, bool), np.arange(n) % 5, level=0.99)
    assert (e.log10_p, e.interval_log10, e.ess, e.khat, e.max_share) == (None, None, None, None, None)
    assert e.lower_bound == 0
    assert e.upper_bound == pytest.approx(1 - 0.01 ** (1 / 100))
    assert not e.resolved
    assert "no hits" in e.reason


def test_log_ratios_of_ten_thousand_do_not_overflow() -> None:
    hit, span = np.ones(40, bool), np.arange(40) % 4
    ratio = np.zeros((40, 4))
    ratio[:, 1], ratio[:, 2], ratio[:, 3] = 1e4, -1e4, -np.inf
    hit[span == 3] = False
    e = mixture_estimate(ratio, hit, span)
    assert e.log10_p == pytest.approx((-1e4 + math.log(4) + math.log(0.75)) / math.log(10))
    assert e.lower_bound == 0.0  # below the smallest float, not NaN
    down = ratio.copy()
    down[:, 1] = -1e4
    assert value(mixture_estimate(down, hit, span)) == pytest.approx(4 * 0.75)  # every weight at its bound 1/alpha_0


def test_a_row_with_inf_is_off_support_and_weighs_nothing(world: World) -> None:
    d = draw(world, np.full(10, 60), np.random.default_rng(5))
    base = estimate(d)
    donor_hits = np.flatnonzero(d.is_exploit_N & (d.span_N > 0))
    ratio = d.log_ratio_NS.copy()
    ratio[donor_hits[:3], 1:] = np.inf
    e = estimate(replace(d, log_ratio_NS=ratio))
    assert e.n_off_support == 3
    assert e.n_hits == base.n_hits
    assert value(e) < value(base)
    ratio[d.is_exploit_N, 1:] = np.inf
    none = estimate(replace(d, log_ratio_NS=ratio, is_exploit_N=d.is_exploit_N & (d.span_N > 0)))
    assert none.log10_p is None
    assert "off the subject's support" in none.reason


@pytest.mark.parametrize("masked", [3.4e38, 1.7e308])
def test_logits_masked_with_the_least_float_mean_probability_zero(world: World, masked: float) -> None:
    d = draw(world, np.full(10, 60), np.random.default_rng(5))
    hits = np.flatnonzero(d.is_exploit_N & (d.span_N > 1))
    ratio = d.log_ratio_NS.copy()
    ratio[hits[:3], 1:], ratio[hits[3:6], 1] = np.inf, -np.inf
    finite = np.nan_to_num(ratio, posinf=masked, neginf=-masked)
    assert estimate(replace(d, log_ratio_NS=finite)) == estimate(replace(d, log_ratio_NS=ratio))
    finite[hits[0], d.span_N[hits[0]]] = -masked  # a span can't have drawn what it never writes
    with pytest.raises(InputError, match="gives it probability 0"):
        estimate(replace(d, log_ratio_NS=finite))


def test_permutation_changes_nothing(world: World) -> None:
    d = draw(world, np.full(10, 50), np.random.default_rng(6))
    order = np.random.default_rng(0).permutation(500)
    shuffled = Draws(*(getattr(d, f)[order] for f in d.__dataclass_fields__))
    a, b = estimate(d), estimate(shuffled)
    assert a.log10_p == pytest.approx(b.log10_p, rel=1e-12)
    assert a.interval_log10 == pytest.approx(b.interval_log10, rel=1e-9)
    assert a.lower_bound == pytest.approx(b.lower_bound, rel=1e-9)
    assert (a.upper_bound, a.hits_by_span, a.resolved) == (b.upper_bound, b.hits_by_span, b.resolved)


def test_splitting_a_span_into_two_identical_ones_changes_nothing(world: World) -> None:
    d = draw(world, np.full(10, 60), np.random.default_rng(7))
    span = d.span_N.copy()
    span[np.flatnonzero(span == 4)[::2]] = 10
    ratio = np.concatenate([d.log_ratio_NS, d.log_ratio_NS[:, 4:5]], axis=1)
    a, b = estimate(d), estimate(replace(d, span_N=span, log_ratio_NS=ratio))
    assert a.log10_p == pytest.approx(b.log10_p, rel=1e-12)
    assert a.interval_log10 == pytest.approx(b.interval_log10, rel=1e-9)
    assert a.lower_bound == pytest.approx(b.lower_bound, rel=1e-9)
    assert (a.ess, a.khat) == pytest.approx((b.ess, b.khat), rel=1e-9)


def test_a_row_that_did_not_hit_is_never_read(world: World) -> None:
    d = draw(world, np.full(10, 50), np.random.default_rng(8))
    filled = np.where(d.is_exploit_N[:, None], d.log_ratio_NS, 12345.0)
    assert np.isnan(d.log_ratio_NS[~d.is_exploit_N]).all()
    assert estimate(d) == estimate(replace(d, log_ratio_NS=filled))


def test_invalid_completions_count_against_us_on_both_sides(world: World) -> None:
    d = draw(world, np.full(10, 60), np.random.default_rng(9))
    valid = np.ones(600, bool)
    valid[np.flatnonzero(~d.is_exploit_N & (d.span_N == 0))[:6]] = False
    whole, e = estimate(d), estimate(d, valid_N=valid)
    assert e.n_invalid == 6
    assert e.log10_p == whole.log10_p
    assert e.lower_bound == whole.lower_bound
    hits = int((d.is_exploit_N & (d.span_N == 0)).sum())
    own = mixture_estimate(np.zeros((60, 1)), np.arange(60) < hits + 6, np.zeros(60, int))
    assert e.upper_bound == pytest.approx(own.upper_bound)
    assert e.upper_bound > whole.upper_bound


def test_clusters_are_the_unit(world: World) -> None:
    """Every completion doubled within its trace: as much information as one, so nothing may narrow."""
    d = draw(world, np.full(10, 60), np.random.default_rng(10))
    twice = Draws(*(np.concatenate([getattr(d, f)] * 2) for f in d.__dataclass_fields__))
    a, b = estimate(d), estimate(twice, cluster_N=twice.cluster_N)
    naive = estimate(twice)
    assert b.log10_p == pytest.approx(a.log10_p)
    assert b.interval_log10 == pytest.approx(a.interval_log10, rel=1e-6)
    assert b.lower_bound == pytest.approx(a.lower_bound, rel=1e-9)
    assert b.ess == pytest.approx(a.ess)
    assert a.interval_log10 is not None
    assert naive.interval_log10 is not None
    assert naive.interval_log10[1] < a.interval_log10[1]


BAD = [
    ({"log_ratio_NS": np.zeros(6)}, "log_ratio_NS has shape"),
    ({"log_ratio_NS": np.zeros((0, 2)), "is_exploit_N": np.zeros(0, bool), "span_N": np.zeros(0, int)}, "no problems"),
    ({"is_exploit_N": np.zeros(5, bool)}, "is_exploit_N has 5 values"),
    ({"is_exploit_N": np.zeros(6)}, "is_exploit_N has type float64"),
    ({"span_N": np.zeros((6, 1), int)}, "span_N has shape"),
    ({"span_N": np.array([0, 0, 0, 1, 1, 2])}, "span_N ranges over 0..2"),
    ({"span_N": np.array([0, 0, 0, 1, 1, -1])}, "span_N ranges over -1..1"),
    ({"span_N": np.array([0.0, 0, 0, 1, 1, 1])}, "span_N has type float64"),
    ({"span_N": np.zeros(6, int)}, "span_N has no completion of span 1"),
    ({"span_N": np.ones(6, int)}, "certificates need the subject's own span"),
    ({"problem_N": np.array([0, 0, 0, 1, 1, 1])}, "no completion of span 0"),
    ({"problem_N": np.array([0, 0, 0])}, "problem_N has 3 values"),
    ({"problem_N": np.array([0, 0, 0, 0, 0, np.nan])}, "problem_N holds NaN"),
    ({"cluster_N": np.array([0, 0, 0])}, "cluster_N has 3 values"),
    ({"valid_N": np.array([True, True, True, True, True, False])}, "valid_N[5] is False"),
    ({"valid_N": np.ones(6)}, "valid_N has type float64"),
    ({"share_S": np.array([0.5, 0.4])}, "share_S sums to"),
    ({"share_S": np.array([1.0, 0.0])}, "share_S is [1.0, 0.0]"),
    ({"share_S": np.array([1.0])}, "share_S has shape (1,)"),
    ({"level": 0.0}, "level is 0.0"),
    ({"level": 1.0}, "level is 1.0"),
    ({"level": float("nan")}, "level is nan"),
    ({"design": "random"}, "share_S is None"),
    ({"design": "adaptive"}, "design is 'adaptive'"),
    ({"nan_on_hit": True}, "log_ratio_NS[5, 1] is NaN on a hit"),
    ({"own_column": True}, "log_ratio_NS[5, 0] is 0.5"),
    ({"impossible": True}, "gives it probability 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_refused_in_one_sentence(change: dict[str, object], message: str) -> None:
    ratio = np.zeros((6, 2))
    if change.pop("nan_on_hit", False):
        ratio[5, 1] = np.nan
    if change.pop("own_column", False):
        ratio[5, 0] = 0.5
    if change.pop("impossible", False):
        ratio[5, 1] = -np.inf
    given: dict[str, object] = {
        "log_ratio_NS": ratio,
        "is_exploit_N": np.array([False, False, False, False, False, True]),
        "span_N": np.array([0, 0, 0, 1, 1, 1]),
        **change,
    }
    with pytest.raises(InputError) as caught:
        mixture_estimate(**given)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_planned_shares_need_every_cell() -> None:
    with pytest.raises(InputError, match="no completion of it"):
        mixture_estimate(
            np.zeros((5, 2)), np.zeros(5, bool), np.array([0, 1, 0, 0, 0]), share_S=[0.5, 0.5],
            problem_N=np.array([0, 0, 1, 1, 1]),
        )  # fmt: skip


def test_an_estimate_above_one_keeps_its_interval_in_order() -> None:
    """Unlucky weights may sum past 1: the point says so, the interval ends at 1, its lower end at most there."""
    span = np.arange(40) % 2
    ratio = np.zeros((40, 2))
    ratio[:, 1] = np.where(np.arange(40) % 4 < 3, -2.0, 0.5)
    e = mixture_estimate(ratio, np.ones(40, bool), span)
    assert e.log10_p is not None
    assert e.interval_log10 is not None
    assert e.log10_p > 0
    assert e.interval_log10[0] <= e.interval_log10[1] <= 0
    assert e.lower_bound <= e.upper_bound <= 1
