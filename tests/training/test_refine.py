"""Refining a donor: shares capped and nothing else, examples in proportion, bad weights refused."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import InputError
from forewarn.training.refine import WeightedExploit, capped_shares, found_by_group, refinement_examples

LOG_WEIGHTS = st.lists(st.one_of(st.floats(-60, 60), st.floats(-2000, 2000)), min_size=1, max_size=25)
SLOW_MACHINE = settings(deadline=None)
CAPS = st.floats(0.02, 1)


def exploits(group: str, log_weights: list[float], first_token: int = 0) -> list[WeightedExploit]:
    return [WeightedExploit(group, (1, 2), (first_token + i,), w) for i, w in enumerate(log_weights)]


@SLOW_MACHINE
@given(LOG_WEIGHTS, CAPS)
def test_shares_sum_to_one_and_none_is_above_the_cap(log_weights: list[float], cap: float) -> None:
    share = capped_shares(log_weights, cap)
    assert share.sum() == pytest.approx(1)
    assert share.min() >= 0
    assert share.max() <= max(cap, 1 / len(share)) * (1 + 1e-9)


@SLOW_MACHINE
@given(LOG_WEIGHTS, CAPS)
def test_order_is_kept_and_shares_below_the_cap_stay_in_proportion(log_weights: list[float], cap: float) -> None:
    share = capped_shares(log_weights, cap)
    order = np.argsort(log_weights, kind="stable")
    assert np.all(np.diff(share[order]) >= -1e-12)
    below = [i for i in range(len(share)) if 1e-9 < share[i] < max(cap, 1 / len(share)) * (1 - 1e-6)]
    for i in below[1:]:
        expected = log_weights[i] - log_weights[below[0]]
        assert math.log(share[i] / share[below[0]]) == pytest.approx(expected, abs=1e-6)


@SLOW_MACHINE
@given(LOG_WEIGHTS, st.floats(-500, 500))
def test_a_common_factor_changes_nothing(log_weights: list[float], shift: float) -> None:
    moved = capped_shares([w + shift for w in log_weights])
    np.testing.assert_allclose(moved, capped_shares(log_weights), atol=1e-9)


def test_shares_by_hand() -> None:
    np.testing.assert_allclose(capped_shares(np.log([1, 2, 1]).tolist(), 0.9), [0.25, 0.5, 0.25])
    # 0.6 -> 0.4; what is cut makes 0.3 and 0.1 into 0.45 and 0.15, and 0.45 -> 0.4 in its turn
    np.testing.assert_allclose(capped_shares(np.log([6, 3, 1]).tolist(), 0.4), [0.4, 0.4, 0.2])
    np.testing.assert_allclose(capped_shares([0.0, -3000.0, -3000.0], 0.4), [0.4, 0.3, 0.3])
    np.testing.assert_allclose(capped_shares([0.0, -744.0, -745.0, -3000.0], 0.4), [0.4, 0.4, 0.2, 0.0], atol=1e-12)
    # many heavy ones in turn: a cap set once is not scaled up again by a later round
    assert capped_shares([0.0, -4.0, -8.0, -9.0, *[-30.0] * 8], 0.1).max() == pytest.approx(0.1)


@SLOW_MACHINE
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12), st.integers(1, 200), st.integers(0, 2**32))
def test_examples_are_drawn_in_proportion(log_weights: list[float], count: int, seed: int) -> None:
    drawn = refinement_examples(exploits("t", log_weights), count, seed=seed)
    assert len(drawn) == count
    times = Counter(int(target[0]) for _, target in drawn)
    for i, share in enumerate(capped_shares(log_weights)):
        assert abs(times[i] - count * share) < 1 + 1e-6


def test_unbiased_over_seeds() -> None:
    found = exploits("t", np.log([0.05, 0.15, 0.3, 0.3, 0.2]).tolist())
    times: Counter[int] = Counter()
    for seed in range(4000):
        times.update(int(target[0]) for _, target in refinement_examples(found, 3, max_share=1.0, seed=seed))
    total = 12_000
    for i, share in enumerate([0.05, 0.15, 0.3, 0.3, 0.2]):
        assert abs(times[i] - total * share) < 5 * math.sqrt(total * share * (1 - share))


def test_every_group_gets_the_same_number_and_seeds_repeat() -> None:
    found = exploits("b", [0.0, 1.0]) + exploits("a", [-300.0], first_token=100) + exploits("c", [-math.inf], 200)
    drawn = refinement_examples(found, 7, seed=1)
    assert Counter(target[0] >= 100 for _, target in drawn) == {True: 7, False: 7}
    assert all(target[0] < 200 for _, target in drawn), "a weight of 0 is never drawn"
    assert drawn == refinement_examples(found, 7, seed=1)
    assert found_by_group(found) == {"b": 2, "a": 1, "c": 1}


def test_unusable_input_is_refused() -> None:
    for found in ([], exploits("t", [-math.inf, -math.inf])):
        with pytest.raises(InputError, match="no exploits to refine a donor on"):
            refinement_examples(found, 5, seed=1)
    for weight in (math.nan, math.inf):
        with pytest.raises(InputError, match=f"group 't' has log weight {weight}"):
            refinement_examples(exploits("t", [0.0, weight]), 5, seed=1)
    with pytest.raises(InputError, match="n_per_group is 0"):
        refinement_examples(exploits("t", [0.0]), 0, seed=1)
    for weights in ([], [math.nan], [-math.inf]):
        with pytest.raises(InputError, match="can't be shared out"):
            capped_shares(weights)
