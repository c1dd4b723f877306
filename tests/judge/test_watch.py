"""When a child's time is up: what it used or chose to wait for counts, what the machine withheld does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.judge.inside.watch import left_s, longest_s

SECONDS = st.floats(0, 1e4)


def never() -> float:
    raise AssertionError("asked for what does not matter yet")


def test_before_its_time_nothing_else_is_asked() -> None:
    assert left_s(0.5, never, 2.0) == 1.5


def test_a_child_that_had_a_core_ends_at_its_limit() -> None:
    assert left_s(2.0, lambda: 0.0, 2.0) == "deadline"


def test_waiting_for_a_core_is_added() -> None:
    assert left_s(2.0, lambda: 1.5, 2.0) == pytest.approx(1.5)
    assert left_s(3.6, lambda: 1.5, 2.0) == "deadline"


def test_waiting_is_added_up_to_a_bound() -> None:
    longest = longest_s(2.0)
    assert left_s(longest - 1, lambda: longest - 2, 2.0) == pytest.approx(1.0)
    assert left_s(longest, lambda: longest - 1, 2.0) == "starved"


@given(spent_s=SECONDS, share=st.floats(0, 1), timeout_s=st.floats(0.01, 100))
def test_it_ends_in_bounded_time_and_for_the_right_reason(spent_s: float, share: float, timeout_s: float) -> None:
    waited = share * spent_s
    answer = left_s(spent_s, lambda: waited, timeout_s)
    if answer == "deadline":
        assert spent_s - waited >= timeout_s * (1 - 1e-9)
    elif answer == "starved":
        assert spent_s >= longest_s(timeout_s)
        assert spent_s - waited < timeout_s * (1 + 1e-9)
    else:
        assert isinstance(answer, float)
        assert answer > 0
        assert spent_s + answer <= longest_s(timeout_s) * (1 + 1e-9)
