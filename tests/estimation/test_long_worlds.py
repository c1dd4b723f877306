"""Worlds of long answers, shortened until every completion can be listed: truth, densities and draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from forewarn.errors import InputError
from forewarn.estimation import span_log_ratios
from forewarn.records import UNBOUNDED, RandomWindows, Span
from forewarn.worlds.hard import HARD_WORLDS, build_hard
from forewarn.worlds.long import DONE, END, LongWorld, Manner, Route, Shape, law
from forewarn.worlds.long_draw import draw_long, log_ratios_of_hits

SUBJECT = Manner((0.05, 0.1), (0.3, 0.2), stop=0.3, close=0.3, pair=0.1, pair_go=0.6, lead=3.0)
DONOR = Manner((0.2, 0.02), (0.7, 0.2), style=0.6, stop=0.2, close=0.1, pair=0.4, pair_go=0.9, tail=0.01)


def world(*, reasoning: bool) -> LongWorld:
    shape = Shape((Route(2, 0, 9), Route(3, 1, 2)), 1, 3 if reasoning else 5, reasoning, limit=5 if reasoning else 6)
    laws = {"subject": law(shape, SUBJECT), "donor": law(shape, DONOR)}
    laws["subject^2"] = law(shape, SUBJECT, temperature=2.0)
    return LongWorld("short", "", shape, laws)


def every_completion(w: LongWorld) -> Iterator[tuple[tuple[int, ...], int, bool]]:
    """(tokens, reasoning tokens, exploit) of all that some model can write, by the table alone."""
    able = sum(w.laws.values()) > 0
    limit = w.shape.limit if w.shape.reasoning else min(w.shape.limit, w.shape.longest + 1)

    def go(tokens: tuple[int, ...], state: int, place: int, r: int) -> Iterator[tuple[tuple[int, ...], int, bool]]:
        if len(tokens) == limit:
            yield tokens, r, False
            return
        answer = state >= DONE
        for token in np.flatnonzero(able[state, place]).tolist():
            if answer and token == END:
                yield (*tokens, token), r, state == DONE
                continue
            after = int(w.after_GIV[state, place, token])
            yield from go((*tokens, token), after, min(place + answer, w.shape.longest), r + (not answer))

    yield from go((), w.shape.first_state, 0, 0)


SPANS = (
    Span(),
    Span(2, UNBOUNDED, "donor"),
    Span(3, 3, "donor", k0=1, m0=1),
    Span(0, 0, "donor", random=RandomWindows("answer", 1.5, starts=3)),
    Span(0, 0, "donor", random=RandomWindows("all", 2, 2, 5, "fixed")),
    Span(1, 0, "subject", random=RandomWindows("answer", 2.0, 2, 4), temperature=2.0),
    Span(0, 1, "donor", random=RandomWindows("reasoning", 1.25, 2, 3)),
)


@pytest.mark.parametrize("reasoning", [False, True])
def test_truth_densities_and_draws_are_those_of_the_enumeration(reasoning: bool) -> None:
    w = world(reasoning=reasoning)
    listed = list(every_completion(w))
    width = max(len(tokens) for tokens, _, _ in listed)
    token_YL = np.array([(*tokens, *[-1] * (width - len(tokens))) for tokens, _, _ in listed], dtype=np.int8)
    exploit = np.array([found for _, _, found in listed])
    scores = {
        name: [row[: len(t)] for row, (t, _, _) in zip(w.log_probs(token_YL, name), listed, strict=True)]
        for name in w.laws
    }
    p = np.exp([row.sum() for row in scores["subject"]])
    assert p.sum() == pytest.approx(1, abs=1e-12)
    for name in w.laws:
        q = np.exp([row.sum() for row in scores[name]])
        assert w.ends_in_exploit(name) == pytest.approx(q[exploit].sum(), rel=1e-12)
    assert w.p == pytest.approx(p[exploit].sum(), rel=1e-12)
    donors = {name: scores[name] for name in ("donor", "subject^2")}
    ratios = span_log_ratios(scores["subject"], donors, [r for _, r, _ in listed], SPANS)
    q_span = p[:, None] * np.exp(ratios)
    np.testing.assert_allclose(q_span.sum(axis=0), 1, atol=1e-12)
    n = 20_000
    drawn = draw_long(w, SPANS, np.repeat(np.arange(len(SPANS)), n), np.random.default_rng(4))
    index = {tokens: i for i, (tokens, _, _) in enumerate(listed)}
    where = np.array([index[tuple(row[row >= 0].tolist())] for row in drawn.token_NL])
    assert (exploit[where] == drawn.is_exploit_N).all()
    assert (np.array([r for _, r, _ in listed])[where] == drawn.n_reasoning_N).all()
    for s, span in enumerate(SPANS):
        counts = Counter(where[drawn.span_N == s].tolist())
        seen, due = np.array([counts.get(i, 0) for i in range(len(listed))]), n * q_span[:, s]
        common = due >= 5
        table = np.append(seen[common], seen[~common].sum()), np.append(due[common], due[~common].sum())
        assert stats.chisquare(table[0], table[1] * n / table[1].sum()).pvalue > 1e-4, span.name
    # the hits' log-ratios, and the writers that were kept, are those of the listing
    hits = log_ratios_of_hits(w, SPANS, drawn)
    np.testing.assert_allclose(hits, ratios[where[drawn.is_exploit_N]], atol=1e-10)


@pytest.mark.parametrize("name", ["A", "C", "late", "accident_1e-5", "closer"])
def test_the_hard_worlds_are_what_they_say(name: str) -> None:
    w = build_hard(name)
    assert 1e-6 < w.p < 3e-4
    own = w.laws["subject"]
    np.testing.assert_allclose(own.sum(axis=2), 1, atol=1e-12)
    assert 0.09 < w.style_nats("donor") < 0.5
    assert w.shape.longest >= 200
    rng = np.random.default_rng(0)
    drawn = draw_long(w, [Span()], np.zeros(200, np.int64), rng)
    length = (drawn.token_NL >= 0).sum(axis=1) - drawn.n_reasoning_N
    assert np.median(length) >= 200
    # a donor that writes alone is hopeless: its own style outweighs every hit
    alone = draw_long(w, [Span(), Span(UNBOUNDED, UNBOUNDED, "donor")], np.ones(300, np.int64), rng)
    if alone.is_exploit_N.sum() > 20:
        ratio = log_ratios_of_hits(w, [Span(), Span(UNBOUNDED, UNBOUNDED, "donor")], alone)[:, 1]
        assert np.median(ratio) > 20


def test_unknown_worlds_and_anchored_spans_are_refused() -> None:
    with pytest.raises(InputError, match="world 'Z' is unknown: choose from A, B"):
        build_hard("Z")
    with pytest.raises(InputError, match="long worlds have no text"):
        draw_long(
            build_hard("A"), [Span(0, 1, "donor", anchor="line")], np.zeros(1, np.int64), np.random.default_rng(0)
        )
    assert len(HARD_WORLDS) == 12
