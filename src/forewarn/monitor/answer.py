"""The current answer of a run as alerts: for each exploit type, whether it rises, how surely, and what says so.

Not here: alarms that rest on e-values (``alarms.py``).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.records import Alert, Estimate, Forecast
from forewarn.study import CellEstimate, CellResult, RunResults, TypeForecast, run_forecasts
from forewarn.study.config.watching import AlarmsTable
from forewarn.study.results.forecasts import CALL, LEAST, run_name

FALSE_ALARM_RATE: float | None = None
"""how often a forecast alarm is false, as a benchmark of whole training runs measures it; None: not measured yet"""


def answer_now(results: RunResults, alarms: AlarmsTable | None, *, unix_s: float) -> list[Alert]:
    """The answer of a run as its alarms ask for it: forecasts reach as far as [alarms.forecast] says.

    Without a table every type whose forecast calls it is raised; with one, what it names alone.
    """
    asked, horizon, threshold = None if alarms is None else alarms.forecast, None, {}
    if asked is not None and results.estimates:
        horizon, threshold = _last_step(results) + asked.within, {"threshold": asked.rate}
    said = run_forecasts(
        results.estimates,
        study=results.study,
        seed=results.seed,
        training=results.training,
        horizon_step=horizon,
        **threshold,
    )
    return current_answer(results, said, alarms=alarms, unix_s=unix_s)


def current_answer(
    results: RunResults, forecasts: Sequence[TypeForecast], *, unix_s: float, alarms: AlarmsTable | None = None
) -> list[Alert]:
    """One alert for each run and exploit type, raised where its forecast calls the type. ``unix_s``: now."""
    found = []
    for one in forecasts:
        mine = cells_of(results, one.run, one.exploit_type)
        last = newest(mine)
        if last is None:
            continue
        said = one.forecast
        found.append(
            Alert(
                run=one.run,
                exploit_type=one.exploit_type,
                step=last.step,
                kind="forecast",
                message=_message(one),
                probability=None if said is None else said.probability,
                raised=said is not None and _is_call(said, one.exploit_type, results, alarms),
                log10_p=last.estimate.log10_p,
                interval_log10=last.estimate.interval_log10,
                evidence=(*rate_evidence(last), *_forecast_evidence(said), visible(one.first_visible_step)),
                not_looked_at=not_looked_at(results, mine, last),
                command=transcripts(results, one.exploit_type),
                unix_s=unix_s,
                false_alarm_rate=FALSE_ALARM_RATE,
            )
        )
    return found


def _is_call(said: Forecast, exploit_type: str, results: RunResults, alarms: AlarmsTable | None) -> bool:
    if said.probability is None or len(said.steps_used) < LEAST:
        return False
    if alarms is None:
        return said.probability >= CALL
    asked = alarms.forecast
    if asked is None or exploit_type not in alarms.types:
        return False
    # a forecast of another horizon or rate is an answer, and not the alarm that was fixed beforehand
    as_asked = (said.threshold, said.horizon_step) == (asked.rate, _last_step(results) + asked.within)
    return as_asked and said.probability >= asked.probability


def _last_step(results: RunResults) -> int:
    return max(cell.step for cell in results.estimates)


def cells_of(results: RunResults, run: str, exploit_type: str) -> list[CellResult]:
    """The cells of one exploit type of one run."""
    return [
        cell
        for cell in results.cells
        if cell.record.exploit_type == exploit_type and run_name(cell.record.checkpoint_id, results.study) == run
    ]


def newest(cells: Sequence[CellResult]) -> CellEstimate | None:
    """The estimate at the last checkpoint that is measured; None where none is."""
    measured = [cell.estimate for cell in cells if cell.estimate is not None]
    return max(measured, key=lambda cell: cell.step, default=None)


def transcripts(results: RunResults, exploit_type: str) -> str:
    """The command that shows a type's transcripts."""
    return f"forewarn show {shlex.quote(str(results.root))} {shlex.quote(exploit_type)}"


def _message(one: TypeForecast) -> str:
    said = one.forecast
    if said is None or said.probability is None:
        return f"{one.exploit_type} in {one.run}: no forecast yet{f' ({one.why_none})' if one.why_none else ''}."
    return (
        f"{one.exploit_type} in {one.run}: {said.probability:.0%} that its rate passes {said.threshold:.0%} by step "
        f"{said.horizon_step:,}; forecasts are not calibrated on real runs."
    )


def rate_evidence(last: CellEstimate) -> tuple[str, ...]:
    """What was measured at a checkpoint: the rate with its interval, the counts, the certified bounds."""
    estimate = last.estimate
    own = estimate.hits_by_span[0]
    return (
        f"Rate at step {last.step:,}: {_rate(estimate)} ({estimate.reason}).",
        f"{estimate.n_hits} of {estimate.n} completions are exploits, {own} of them the subject's own; certified "
        f"between {estimate.lower_bound:.2g} and {estimate.upper_bound:.2g} at {estimate.level:.0%}.",
    )


def _forecast_evidence(said: Forecast | None) -> tuple[str, ...]:
    if said is None:
        return ()
    lines = []
    if said.step_median is not None and said.step_interval is not None:
        low, high = said.step_interval
        beyond = "beyond the horizon" if math.isinf(high) else f"{high:,.0f}"
        lines.append(f"Expected to pass {said.threshold:.0%} at step {said.step_median:,.0f} [{low:,.0f}, {beyond}].")
    if said.probability_interval is not None:
        low, high = said.probability_interval
        lines.append(f"Its probability lies in [{low:.0%}, {high:.0%}] over what is not known now.")
    lines.append(f"From checkpoints at steps {', '.join(f'{step:,}' for step in said.steps_used)}.")
    if len(said.steps_used) < LEAST:
        lines.append(f"No type is called from fewer than {LEAST} checkpoints: one tells a level, and no growth.")
    often = "has not been measured yet" if FALSE_ALARM_RATE is None else f"was {FALSE_ALARM_RATE:.0%} in the benchmark"
    lines.append(f"A forecast has no e-value; how often an alarm by forecast is false {often}.")
    return tuple(lines)


def visible(first_step: int | None) -> str:
    """Where sampling the subject alone showed the type first."""
    if first_step is None:
        return "Sampling the subject alone has not shown it at any checkpoint."
    return f"Sampling the subject alone showed it first at step {first_step:,}."


def _rate(estimate: Estimate) -> str:
    if estimate.log10_p is None:
        return f"no hit, so below {estimate.upper_bound:.2g}"
    if estimate.interval_log10 is None:
        return f"{10**estimate.log10_p:.2g}, with no interval"
    low, high = (f"{10**end:.2g}" for end in estimate.interval_log10)
    return f"{10**estimate.log10_p:.2g} [{low}, {high}]"


def not_looked_at(results: RunResults, mine: Sequence[CellResult], last: CellEstimate) -> tuple[str, ...]:
    """What was not measured and could change the word on a type, one sentence each. ``mine``: its cells."""
    lines = []
    if waiting := [cell for cell in mine if cell.waits_for is not None]:
        named = ", ".join(f"{cell.record.checkpoint_id} waits for {cell.waits_for}" for cell in waiting)
        lines.append(f"{len(waiting)} of {len(mine)} checkpoints of this type: {named}.")
    estimate = last.estimate
    part = next((one.record.part for one in mine if one.record.checkpoint_id == last.checkpoint_id), 1.0)
    if part < 1:
        lines.append(
            f"{1 - part:.0%} of the completions planned at step {last.step:,}, which don't fit the budget yet."
        )
    if broken := estimate.n_invalid + estimate.n_inconsistent:
        lines.append(f"{broken} of {estimate.n} completions at step {last.step:,}, which could not be judged.")
    types = {cell.record.exploit_type for cell in results.cells}
    others = [name for name in EXPLOIT_TYPES if name not in types]
    if others and types & EXPLOIT_TYPES.keys():  # a study of one's own rewards alone looks at all that they pay
        lines.append(f"{len(others)} of {len(EXPLOIT_TYPES)} exploit types, of which the study has no problem.")
    return tuple(lines)
