"""What methods learn on development runs: by the same rules, and never of the run that is asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from forewarn.bench.methods.base import Said
from forewarn.bench.methods.learned import Learned, Lesson, answer, learn, shape
from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.protocol import protocol
from forewarn.bench.scores.build import panel_of
from tests.bench.test_scores import pair

P = protocol()
EARLY = replace(P, monitor=replace(P.monitor, steps=(0, 20)))


def lesson(said: Said, *, event: bool, number: int = 0, status: str = "paid", crossing: float = 150.0) -> Lesson:
    one = pair(
        "d0-V1", use="development", exploit_type=f"x{number}", status=status, crossing=crossing if event else None
    )
    return Lesson(one, 20, said, 1.0)


def test_a_forecast_that_is_twice_too_sure_is_halved() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 3000)
    event = rng.random(3000) < expit(true)
    lessons = [
        lesson(Said(0.0, float(expit(2 * x))), event=bool(e), number=i)
        for i, (x, e) in enumerate(zip(true, event, strict=True))
    ]
    learned = learn(lessons, 0, rising=True)
    assert learned.temperature == pytest.approx(2.0, rel=0.15)
    score, probability, passed = answer(Said(7.0, float(expit(2.0))), learned, np.linspace(0, 1, 300))
    assert score == 7.0
    assert probability == pytest.approx(expit(1.0), abs=0.03)
    assert passed[-1] == pytest.approx(probability)


def test_a_score_becomes_a_probability_that_rises_with_it() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(-5, 2, 2000)
    event = rng.random(2000) < expit(1.5 * (score + 5) - 1)
    lessons = [
        lesson(Said(float(s), features=(float(s),)), event=bool(e), number=i)
        for i, (s, e) in enumerate(zip(score, event, strict=True))
    ]
    flat = np.linspace(0, 1, 300)
    learned = learn(lessons, 1, rising=True)
    found = [answer(Said(s, features=(s,)), learned, flat)[1] for s in (-7.0, -5.0, -3.0)]
    assert found == pytest.approx([expit(-4), expit(-1), expit(2)], abs=0.06)
    against = [replace(one, pair=replace(one.pair, crossing=None if one.pair.event else 150.0)) for one in lessons]
    turned = learn(against, 1, rising=True)
    assert turned.regression is not None
    assert turned.regression.weights[0] == 0.0, "a method that ranks the wrong way is not turned round"
    assert learn(against, 1, rising=False).regression.weights[0] < 0  # type: ignore[union-attr]


def test_without_development_runs_nothing_is_known() -> None:
    learned = learn([], 1, rising=True)
    assert answer(Said(3.0, features=(3.0,)), learned, np.linspace(0, 1, 300))[1] == 0.5
    assert learn([], 0, rising=True).temperature == 1.0


def test_the_shape_lies_ahead_and_where_crossings_were() -> None:
    learned = Learned(None, 1.0, (("paid", 200.0), ("paid", 210.0), ("late", 290.0)), 3)
    F = shape(learned, "paid", 60, 0, 300)
    assert F[59] == 0.0
    assert F[-1] == pytest.approx(1.0)
    assert (np.diff(F) >= 0).all()
    assert F[229] - F[179] > 0.5
    late = shape(learned, "late", 60, 150, 300)
    assert late[149] == 0.0
    assert shape(Learned(None, 1.0, (), 0), "paid", 100, 0, 300)[199] == pytest.approx(0.5)


def test_own_steps_are_kept_and_scaled() -> None:
    own = np.concatenate([np.zeros(100), np.full(200, 0.8)])
    _, probability, passed = answer(Said(0.0, 0.8, passed=own), Learned(None, 2.0, (), 0), np.linspace(0, 1, 300))
    assert probability == pytest.approx(expit(np.log(4) / 2))
    assert passed == pytest.approx(np.concatenate([np.zeros(100), np.full(200, probability)]))


def panel_with(outcomes: dict[str, list[bool]]) -> dict[str, np.ndarray]:
    """Probabilities at the last checkpoint by run, of a method with the same three scores in every run."""
    pairs: list[Pair] = []
    said = {}
    for run, events in outcomes.items():
        names = [f"x{i}" for i in range(len(events))]
        use = "development" if run.startswith("d") else "test"
        pairs += [
            pair(run, use=use, exploit_type=n, crossing=100.0 if e else None)
            for n, e in zip(names, events, strict=True)
        ]
        said[run] = [{n: Said(float(i), features=(float(i),)) for i, n in enumerate(names)}] * 2
    panel = panel_of("level", said, pairs, EARLY)
    return {run: panel.probability_IC[[i for i, p in enumerate(pairs) if p.run == run], -1] for run in outcomes}


def test_a_development_run_is_answered_by_what_the_others_teach() -> None:
    first = panel_with({"d0-V1": [False, True, True], "d0-V3": [False, False, True], "t0-V1": [False, False, True]})
    other = panel_with({"d0-V1": [False, False, False], "d0-V3": [False, False, True], "t0-V1": [True, True, True]})
    assert first["d0-V1"] == pytest.approx(other["d0-V1"]), "its own outcome teaches it nothing"
    assert (first["d0-V3"] > other["d0-V3"]).all()
    assert (first["t0-V1"] > other["t0-V1"]).all(), "and a test run teaches nobody"
    assert first["d0-V3"][0] < first["d0-V3"][2]
