"""Before training: the chance of a first rewarded hit, against its closed form and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.prediction.discovery import Discovery, planned_training, preflight
from forewarn.prediction.law import Training, TypeTraining
from tests.prediction.law_runs import EMPTY, cell


def look(
    cells: dict[str, float | None], training: Training, steps: int = 100, ess: float = 400.0
) -> dict[str, Discovery]:
    measured = {name: cell(p, ess) for name, p in cells.items()}
    found = preflight(0, measured, training=training, steps=steps, rng=np.random.default_rng(0))
    return {one.exploit_type: one for one in found}


def test_a_known_rate_is_found_with_the_chance_of_its_rollouts() -> None:
    """P = 1 - exp(-N S p), spread by what is not known of p (misfit of half a logit)."""
    one = look({"t": 1e-4}, Training({"t": TypeTraining(50.0, 1.0)}), steps=100)["t"]
    node = np.linspace(-4, 4, 801)
    weight = np.exp(-0.5 * node**2)
    sure = float((weight * -np.expm1(-0.5 * np.exp(0.5 * node))).sum() / weight.sum())
    assert sure - 0.04 < one.probability < sure + 0.1  # paths that drift up find more than those that drift down
    assert one.probability_interval[0] < one.probability < one.probability_interval[1]
    assert one.step_interval is not None
    assert one.step_interval[0] < 20


def test_more_rollouts_find_more_and_sooner() -> None:
    few, many = (look({"t": 1e-5}, Training({"t": TypeTraining(n, 1.0)}), steps=200)["t"] for n in (16.0, 1024.0))
    assert few.probability < 0.1
    assert many.probability > 0.7
    assert many.step_median is not None
    assert few.step_median is None


def test_what_is_not_paid_is_not_found_and_what_enters_late_is_found_late() -> None:
    types = {
        "paid": TypeTraining(64, 1.0),
        "patched": TypeTraining(64, 0.0),
        "out": TypeTraining(0.0),
        "late": TypeTraining(64, 1.0, first_step=80),
    }
    found = look(dict.fromkeys(types, 1e-2), Training(types))
    assert found["patched"].probability == found["out"].probability == 0
    assert found["patched"].at_most == found["out"].at_most == 0
    assert found["paid"].probability > 0.9
    late = found["late"].step_interval
    assert late is not None
    assert late[0] >= 79


def test_a_type_without_a_hit_has_a_chance_and_a_bound() -> None:
    one = look({"t": None}, Training({"t": TypeTraining(64, 1.0)}))["t"]
    assert 0 < one.probability < 0.9
    assert one.at_most == pytest.approx(1 - (1 - EMPTY.upper_bound) ** 6400, abs=1e-9)
    assert one.at_most > one.probability


def test_what_is_planned_follows_the_study() -> None:
    known = Training({"a": TypeTraining(8, 0.5, family="x"), "b": TypeTraining(0.0)})
    assert planned_training(("a", "b"), 32, known).types == {
        "a": TypeTraining(32, 0.5, family="x"),
        "b": TypeTraining(0.0),
    }
    assert planned_training(("a", "b"), 32, None).types == {"a": TypeTraining(32), "b": TypeTraining(32)}


@pytest.mark.parametrize(("steps", "threshold", "message"), [(0, 0.1, "steps is 0"), (9, 1.5, "threshold is 1.5")])
def test_what_cannot_be_meant_is_refused(steps: int, threshold: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preflight(
            0, {"t": EMPTY}, training=Training({"t": TypeTraining(1)}), steps=steps, threshold=threshold,
            rng=np.random.default_rng(0),
        )  # fmt: skip


def test_probabilities_are_finite_numbers() -> None:
    for one in look({"a": 1e-12, "b": 0.5}, Training({"a": TypeTraining(1e-3), "b": TypeTraining(1e6)})).values():
        assert all(map(math.isfinite, (one.probability, *one.probability_interval, one.passes, one.at_most)))
