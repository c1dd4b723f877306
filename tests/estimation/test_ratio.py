"""The ratio of two rates: its interval against simulated counts, and rates without a hit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.estimation.ratio import rate_ratio
from forewarn.records import Estimate


def counted(hits: int, n: int, level: float = 0.9) -> Estimate:
    """Brute force: every completion is the subject's own."""
    is_exploit = np.zeros(n, dtype=bool)
    is_exploit[:hits] = True
    return mixture_estimate(np.zeros((n, 1)), is_exploit, np.zeros(n, dtype=int), level=level)


@pytest.mark.parametrize(("p_a", "p_b"), [(0.02, 0.02), (0.05, 0.01), (0.01, 0.05)])
def test_the_interval_covers(p_a: float, p_b: float) -> None:
    rng = np.random.default_rng(3)
    held = {h: counted(h, 1500) for h in range(150)}
    inside = told = 0
    for _ in range(300):
        found = rate_ratio(held[int(rng.binomial(1500, p_a))], held[int(rng.binomial(1500, p_b))])
        truth = math.log10(p_b / p_a)
        inside += found.interval_log10[0] <= truth <= found.interval_log10[1]
        told += found.says == ("not told" if p_a == p_b else "lower" if p_b < p_a else "higher")
    assert inside >= 300 * 0.86
    assert told >= 300 * 0.86


def test_one_without_a_hit_has_its_certified_bounds() -> None:
    none, many = counted(0, 2000), counted(100, 2000)
    found = rate_ratio(many, none)
    assert found.log10 is None
    assert found.says == "lower"
    assert found.interval_log10[0] == -math.inf
    assert many.interval_log10 is not None
    assert found.interval_log10[1] == pytest.approx(math.log10(none.upper_bound) - many.interval_log10[0])
    assert rate_ratio(none, many).says == "higher"
    both = rate_ratio(none, none)
    assert both.says == "not told"
    assert both.interval_log10 == (-math.inf, math.inf)


def test_exchanging_the_two_turns_the_sign() -> None:
    a, b = counted(20, 1000), counted(50, 1000)
    there, back = rate_ratio(a, b), rate_ratio(b, a)
    assert there.log10 == pytest.approx(-(back.log10 or 0.0))
    assert there.interval_log10 == pytest.approx((-back.interval_log10[1], -back.interval_log10[0]))


def test_what_is_unresolved_stays_so_and_levels_must_agree() -> None:
    a = counted(50, 1000)
    assert rate_ratio(a, a).resolved
    assert not rate_ratio(a, replace(a, resolved=False)).resolved
    with pytest.raises(InputError, match=r"level 0\.9 and the other 0\.95"):
        rate_ratio(a, counted(50, 1000, level=0.95))
