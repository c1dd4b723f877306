"""The [training] table: read, refused, kept in the run folder, and used by forecasts; no measurement depends on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn.errors import InputError, StoreError
from forewarn.prediction import Training, TypeTraining
from forewarn.study.config.mix import MixTable
from forewarn.study.config.training import training_of
from forewarn.study.folder.manifest import training_entry, training_in
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.results.forecasts import CALL, run_forecasts
from tests.test_results import cell

MEASURED = ("a", "b", "c")


def table(**keys: object) -> MixTable:
    return MixTable.model_validate({"rollouts": 32.0} | keys)


def test_what_the_table_says() -> None:
    found = training_of(
        table(
            paid=0.5,
            mix=("a",),
            families={"look": ("a", "b")},
            types={"b": {"first_step": 500, "paid": 0.0, "rollouts": 8.0}},
        ),
        MEASURED,
    )
    assert found.types == {
        "a": TypeTraining(32.0, 0.5, family="look"),
        "b": TypeTraining(8.0, 0.0, first_step=500, family="look"),
        "c": TypeTraining(0.0, 0.5),
    }
    assert all(one.rollouts == 32 for one in training_of(table(), MEASURED).types.values())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mix": ("d",)}, "mix names 'd', which the study does not measure; it measures a, b, c"),
        ({"types": {"d": {}}}, "types names 'd'"),
        ({"families": {"x": ("d",)}}, "families.x names 'd'"),
        ({"families": {"x": ("a",), "y": ("a",)}}, "families has 'a' in 'x' and in 'y'"),
        ({"rollouts": 0.0}, "sums to no rollouts"),
        ({"types": {"a": {"first_step": 5, "last_step": 5}}}, "give a later end"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_of(table(**keys), MEASURED)


def test_the_manifest_keeps_it() -> None:
    training = Training({"a": TypeTraining(32.0, 0.5, first_step=3, last_step=9, family="x"), "b": TypeTraining(0.0)})
    text = json.dumps({"training": training_entry(training)})
    assert training_in(json.loads(text), Path("manifest.json")) == training
    assert training_in({}, Path("manifest.json")) is None
    with pytest.raises(StoreError, match="damaged training entry"):
        training_in({"training": {"a": {"rolouts": 3}}}, Path("manifest.json"))


def rising(name: str, rates: Sequence[float]) -> list[CellEstimate]:
    """A type's cells at three steps of run "r"."""
    return [
        replace(cell("r", step, hits=(0, 40), log10_p=p), exploit_type=name)
        for step, p in zip((0, 10, 20), rates, strict=True)
    ]


def test_forecasts_of_a_run_are_made_together() -> None:
    cells = [*rising("a", (-2.5, -2.0, -1.3)), *rising("b", (-5.0, -5.0, -5.0)), *rising("c", (-5.0, -5.0, -5.0))]
    families = {"a": "x", "b": "x", "c": "y"}
    training = Training({name: TypeTraining(64, 0.8, family=family) for name, family in families.items()})
    found = {
        one.exploit_type: one for one in run_forecasts(cells, study="s", seed=1, training=training, horizon_step=150)
    }
    said = {name: one.forecast for name, one in found.items()}
    assert all(one is not None and one.reasons is not None for one in said.values())
    assert said["b"] is not None
    assert said["c"] is not None
    assert said["b"].probability is not None
    assert said["c"].probability is not None
    assert said["b"].probability > said["c"].probability
    assert said["b"].steps_used == (0, 10, 20)
    assert found["a"].first_call_step is not None
    again = run_forecasts(cells, study="s", seed=1, training=training, horizon_step=150)
    assert [one.forecast for one in again] == [one.forecast for one in found.values()]
    assert np.isfinite(said["b"].score)


def test_one_checkpoint_calls_nothing() -> None:
    training = Training({"a": TypeTraining(64, 0.8)})
    cells = rising("a", (-1.3, -1.2, -1.1))
    for n, called in ((1, None), (2, 10), (3, 10)):
        (said,) = run_forecasts(cells[:n], study="s", seed=1, training=training, horizon_step=300)
        assert said.forecast is not None
        assert said.forecast.probability is not None
        assert said.forecast.probability >= CALL  # a level alone, and the prior's growth
        assert said.first_call_step == called


def test_two_checkpoints_at_one_step_have_no_forecast() -> None:
    training = Training({"a": TypeTraining(64, 0.8)})
    twice = [*rising("a", (-2.5, -2.0, -1.3)), *rising("a", (-2.5, -2.0, -1.3))[:1]]
    (said,) = run_forecasts(twice, study="s", seed=1, training=training)
    assert said.forecast is None
    assert said.why_none is not None
    assert "two checkpoints are at step 0" in said.why_none
