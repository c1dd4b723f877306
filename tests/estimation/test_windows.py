"""Random windows against the sum over every draw of them, one by one; fixed windows against who wrote each token."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import EngineFault, InputError
from forewarn.estimation import n_deciding, span_log_ratios
from forewarn.records import UNBOUNDED, RandomWindows, Span


def every_draw(random: RandomWindows, places: list[int]) -> Iterator[tuple[float, tuple[bool, ...]]]:
    """(probability, who writes each token) of every course that random windows can take over a channel.

    ``places``: the number of the place at each token, -1 where no burst may begin. Written down as one would draw.
    """

    def go(i: int, left: int, writing: int | None, mask: tuple[bool, ...]) -> Iterator[tuple[float, tuple[bool, ...]]]:
        if i == len(places):
            yield 1.0, mask
            return
        if writing is None:
            begin = 0.0
            if left and 0 <= places[i] < random.starts:
                begin = min(1.0, left / (random.starts - places[i]))
            if begin < 1:
                for p, rest in go(i + 1, left, None, (*mask, False)):
                    yield (1 - begin) * p, rest
            if begin:
                for p, rest in written(i, left - 1, 1, mask):
                    yield begin * p, rest
        else:
            yield from written(i, left, writing, mask)

    def written(i: int, left: int, count: int, mask: tuple[bool, ...]) -> Iterator[tuple[float, tuple[bool, ...]]]:
        """The donor writes token i, the ``count``-th of its burst."""
        if random.length == "fixed":
            stop = float(count == random.mean)
        else:
            stop = 1 / random.mean
        if stop:
            for p, rest in go(i + 1, left, None, (*mask, True)):
                yield stop * p, rest
        if stop < 1:
            for p, rest in go(i + 1, left, count + 1, (*mask, True)):
                yield (1 - stop) * p, rest

    yield from go(0, random.bursts, None, ())


RULES = st.builds(
    lambda channel, mean, bursts, more, fixed: RandomWindows(
        channel, float(round(mean)) if fixed else mean, bursts, bursts + more, "fixed" if fixed else "geometric"
    ),
    st.sampled_from(["reasoning", "answer", "all"]),
    st.floats(1, 6),
    st.integers(1, 3),
    st.integers(0, 8),
    st.booleans(),
)
SCORES = st.lists(st.tuples(st.floats(-9, 0), st.one_of(st.floats(-40, 0), st.just(-math.inf))), min_size=1, max_size=7)


def ratios(
    pairs: list[tuple[float, float]], n_reasoning: int, spans: list[Span], lines: list[int] | None = None
) -> np.ndarray:
    subject, donor = (np.array(part) for part in zip(*pairs, strict=True))
    return span_log_ratios(
        [subject], {"d": [donor]}, [n_reasoning], spans, anchors=None if lines is None else [{"line": lines}]
    )[0]


@given(SCORES, st.integers(0, 7), RULES, st.one_of(st.none(), st.sets(st.integers(0, 7))))
@settings(max_examples=150)
def test_random_windows_are_the_mean_over_every_draw(
    pairs: list[tuple[float, float]], cut: int, random: RandomWindows, lines: set[int] | None
) -> None:
    n, n_reasoning = len(pairs), min(cut, len(pairs))
    first, end = {"reasoning": (0, n_reasoning), "answer": (n_reasoning, n), "all": (0, n)}[random.channel]
    starts = None if lines is None else sorted({*lines, first})
    within = [at for at in starts or [] if first <= at < end]
    places = [i - first if starts is None else within.index(i) if i in within else -1 for i in range(first, end)]
    draws = list(every_draw(random, places))
    assert math.isclose(sum(p for p, _ in draws), 1, rel_tol=1e-12)
    step = np.array([d - s for s, d in pairs])[first:end]
    direct = sum(p * math.exp(sum(step[i] for i, donor in enumerate(mask) if donor)) for p, mask in draws)
    span = Span(0, 0, "d", anchor=None if starts is None else "line", random=random)
    got = ratios(pairs, n_reasoning, [Span(), span], starts)
    if direct == 0:
        assert got[1] == -np.inf or got[1] < -700
    else:
        assert math.isclose(got[1], math.log(direct), rel_tol=1e-9, abs_tol=1e-9)
    # what decides is scored, and nothing behind it
    deciding = n_deciding(n_reasoning, n, [span])
    short = ratios(pairs[:deciding] or pairs[:1], min(n_reasoning, max(deciding, 1)), [Span(), span], starts)
    if deciding:
        assert short[1] == pytest.approx(got[1], rel=1e-12)
    else:
        assert got[1] == 0


@given(SCORES, st.integers(0, 7), st.tuples(*[st.integers(0, 8)] * 4), st.booleans())
def test_fixed_windows_are_differences_of_sums(
    pairs: list[tuple[float, float]], cut: int, edges: tuple[int, int, int, int], endless: bool
) -> None:
    (k0, k), (m0, m) = sorted(edges[:2]), sorted(edges[2:])
    m = UNBOUNDED if endless else m
    if k0 == k:
        k0 = k = 0
    if m0 == m:
        m0 = m = 0
    if not (k or m):
        return
    n_reasoning = min(cut, len(pairs))
    step = [d - s for s, d in pairs]
    span = Span(k, m, "d", k0=k0, m0=m0)
    got = ratios(pairs, n_reasoning, [Span(), span])[1]
    assert got == pytest.approx(sum(step[:n_reasoning][k0:k]) + sum(step[n_reasoning:][m0:m]), rel=1e-9, abs=1e-9)


def test_windows_counted_from_line_breaks_begin_at_every_line() -> None:
    pairs = [(-1.0, -1.0 + 2.0**i) for i in range(-7, 0)]
    span = Span(0, 2, "d", m0=1, anchor="line")
    step = [d - s for s, d in pairs]
    # reasoning of 2 tokens, then lines of 1, 3 and 1 tokens: only the second has tokens 1 and 2
    got = ratios(pairs, 2, [Span(), span], [0, 2, 3, 6])[1]
    assert got == pytest.approx(step[4], rel=1e-12)


def test_a_window_behind_what_the_donor_cannot_write_has_its_density() -> None:
    """As a difference of two cumulative sums it would be -inf - -inf."""
    pairs = [(-1.0, -math.inf), (-1.0, -0.5), (-1.0, -0.25), (-1.0, -math.inf)]
    spans = [Span(), Span(0, 3, "d", m0=1), Span(0, 2, "d"), Span(0, 0, "d", random=RandomWindows("answer", 1.0, 1, 4))]
    got = ratios(pairs, 0, spans)
    assert got[1] == pytest.approx(1.25)
    assert got[2] == -np.inf
    assert got[3] == pytest.approx(math.log((math.exp(0.5) + math.exp(0.75)) / 4))


def test_hundreds_of_nats_and_thousands_of_tokens_stay_finite() -> None:
    rng = np.random.default_rng(0)
    n = 3_000
    subject, donor = -rng.exponential(2, n), -rng.exponential(2, n)
    donor[100:110] = 0.0
    subject[100:110] = -90.0
    span = Span(0, 0, "d", random=RandomWindows("answer", 8.0, 2, 256))
    row = span_log_ratios([subject], {"d": [donor]}, [0], [Span(), span])[0]
    log_one = -math.log(256) + 9 * math.log(7 / 8) - math.log(8)  # one burst starts there, and ends after ten
    assert 890 + log_one < row[1] < 1_000


def test_windows_far_larger_than_a_completion_cost_no_more() -> None:
    """A burst that never ends in the channel, begun at one of a hundred million places."""
    step = np.array([0.5, -1.0, 2.0])
    span = Span(0, 0, "d", random=RandomWindows("answer", 1e8, 2, 10**8, "fixed"))
    row = span_log_ratios([np.zeros(3) - 3], {"d": [step - 3]}, [0], [Span(), span])[0]
    tails = [step[i:].sum() for i in range(3)]
    expected = np.log1p(sum(2e-8 * np.expm1(tail) for tail in tails))
    assert row[1] == pytest.approx(expected, rel=1e-6)


def test_who_wrote_tells_engine_faults_of_random_windows() -> None:
    span = Span(0, 0, "d", random=RandomWindows("answer", 2.0, 1, 4))
    subject, donor = [np.array([-1.0, -1.0])], {"d": [np.array([-1.0, -np.inf])]}
    given = {"span_N": [1], "donor_wrote": [np.array([True, False])]}
    assert np.isfinite(span_log_ratios(subject, donor, [0], [Span(), span], **given)).all()  # type: ignore[arg-type]
    with pytest.raises(EngineFault, match="completion 0, token 1"):
        span_log_ratios(subject, donor, [0], [Span(), span], span_N=[1], donor_wrote=[np.array([True, True])])
    with pytest.raises(EngineFault, match="completion 0, token 1"):
        span_log_ratios([np.array([-1.0, -np.inf])], donor, [0], [Span(), span], span_N=[1])
    with pytest.raises(InputError, match=r"donor_wrote\[0\] has shape \(1,\)"):
        span_log_ratios(subject, donor, [0], [Span(), span], span_N=[1], donor_wrote=[np.array([True])])


def test_a_window_from_an_anchor_needs_the_anchor() -> None:
    with pytest.raises(InputError, match="anchors has no 'line', from which the windows of span k0m2@line:d"):
        ratios([(-1.0, -1.0)], 0, [Span(), Span(0, 2, "d", anchor="line")])
