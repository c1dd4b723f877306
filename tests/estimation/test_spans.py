"""Log-ratios from per-token scores against densities by who wrote each token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.errors import EngineFault, InputError
from forewarn.estimation import donor_key, n_deciding, span_log_ratios
from forewarn.records import UNBOUNDED, Span
from forewarn.worlds import build


@pytest.mark.parametrize("name", ["both_roads", "two_token_closer", "limit_bites", "top_p", "extreme_ratios"])
def test_agrees_with_the_density_by_writer(name: str) -> None:
    world = build(name)
    kind, rng = world.kinds[0], np.random.default_rng(0)
    possible = np.flatnonzero(np.isfinite(np.column_stack([kind.log_p_Y, kind.log_q_YS])).any(axis=1))
    rows = rng.choice(possible, 400)
    subject = [kind.tree.log_prob["subject"][y, : kind.tree.n_token_Y[y]] for y in rows]
    donor = [kind.tree.log_prob["donor"][y, : kind.tree.n_token_Y[y]] for y in rows]
    got = span_log_ratios(subject, {"donor": donor}, kind.tree.n_reasoning_Y[rows].tolist(), world.spans)
    on = np.isfinite(kind.log_p_Y[rows])
    np.testing.assert_allclose(got[on], kind.log_q_YS[rows][on] - kind.log_p_Y[rows][on, None], rtol=1e-9, atol=1e-9)
    assert (got[~on, 1:] == np.inf).all()
    assert (got[:, 0] == 0).all()
    assert (name == "top_p") == bool((~on).any())


def one(subject: list[float], donor: list[float], n_reasoning: int, span: Span, **kwargs: object) -> float:
    row = span_log_ratios(
        [np.array(subject)],
        {"d": [np.array(donor)]},
        [n_reasoning],
        [Span(), span],
        **kwargs,  # type: ignore[arg-type]
    )
    return float(row[0, 1])


def test_span_counts_stop_at_each_channel() -> None:
    subject, donor = [-1.0, -2.0, -3.0, -4.0], [-0.5, -0.5, -0.5, -0.5]
    assert one(subject, donor, 2, Span(1, 0, "d")) == 0.5
    assert one(subject, donor, 2, Span(9, 0, "d")) == 2.0
    assert one(subject, donor, 2, Span(0, 1, "d")) == 2.5
    assert one(subject, donor, 2, Span(1, UNBOUNDED, "d")) == 6.5
    assert one(subject, donor, 4, Span(0, 5, "d")) == 0.0  # no answer opened


@given(
    st.lists(st.floats(-9, 0), min_size=1, max_size=12),
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 14), st.one_of(st.integers(0, 14), st.just(UNBOUNDED))), min_size=1, max_size=4),
    st.integers(0, 1000),
)
def test_tokens_behind_every_span_decide_nothing(
    subject: list[float], cut: int, shapes: list[tuple[int, int]], seed: int
) -> None:
    """The same rows from the deciding tokens alone, and other rows from one token fewer."""
    n, rng = len(subject), np.random.default_rng(seed)
    n_reasoning = min(cut, n)
    spans = [Span(), *(Span(k, m, "d") for k, m in shapes if k + m > 0)]
    scores, donor = np.array(subject), -rng.exponential(2, n) - 10
    end = n_deciding(n_reasoning, n, spans)
    whole = span_log_ratios([scores], {"d": [donor]}, [n_reasoning], spans)
    first = span_log_ratios([scores[:end]], {"d": [donor[:end]]}, [min(n_reasoning, end)], spans)
    np.testing.assert_allclose(first, whole, rtol=1e-12)
    if end:
        fewer = end - 1
        short = span_log_ratios([scores[:fewer]], {"d": [donor[:fewer]]}, [min(n_reasoning, fewer)], spans)
        assert (short != whole).any()


def test_off_support_and_impossible_rows() -> None:
    assert one([-1.0, -np.inf], [-1.0, -1.0], 2, Span(1, 0, "d")) == np.inf
    assert one([-1.0, -1.0], [-np.inf, -1.0], 2, Span(1, 0, "d")) == -np.inf
    assert one([-1.0, -1.0], [-1.0, -np.inf], 2, Span(1, 0, "d")) == 0.0


def test_a_token_its_own_writer_cannot_write_is_an_engine_fault() -> None:
    with pytest.raises(EngineFault, match="completion 0, token 1"):
        one([-1.0, -np.inf], [-1.0, -np.inf], 2, Span(1, 0, "d"))
    with pytest.raises(EngineFault, match="token 1"):  # the subject wrote token 1 of a k = 1 span
        one([-1.0, -np.inf], [-1.0, -1.0], 2, Span(1, 0, "d"), span_N=[1])
    with pytest.raises(EngineFault, match="token 0"):
        one([-1.0, -1.0], [-np.inf, -1.0], 2, Span(1, 0, "d"), span_N=[1])
    assert one([-np.inf, -1.0], [-1.0, -1.0], 2, Span(1, 0, "d"), span_N=[1]) == np.inf


def test_scaled_donors_have_their_own_scores() -> None:
    full, half = Span(1, 0, "d"), Span(1, 0, "d", 0.5)
    assert (donor_key(full), donor_key(half)) == ("d", "d*0.5")
    row = span_log_ratios(
        [np.array([-3.0])], {"d": [np.array([-1.0])], "d*0.5": [np.array([-2.0])]}, [1], [Span(), full, half]
    )
    assert row.tolist() == [[0.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("subject", "donor", "n_reasoning", "spans", "message"),
    [
        ([[-1.0]], [[-1.0, -1.0]], [1], [Span()], "shape (2,)"),
        ([[-1.0]], [[-1.0]], [2], [Span()], "n_reasoning[0] is 2"),
        ([[-1.0]], [[-1.0]], [1, 1], [Span()], "n_reasoning has 2 values"),
        ([[-1.0], [-1.0]], [[-1.0]], [1, 1], [Span()], "has 1 completions"),
        ([[-1.0]], [[-1.0]], [1], [Span(1, 0, "other")], "no 'other'"),
        ([[-1.0]], [[-1.0]], [1], [], "spans is empty"),
        ([[np.nan]], [[-1.0]], [1], [Span(1, 0, "d")], "holds NaN at token 0"),
        ([[0.5]], [[-1.0]], [1], [Span(1, 0, "d")], "at most 0"),
    ],
)
def test_bad_input(
    subject: list[list[float]], donor: list[list[float]], n_reasoning: list[int], spans: list[Span], message: str
) -> None:
    used = spans if spans else []
    if message.startswith("shape"):
        used = [Span(), Span(1, 0, "d")]
    with pytest.raises(InputError) as caught:
        span_log_ratios([np.array(s) for s in subject], {"d": [np.array(d) for d in donor]}, n_reasoning, used)
    assert message in str(caught.value)
