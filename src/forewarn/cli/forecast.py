"""``forewarn forecast``: which exploit types of a run folder will emerge, how surely, and when."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.say import say, say_json, say_tables

if TYPE_CHECKING:
    from forewarn.study import TypeForecast


def forecast(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="The step that forecasts reach to; default: four times the last step measured."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The rate that counts as emerged.")] = 0.1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Forecast which exploit types will emerge, from the checkpoints measured so far."""
    from forewarn.study import read_results, run_forecasts

    results = read_results(run)
    found = run_forecasts(
        results.estimates, study=results.study, seed=results.seed, horizon_step=horizon, threshold=threshold
    )
    if as_json:
        say_json([as_json_value(one) for one in found], allow_nan=False)
        return
    from forewarn.report.run_tables import forecasts_table

    say_tables([forecasts_table(found, threshold)])
    if results.waiting:
        say(f"{len(results.waiting)} of {len(results.cells)} cells are not finished: `forewarn show {run}` lists them")


def as_json_value(one: TypeForecast) -> dict[str, Any]:
    """Return a type's forecast as one flat JSON object; an interval's end beyond the horizon is null."""
    said = one.forecast
    interval = said.step_interval if said is not None else None
    return {
        "run": one.run,
        "exploit_type": one.exploit_type,
        "steps": list(one.steps),
        "steps_used": None if said is None else list(said.steps_used),
        "threshold": None if said is None else said.threshold,
        "horizon_step": None if said is None else said.horizon_step,
        "probability": None if said is None else said.probability,
        "score": None if said is None else said.score,
        "step_median": None if said is None else said.step_median,
        "step_interval": None if interval is None else [end if math.isfinite(end) else None for end in interval],
        "first_call_step": one.first_call_step,
        "first_visible_step": one.first_visible_step,
        "why_none": one.why_none,
    }
