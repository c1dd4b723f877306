"""Batches together: the right uses are right, the wrong ones are errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.estimation.pooling import Batch, combine, join, suggest_shares
from forewarn.records import Estimate
from forewarn.worlds import build
from forewarn.worlds.draw import draw
from forewarn.worlds.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return build("both_roads")


def batch(world: World, name: str, rng: np.random.Generator, count: list[int] | None = None) -> Batch:
    d = draw(world, np.array(count or [40] + [16] * 9), rng)
    return Batch(name, d.log_ratio_NS, d.is_exploit_N, d.span_N)


def value(e: Estimate) -> float:
    return 0.0 if e.log10_p is None else 10**e.log10_p


def test_joining_is_one_mixture_of_all_completions(world: World) -> None:
    rng = np.random.default_rng(0)
    a, b = batch(world, "a", rng), batch(world, "b", rng, [20] + [30] * 9)
    whole = mixture_estimate(
        np.concatenate([a.log_ratio_NS, b.log_ratio_NS]),
        np.concatenate([a.is_exploit_N, b.is_exploit_N]),
        np.concatenate([a.span_N, b.span_N]),
    )
    assert join([a, b], at_step=3) == whole


def test_combining_is_the_weighted_sum_and_adds_variances(world: World) -> None:
    rng = np.random.default_rng(1)
    a, b = batch(world, "a", rng), batch(world, "b", rng, [20] + [30] * 9)
    e = combine([a, b], [0.3, 0.7], at_step=3)
    singles = [mixture_estimate(x.log_ratio_NS, x.is_exploit_N, x.span_N) for x in (a, b)]
    assert value(e) == pytest.approx(0.3 * value(singles[0]) + 0.7 * value(singles[1]))
    assert e.n == sum(s.n for s in singles)
    assert e.n_hits == sum(s.n_hits for s in singles)
    assert e.hits_by_span[0] == sum(s.hits_by_span[0] for s in singles)
    assert e.interval_log10 is not None
    for single in singles:
        assert single.interval_log10 is not None
    widths = [s.interval_log10[1] - s.interval_log10[0] for s in (*singles, e) if s.interval_log10]
    assert widths[2] < max(widths[:2])


def test_a_share_refined_on_one_batch_serves_the_next_without_bias(world: World) -> None:
    rng, values, gains = np.random.default_rng(2), [], []
    for _ in range(40):
        pilot = batch(world, "pilot", rng, [30] + [8] * 9)
        share = suggest_shares(pilot.log_ratio_NS, pilot.is_exploit_N, pilot.span_N)
        assert share.sum() == pytest.approx(1)
        assert share[0] == pytest.approx(0.2)
        assert share[1:].min() >= 0.02 - 1e-12
        count = np.maximum(1, np.round(share * 300)).astype(int)
        d = draw(world, count, rng)
        second = Batch("second", d.log_ratio_NS, d.is_exploit_N, d.span_N, fitted_on=frozenset({"pilot"}))
        values.append(value(combine([pilot, second], [0.25, 0.75], at_step=3)))
        gains.append(world.variance(count) / world.variance(np.maximum(1, np.round(world.share_S * 300)).astype(int)))
    assert abs(np.mean(values) - world.p) < 4 * np.std(values) / np.sqrt(40)
    assert np.median(gains) < 0.9  # and refinement pays, by exact variances


def test_suggested_shares_without_hits_are_equal() -> None:
    share = suggest_shares(np.full((40, 4), np.nan), np.zeros(40, bool), np.arange(40) % 4)
    assert share.tolist() == pytest.approx([0.2, 0.8 / 3, 0.8 / 3, 0.8 / 3])
    with pytest.raises(InputError, match="leave no room"):
        suggest_shares(np.full((40, 4), np.nan), np.zeros(40, bool), np.arange(40) % 4, share_least=0.5)


def test_wrong_uses_are_errors(world: World) -> None:
    rng = np.random.default_rng(3)
    a, b = batch(world, "a", rng), batch(world, "b", rng)
    trained = replace(b, trained_step=10)
    with pytest.raises(InputError, match="trained checkpoint 10"):
        join([a, trained], at_step=10)
    with pytest.raises(InputError, match="trained checkpoint 10"):
        combine([a, trained], [0.5, 0.5], at_step=25)
    assert join([a, trained], at_step=9).n == 2 * len(a.span_N)  # an earlier checkpoint may use them
    with pytest.raises(InputError, match="fitted on itself"):
        combine([replace(a, fitted_on=frozenset({"a"}))], [1.0], at_step=1)
    with pytest.raises(InputError, match="use combine"):
        join([a, replace(b, fitted_on=frozenset({"a"}))], at_step=1)
    with pytest.raises(InputError, match="does not come before"):
        combine([replace(a, fitted_on=frozenset({"b"})), b], [0.5, 0.5], at_step=1)
    with pytest.raises(InputError, match="estimated width"):
        join([replace(a, stopping="width")], at_step=1)
    with pytest.raises(InputError, match="one positive weight per batch"):
        combine([a, b], [0.9, 0.2], at_step=1)
    ids = np.arange(len(a.span_N))
    with pytest.raises(InputError, match="must be independent"):
        join([replace(a, cluster_N=ids), replace(b, cluster_N=ids)], at_step=1)
    with pytest.raises(InputError, match="each its own name"):
        join([a, replace(b, name="a")], at_step=1)
    with pytest.raises(InputError, match="batches is empty"):
        join([], at_step=1)
    with pytest.raises(InputError, match="only realised shares"):
        join([replace(a, share_S=world.share_S), b], at_step=1)
    with pytest.raises(InputError, match="other spans"):
        join([a, replace(b, log_ratio_NS=b.log_ratio_NS[:, :-1])], at_step=1)
    with pytest.raises(InputError, match="for all or none"):
        join([replace(a, cluster_N=ids), b], at_step=1)
