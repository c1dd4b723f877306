"""The exact worlds are exact: laws sum to one, q = p exp(D), variances match simulation, traces are shared."""

from __future__ import annotations

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate
from forewarn.records import SUBJECT
from forewarn.worlds import WORLDS, build
from forewarn.worlds.draw import draw, draw_units
from forewarn.worlds.world import checks


@pytest.mark.parametrize("name", list(WORLDS))
def test_densities_sum_to_one_and_are_p_exp_d(name: str) -> None:
    world = build(name)
    found = checks(world)
    assert found["sum"] < 1e-12
    assert found["identity"] < 1e-12
    assert 0 < world.p < 1
    assert world.spans[0].donor == SUBJECT


def test_the_catalogue_spans_the_stated_range() -> None:
    rates = [build(name).p for name in WORLDS]
    assert len(rates) >= 12
    assert min(rates) < 1e-9
    assert max(rates) > 0.4
    covered = [build(name).covered for name in WORLDS]
    assert sum(covered) >= 6
    assert not all(covered)


def test_exact_variance_matches_simulation() -> None:
    world, rng = build("accidental"), np.random.default_rng(0)
    count_S = np.array([40] + [20] * 9)
    values = []
    for _ in range(400):
        d = draw(world, count_S, rng)
        e = mixture_estimate(d.log_ratio_NS, d.is_exploit_N, d.span_N)
        values.append(0.0 if e.log10_p is None else 10**e.log10_p)
    assert np.var(values, ddof=1) == pytest.approx(world.variance(count_S), rel=0.25)


def test_shared_traces_keep_every_span_s_law() -> None:
    """Completions cut from shared traces follow each span's own density: hit rates match the exact ones."""
    world, rng = build("tenth"), np.random.default_rng(1)
    (d,) = draw_units((world,), 4000, 4000, rng, answer_only=4000)
    for s, span in enumerate(world.spans):
        exact = float(np.exp(world.kinds[0].log_q_YS[world.kinds[0].is_exploit_Y, s]).sum())
        got = d.is_exploit_N[d.span_N == s]
        assert abs(got.mean() - exact) < 5 * np.sqrt(exact * (1 - exact) / len(got)), span
        assert len(np.unique(d.cluster_N[d.span_N == s])) == 4000
    tree = world.kinds[0].tree
    first = {s: tree.token_YI[d.leaf_N[d.span_N == s], 0] for s, span in enumerate(world.spans) if span.k > 0}
    reference = next(iter(first.values()))
    assert all((tokens == reference).all() for tokens in first.values())  # the same trace opens each of them


def test_unknown_world() -> None:
    with pytest.raises(InputError, match="'atlantis' is unknown"):
        build("atlantis")
