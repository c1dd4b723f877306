"""Log-spaced checkpoints: as many as asked for, distinct, in order, and as even in log(step) as whole steps allow."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import InputError
from forewarn.training.schedule import log_spaced_steps


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int]:
    first = draw(st.integers(1, 200))
    last = draw(st.integers(first, 5000))
    return first, last, draw(st.integers(1, min(60, last - first + 1)))


@settings(deadline=None)
@given(plans())
def test_every_plan_that_fits_is_met(plan: tuple[int, int, int]) -> None:
    first, last, count = plan
    steps = log_spaced_steps(first, last, count)
    assert len(steps) == count
    assert list(steps) == sorted(set(steps))
    assert steps[-1] == last
    assert count == 1 or steps[0] == first


@settings(deadline=None)
@given(plans())
def test_steps_grow_no_slower_than_before(plan: tuple[int, int, int]) -> None:
    """Log spacing: gaps in whole steps never shrink by more than rounding."""
    steps = log_spaced_steps(*plan)
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(gaps)), steps


def test_even_ratios_where_there_is_room() -> None:
    assert log_spaced_steps(1, 10_000, 5) == (1, 10, 100, 1000, 10_000)
    steps = log_spaced_steps(100, 100_000, 20)
    ratios = [math.log(b / a) for a, b in itertools.pairwise(steps)]
    assert max(ratios) - min(ratios) < 0.01


def test_the_shipped_schedule() -> None:
    assert log_spaced_steps(4, 200, 12) == (4, 6, 9, 13, 18, 25, 35, 50, 71, 100, 141, 200)


@pytest.mark.parametrize("plan", [(0, 5, 2), (5, 4, 1), (1, 3, 4), (1, 3, 0), (-2, 3, 2)])
def test_impossible_plans_are_refused(plan: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=f"{plan[2]} checkpoints from step {plan[0]} to step {plan[1]}"):
        log_spaced_steps(*plan)
