"""``forewarn forecast``: which exploit types of a run folder will emerge, how surely, and when."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.say import say, say_json, say_tables
from forewarn.errors import InputError
from forewarn.monitor.sinks import named_sink, sinks_named

if TYPE_CHECKING:
    from forewarn.monitor.sinks import SinkKind
    from forewarn.study import RunResults, TypeForecast


def forecast(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="The step that forecasts reach to; default: four times the last step measured."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The rate that counts as emerged.")] = 0.1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
    alert: Annotated[
        list[str] | None,
        typer.Option("--alert", help=f"Post the answer to a sink, too; may be given again: {sinks_named()}."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Before that, post to these sinks what the run's alerts.jsonl holds.")
    ] = False,
) -> None:
    """Forecast which exploit types will emerge, from the checkpoints measured so far."""
    from forewarn.study import read_results, run_forecasts

    sinks = [named_sink(text) for text in alert or ()]
    if replay and not sinks:
        raise InputError("--replay posts to sinks: name one by --alert")
    results = read_results(run)
    found = run_forecasts(
        results.estimates,
        study=results.study,
        seed=results.seed,
        horizon_step=horizon,
        threshold=threshold,
        training=results.training,
    )
    if as_json:
        say_json([as_json_value(one) for one in found], allow_nan=False)
    else:
        from forewarn.report.run_tables import forecasts_table

        say_tables([forecasts_table(found, threshold)])
        if results.waiting:
            waiting = f"{len(results.waiting)} of {len(results.cells)} cells"
            say(f"{waiting} are not finished: `forewarn show {run}` lists them")
    if sinks:
        _post(results, found, sinks, replay=replay)


def _post(
    results: RunResults, found: Sequence[TypeForecast], sinks: Sequence[tuple[SinkKind, str]], *, replay: bool
) -> None:
    """Post the answer, and say what became of it. A sink that fails is said and changes no exit status."""
    from forewarn.monitor.alarms import read_alarms
    from forewarn.monitor.answer import current_answer
    from forewarn.monitor.feed import Feeds

    alarms = read_alarms(results.root)
    answer = current_answer(results, found, unix_s=time.time(), alarms=None if alarms is None else alarms[0])
    # some sinks' packages print on stdout, which holds the result alone
    with redirect_stdout(sys.stderr):
        feeds = Feeds(results.root, sinks, say=lambda line: say(f"note: {line}", error=True))
        replayed = feeds.replay() if replay else 0
        for one in answer:
            feeds.post(one)
        taken = feeds.close()
    for one_sink in taken:
        lost = f", {one_sink.lost} did not get there" if one_sink.lost else ""
        again = f" ({replayed} of them again)" if replayed else ""
        plural = "" if one_sink.posted == 1 else "s"
        say(f"{one_sink.title}: {one_sink.posted} alert{plural} posted{again}{lost}", error=True)


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
        "probability_interval": None if said is None else _listed(said.probability_interval),
        "reasons": None if said is None or said.reasons is None else asdict(said.reasons),
        "score": None if said is None else said.score,
        "step_median": None if said is None else said.step_median,
        "step_interval": None if interval is None else [end if math.isfinite(end) else None for end in interval],
        "first_call_step": one.first_call_step,
        "first_visible_step": one.first_visible_step,
        "why_none": one.why_none,
    }


def _listed(pair: tuple[float, float] | None) -> list[float] | None:
    return None if pair is None else list(pair)
