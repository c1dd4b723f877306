"""The study's estimators on hand-worked cases and on an exact world."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation.classic import (
    brute_force,
    exp_minus_kl,
    exploit_log_prob,
    kl_slope,
    max_over_lengths,
    pooled_prefix_is,
    prefix_log_ratio,
    selected_donor_log_factor,
    tokens_of_words,
)
from forewarn.worlds import build
from forewarn.worlds.draw import draw


def test_pooled_prefix_is_averages_pairs() -> None:
    ratio = np.log([0.5, 0.25, 8.0, 1.0])
    hit, problem, length = np.array([True, True, True, False]), np.array([0, 0, 1, 1]), np.array([2, 2, 2, 5])
    e = pooled_prefix_is(ratio, hit, problem, length)
    # pairs (0,2): (0.5 + 0.25) / 2, (1,2): 8, (1,5): 0
    assert 10 ** (e.log10_p or math.nan) == pytest.approx((0.375 + 8 + 0) / 3)  # above 1, as the study's
    assert (e.n, e.n_hits) == (4, 3)
    assert pooled_prefix_is(ratio, np.zeros(4, bool), problem, length).log10_p is None


def test_pooled_prefix_is_is_unbiased_per_length_and_misses_the_accidental_road() -> None:
    """One length, many draws: the mean is the truth. The same N on a rare world: far below it in the median."""
    world, rng = build("tenth"), np.random.default_rng(0)
    d = draw(world, np.array([0, 60_000, 0, 0, 0, 0, 0, 0, 0, 0]), rng)
    e = pooled_prefix_is(-d.log_ratio_NS[:, 1], d.is_exploit_N, d.problem_N, np.full(60_000, 1))
    assert 10 ** (e.log10_p or math.nan) == pytest.approx(world.p, rel=0.1)
    rare, medians = build("accidental"), []
    for _ in range(40):
        d = draw(rare, np.array([0, 0, 0, 200, 0, 0, 0, 0, 0, 0]), rng)
        e = pooled_prefix_is(-d.log_ratio_NS[:, 3], d.is_exploit_N, d.problem_N, np.full(200, 9))
        medians.append(0.0 if e.log10_p is None else 10**e.log10_p)
    assert np.median(medians) < 0.2 * rare.p


def test_exp_minus_kl_and_max_over_lengths() -> None:
    ratio, hit = np.log([0.5, 0.125]), np.array([True, False])
    e = exp_minus_kl(ratio, hit, [0, 0], [3, 3])
    assert 10 ** (e.log10_p or math.nan) == pytest.approx(math.sqrt(0.5 * 0.125) * 0.5)
    log_prob, hits = np.log([0.1, 0.1, 0.02, 0.3]), np.array([True, False, True, True])
    m = max_over_lengths(log_prob, hits, [0, 0, 0, 1], [7, 7, 8, 9])
    assert 10 ** (m.log10_p or math.nan) == pytest.approx((0.1 * 0.5 + 0.3) / 2)
    assert max_over_lengths(log_prob, np.zeros(4, bool), [0, 0, 0, 1], [7, 7, 8, 9]).log10_p is None


def test_small_helpers() -> None:
    assert prefix_log_ratio([-1.0, -2.0, -3.0], [-0.5, -0.5, -0.5], 2) == pytest.approx(-2.0)
    assert tokens_of_words([" look", "ing", " at", " it"], 1) == 2
    assert tokens_of_words([" look", "ing"], 5) == 2
    assert exploit_log_prob([-1.0, -3.0, -10.0], [0, 0, 1]) == pytest.approx(-6.0)
    assert kl_slope([1, 10, 100], 3.0 - 2.0 * np.log([1, 10, 100])) == pytest.approx(-2.0)
    b = brute_force(0, 100, level=0.9)
    assert b.rate == 0.0
    assert b.clopper_pearson[1] == pytest.approx(1 - 0.05 ** (1 / 100))
    assert 0 < b.jeffreys[1] < b.clopper_pearson[1]


def test_selected_donor_correction_makes_a_bank_unbiased() -> None:
    """A bank keeps traces that succeeded. Two prefixes: drawn 0.9/0.1 by the donor, accepted 0.1/0.8."""
    q, p, accept = np.array([0.9, 0.1]), np.array([0.999, 0.001]), np.array([0.1, 0.8])
    exploit_given_prefix = np.array([0.001, 0.5])
    success = float((q * accept).sum())
    bank = q * accept / success
    factor = np.exp(np.log(p / q) + selected_donor_log_factor(np.full(2, success), accept))
    assert float((bank * factor * exploit_given_prefix).sum()) == pytest.approx(float((p * exploit_given_prefix).sum()))
    with pytest.raises(InputError, match="accept_N"):
        selected_donor_log_factor([0.5], [0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pooled_prefix_is([], np.zeros(0, bool), [], []), "at least one"),
        (lambda: pooled_prefix_is([np.nan], np.array([True]), [0], [1]), "NaN on a hit"),
        (lambda: pooled_prefix_is([0.0], np.array([1]), [0], [1]), "is_exploit_N has type"),
        (lambda: exp_minus_kl([np.nan], np.array([False]), [0], [1]), "every prefix"),
        (lambda: kl_slope([1], [2.0]), "two different steps"),
        (lambda: prefix_log_ratio([0.0], [0.0, 0.0], 1), "one a token"),
        (lambda: prefix_log_ratio([0.0], [0.0], -1), "n_prefix is -1"),
        (lambda: exploit_log_prob([], []), "at least one"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert message in str(caught.value)
