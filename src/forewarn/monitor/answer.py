"""The current answer of a run as alerts: for each exploit type, whether it rises, how surely, and what says so."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.records import Alert, Estimate
from forewarn.study import CellEstimate, CellResult, RunResults, TypeForecast
from forewarn.study.results.forecasts import CALL, run_name


def current_answer(results: RunResults, forecasts: Sequence[TypeForecast], *, unix_s: float) -> list[Alert]:
    """One alert for each run and exploit type, raised where its forecast calls the type. ``unix_s``: now."""
    found = []
    for one in forecasts:
        mine = [cell for cell in results.cells if _of(cell, one, results.study)]
        measured = [cell.estimate for cell in mine if cell.estimate is not None]
        if not measured:
            continue
        last = max(measured, key=lambda cell: cell.step)
        said = one.forecast
        probability = None if said is None else said.probability
        found.append(
            Alert(
                run=one.run,
                exploit_type=one.exploit_type,
                step=last.step,
                kind="forecast",
                message=_message(one),
                probability=probability,
                raised=probability is not None and probability >= CALL,
                log10_p=last.estimate.log10_p,
                interval_log10=last.estimate.interval_log10,
                evidence=_evidence(one, last),
                not_looked_at=_not_looked_at(results, mine, last),
                command=f"forewarn show {shlex.quote(str(results.root))} {shlex.quote(one.exploit_type)}",
                unix_s=unix_s,
            )
        )
    return found


def _of(cell: CellResult, one: TypeForecast, study: str) -> bool:
    return cell.record.exploit_type == one.exploit_type and run_name(cell.record.checkpoint_id, study) == one.run


def _message(one: TypeForecast) -> str:
    said = one.forecast
    if said is None or said.probability is None:
        return f"{one.exploit_type} in {one.run}: no forecast yet{f' ({one.why_none})' if one.why_none else ''}."
    return (
        f"{one.exploit_type} in {one.run}: {said.probability:.0%} that its rate passes {said.threshold:.0%} by step "
        f"{said.horizon_step:,}; forecasts are not calibrated on real runs."
    )


def _evidence(one: TypeForecast, last: CellEstimate) -> tuple[str, ...]:
    estimate, said = last.estimate, one.forecast
    lines = [f"Rate at step {last.step:,}: {_rate(estimate)} ({estimate.reason})."]
    own = estimate.hits_by_span[0]
    lines.append(
        f"{estimate.n_hits} of {estimate.n} completions are exploits, {own} of them the subject's own; certified "
        f"between {estimate.lower_bound:.2g} and {estimate.upper_bound:.2g} at {estimate.level:.0%}."
    )
    if said is not None and said.step_median is not None and said.step_interval is not None:
        low, high = said.step_interval
        beyond = "beyond the horizon" if math.isinf(high) else f"{high:,.0f}"
        lines.append(f"Expected to pass {said.threshold:.0%} at step {said.step_median:,.0f} [{low:,.0f}, {beyond}].")
    if said is not None:
        lines.append(f"From checkpoints at steps {', '.join(f'{step:,}' for step in said.steps_used)}.")
    if one.first_visible_step is None:
        lines.append("Sampling the subject alone has not shown it at any checkpoint.")
    else:
        lines.append(f"Sampling the subject alone showed it first at step {one.first_visible_step:,}.")
    return tuple(lines)


def _rate(estimate: Estimate) -> str:
    if estimate.log10_p is None:
        return f"no hit, so below {estimate.upper_bound:.2g}"
    if estimate.interval_log10 is None:
        return f"{10**estimate.log10_p:.2g}, with no interval"
    low, high = (f"{10**end:.2g}" for end in estimate.interval_log10)
    return f"{10**estimate.log10_p:.2g} [{low}, {high}]"


def _not_looked_at(results: RunResults, mine: Sequence[CellResult], last: CellEstimate) -> tuple[str, ...]:
    lines = []
    if waiting := [cell for cell in mine if cell.waits_for is not None]:
        named = ", ".join(f"{cell.record.checkpoint_id} waits for {cell.waits_for}" for cell in waiting)
        lines.append(f"{len(waiting)} of {len(mine)} checkpoints of this type: {named}.")
    estimate = last.estimate
    if broken := estimate.n_invalid + estimate.n_inconsistent:
        lines.append(f"{broken} of {estimate.n} completions at step {last.step:,}, which could not be judged.")
    types = {cell.record.exploit_type for cell in results.cells}
    others = [name for name in EXPLOIT_TYPES if name not in types]
    if others and types & EXPLOIT_TYPES.keys():  # a study of one's own rewards alone looks at all that they pay
        lines.append(f"{len(others)} of {len(EXPLOIT_TYPES)} exploit types, of which the study has no problem.")
    return tuple(lines)
