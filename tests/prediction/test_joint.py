"""Forecasts of a whole run: against runs drawn from the law itself, and what each part of the law does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from forewarn.errors import InputError
from forewarn.prediction import brier, law
from forewarn.prediction.belief import believe
from forewarn.prediction.joint import forecast_run
from forewarn.prediction.law import Mix, Particles, Training, TypeTraining, advance, draw_guesses, selection
from forewarn.records import Forecast
from tests.prediction.law_runs import HORIZON, STEPS, TYPES, cell, mix, probability, simulated


def forecast_of(
    rates: dict[str, list[float | None]], training: Training | None, seed: int = 0, horizon: int = HORIZON
) -> dict[str, Forecast]:
    cells = {name: [cell(p) for p in mine] for name, mine in rates.items()}
    steps = STEPS[: len(next(iter(rates.values())))]
    return forecast_run("run", steps, cells, horizon_step=horizon, training=training, rng=np.random.default_rng(seed))


def flat(level: float = 1e-5, n: int = 4) -> dict[str, list[float | None]]:
    return {name: [level] * n for name in TYPES}


def test_selection_grows_as_the_square_root_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sparse regime 1/sqrt(p) falls linearly, by c a / 2 a step."""
    monkeypatch.setattr(law, "WANDER", 0.0)
    level = np.full((1, 1), float(logit(1e-3)))
    one = np.ones((1, 1))
    found, speed, kin, stranger = np.ones((1, 1), dtype=bool), np.array([0.2]), np.array([0.7]), np.array([0.4])
    guesses = Particles(level, found, speed, kin, stranger, one, one, room_PT=one, left_PT=one)
    rng = np.random.default_rng(0)
    inverse = [math.exp(-0.5 * float(guesses.level_PT[0, 0]))]
    for start in range(0, 200, 2):
        guesses, _ = advance(guesses, Mix.of(("t",), None), start, start + 2, rng, noise=False)
        inverse.append(math.exp(-0.5 * float(guesses.level_PT[0, 0])))
    falls = -np.diff(inverse) / 2
    assert falls[:50] == pytest.approx(0.1, rel=0.06)


def test_what_is_not_paid_or_not_found_does_not_select() -> None:
    guesses = draw_guesses(TYPES, mix(a1=TypeTraining(64, 0.0), b1=TypeTraining(0.0)), 50, np.random.default_rng(1))
    guesses = replace(guesses, found_PT=np.ones_like(guesses.found_PT))
    acts = selection(guesses, np.ones(len(TYPES), dtype=bool)).any(axis=0)
    assert acts.tolist() == [False, True, True, False, True, True]
    assert not selection(replace(guesses, found_PT=~guesses.found_PT), np.ones(len(TYPES), dtype=bool)).any()
    assert not selection(guesses, np.zeros(len(TYPES), dtype=bool)).any()


def test_discovery_has_the_hazard_of_its_rate() -> None:
    training = Training({"t": TypeTraining(100.0, 1.0)})
    guesses = draw_guesses(("t",), training, 20_000, np.random.default_rng(2))
    guesses = replace(guesses, level_PT=np.full((20_000, 1), float(logit(1e-4))), speed_P=np.full(20_000, 1e-9))
    ended, _ = advance(guesses, Mix.of(("t",), training), 0.0, 60.0, np.random.default_rng(3), noise=False)
    assert ended.found_PT.mean() == pytest.approx(1 - math.exp(-0.6), abs=0.015)


def test_a_relative_that_rises_lifts_and_one_whose_reward_is_patched_does_not() -> None:
    rates = flat(n=2)
    rates["a1"] = [0.006, 0.01]
    lifted = forecast_of(rates, mix())
    patched = forecast_of(rates, mix(a1=TypeTraining(64, 0.0, family="a")))
    assert probability(lifted, "a2") > probability(lifted, "b2")
    assert probability(lifted, "a2") > probability(patched, "a2") + 0.1
    reasons = lifted["a2"].reasons
    assert reasons is not None
    assert reasons.lifts[0][0] == "a1"


def test_relatives_lift_a_type_no_further_than_its_room() -> None:
    """All relatives together, however far they rise: what is left of the room falls to nothing."""
    training = mix(a1=TypeTraining(0.0, family="a"))
    guesses = draw_guesses(TYPES, training, 400, np.random.default_rng(6))
    level = np.full(guesses.level_PT.shape, float(logit(0.02)))
    level[:, 0] = -30.0
    guesses = replace(guesses, level_PT=level, found_PT=np.ones_like(guesses.found_PT))
    ended, moved = advance(guesses, Mix.of(TYPES, training), 0.0, 400.0, np.random.default_rng(7), noise=False)
    rise = ended.level_PT[:, 0] + 30.0
    assert np.all(rise <= guesses.room_PT[:, 0] + 1e-9)
    assert rise == pytest.approx(guesses.room_PT[:, 0] - ended.left_PT[:, 0])
    assert np.median(rise / guesses.room_PT[:, 0]) > 0.8
    assert moved[0].sum() == pytest.approx(rise.mean()), "what each relative did adds up to the rise"


def test_a_checker_that_goes_live_later_is_a_question_that_can_be_asked() -> None:
    rates = flat(2e-3)
    never = forecast_of(rates, Training({"b1": TypeTraining(64, 0.8, family="b")}))
    later = {
        first: forecast_of(
            rates,
            Training(
                {"b1": TypeTraining(64, 0.8, family="b"), "a1": TypeTraining(64, 0.8, first_step=first, family="a")}
            ),
            horizon=400,
        )
        for first in (60, 350)
    }
    assert probability(later[60], "a1") > probability(later[350], "a1") + 0.1
    assert probability(later[60], "a1") > probability(never, "a1")


def test_types_without_a_hit_have_a_forecast_too() -> None:
    found = forecast_of({name: [None] * 4 for name in TYPES}, mix())
    assert all(0 < probability(found, name) < 0.9 for name in TYPES)
    more = forecast_of({name: [1e-2, 2e-2, 4e-2, 8e-2] for name in TYPES}, mix())
    assert min(probability(more, name) for name in TYPES) > max(probability(found, name) for name in TYPES)


def test_less_known_of_the_training_is_a_wider_answer() -> None:
    rates = flat(1e-3)
    known, unknown = forecast_of(rates, mix()), forecast_of(rates, None)

    def width(found: dict[str, Forecast]) -> float:
        path = found["a1"].path
        assert path is not None
        return path.high_log10[-1] - path.low_log10[-1]

    assert width(unknown) > width(known)


def test_a_probability_lies_in_its_interval_and_the_filter_keeps_its_guesses() -> None:
    rates = flat(1e-3)
    for one in forecast_of(rates, mix()).values():
        assert one.probability is not None
        assert one.probability_interval is not None
        assert 0 <= one.probability_interval[0] <= one.probability <= one.probability_interval[1] <= 1
    cells = {name: [cell(p) for p in mine] for name, mine in rates.items()}
    belief = believe(STEPS, cells, training=mix(), rng=np.random.default_rng(4))
    assert belief.ess > 20
    level = belief.guesses.level_PT.mean(axis=0)
    assert level == pytest.approx(float(logit(1e-3)), abs=0.5)


def test_probabilities_are_calibrated_on_runs_of_the_law() -> None:
    rng = np.random.default_rng(5)
    said: list[float] = []
    outcome: list[bool] = []
    for _ in range(25):
        cells, passed = simulated(rng)
        found = forecast_run("run", STEPS, cells, horizon_step=HORIZON, training=mix(), rng=rng, n_particles=800)
        said += [probability(found, name) for name in TYPES]
        outcome += passed
    p, y = np.array(said), np.array(outcome)
    excess = (p - y).reshape(-1, len(TYPES)).sum(axis=1)  # by run: the types of one are not independent
    assert abs(excess.mean()) < 3 * excess.std(ddof=1) / math.sqrt(len(excess))
    assert brier(p, y) < 0.8 * float(y.mean() * (1 - y.mean()))
    sure = (p < 0.1) | (p > 0.9)
    assert sure.mean() > 0.2
    assert float(np.where(p > 0.5, y, ~y)[sure].mean()) > 0.85


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": (0, 10, 10, 40)}, r"steps is \[0, 10, 10, 40\]"),
        ({"steps": (0, 10, 20)}, "a1 has 4 estimates"),
        ({"horizon_step": 40}, "horizon_step is 40"),
        ({"threshold": 1.0}, "threshold is 1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, object], message: str) -> None:
    cells = {name: [cell(1e-3)] * 4 for name in TYPES}
    arguments: dict[str, object] = {"steps": STEPS, "horizon_step": 100, "threshold": 0.1} | change
    with pytest.raises(InputError, match=message):
        forecast_run("run", arguments.pop("steps"), cells, rng=np.random.default_rng(0), **arguments)  # type: ignore[arg-type]


def test_a_mix_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InputError, match="sums to no rollouts"):
        Training({"a": TypeTraining(0.0)})
    with pytest.raises(InputError, match="rollouts is -1"):
        TypeTraining(-1)
    with pytest.raises(InputError, match="paid is 2"):
        TypeTraining(1, 2)
    with pytest.raises(InputError, match="give a later end"):
        TypeTraining(1, 1, first_step=5, last_step=5)
