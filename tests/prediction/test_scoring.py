"""AUC with its interval, permutation test, Brier score, lead time."""

from __future__ import annotations

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.prediction import auc, brier, lead_time


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_auc_counts_pairs() -> None:
    score, label = [3.0, 1.0, 2.0, 2.0, 0.0], np.array([True, True, False, True, False])
    pairs = [(3, 2), (3, 0), (1, 2), (1, 0), (2, 2), (2, 0)]
    assert auc(score, label, rng=rng()).auc == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    assert auc([-s for s in score], label, rng=rng()).auc == pytest.approx(1 - auc(score, label, rng=rng()).auc)


def test_a_perfect_ranking_of_few_still_has_an_honest_interval() -> None:
    found = auc(np.arange(16.0), np.arange(16) >= 10, rng=rng())
    assert found.auc == 1.0
    assert found.interval[1] == 1.0
    assert 0.7 < found.interval[0] < 0.95
    assert found.p_value == pytest.approx(1 / 8008)  # exact: 16 choose 6
    assert (found.n_positive, found.n_negative) == (6, 10)
    worst = auc(-np.arange(16.0), np.arange(16) >= 10, rng=rng())
    assert worst.interval[0] == 0.0
    assert worst.interval[1] == pytest.approx(1 - found.interval[0])


def test_interval_covers() -> None:
    """Binormal scores with a true AUC of 0.856, 6 against 10."""
    generator, truth, inside = rng(), 0.8555, 0
    for _ in range(400):
        score = np.concatenate([generator.normal(1.5, 1, 6), generator.normal(0, 1, 10)])
        low, high = auc(score, np.arange(16) < 6, rng=generator).interval
        inside += low <= truth <= high
    assert 0.86 < inside / 400 < 0.97


def test_permutation_test_is_uniform_without_signal_and_samples_when_large() -> None:
    generator = rng()
    small = [auc(generator.random(9), np.arange(9) < 4, rng=generator).p_value for _ in range(300)]
    assert np.mean(np.array(small) <= 0.1) < 0.16
    large = auc(np.arange(60.0), np.arange(60) >= 30, rng=generator)
    assert large.p_value == pytest.approx(1 / 20_001)


def test_brier_and_lead_time() -> None:
    assert brier([0.9, 0.2], np.array([True, False])) == pytest.approx((0.01 + 0.04) / 2)
    assert lead_time(15, [1, 80, 15, 200], [0.0, 0.2, 0.01, 0.9], threshold=0.1) == 65
    assert lead_time(100, [1, 80], [0.0, 0.2], threshold=0.1) == -20
    assert lead_time(None, [1, 80], [0.0, 0.2], threshold=0.1) is None
    assert lead_time(5, [1, 80], [0.0, 0.05], threshold=0.1) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc([1.0, 2.0], np.array([True, True]), rng=rng()), "needs both"),
        (lambda: auc([1.0, np.nan], np.array([True, False]), rng=rng()), "is NaN"),
        (lambda: auc([1.0, 2.0], np.array([1, 0]), rng=rng()), "emerged has type"),
        (lambda: auc([1.0], np.array([True, False]), rng=rng()), "score has shape"),
        (lambda: brier([1.2], np.array([True])), "outside"),
        (lambda: brier([], np.array([], bool)), "empty"),
        (lambda: lead_time(1, [1], [], threshold=0.1), "rates has 0"),
    ],
)
def test_bad_input(call: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()  # type: ignore[operator]
    assert message in str(caught.value)
