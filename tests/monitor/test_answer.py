"""The current answer of a run: what is raised, and what is told without being raised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from forewarn.monitor.answer import current_answer
from forewarn.prediction import Training, TypeTraining
from forewarn.study import read_results, run_forecasts
from tests.tiny_world import EXPLOIT_TYPE


def test_a_forecast_from_one_checkpoint_is_told_and_raises_nothing(finished_run: Path) -> None:
    results = read_results(finished_run)
    training = Training({EXPLOIT_TYPE: TypeTraining(64, 0.8)})
    [said] = run_forecasts(results.estimates, study=results.study, seed=1, training=training, horizon_step=500)
    assert said.forecast is not None
    for steps, raised in ((said.forecast.steps_used[:1], False), (said.forecast.steps_used, True)):
        sure = replace(said, forecast=replace(said.forecast, probability=0.9, steps_used=steps))
        [alert] = current_answer(results, [sure], unix_s=0.0)
        assert (alert.raised, alert.probability) == (raised, 0.9)
        why = "No type is called from fewer than 2 checkpoints: one tells a level, and no growth."
        assert (why in alert.evidence) is not raised
