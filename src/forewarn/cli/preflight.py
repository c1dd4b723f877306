"""``forewarn preflight``: from the model before training alone, which exploits a planned run will come upon."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_json, say_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forewarn.prediction import Training
    from forewarn.prediction.discovery import Discovery
    from forewarn.records import Estimate
    from forewarn.report.table import Table
    from forewarn.study import Study


def preflight(
    study: Annotated[
        Path, typer.Argument(help="A study's TOML file; its first checkpoint is the model to be trained.")
    ],
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the planned run.")],
    rollouts: Annotated[
        float | None,
        typer.Option("--rollouts", help="Rollouts per step and exploit type; default: as [training] says."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The rate that counts as emerged.")] = 0.1,
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="Where work is saved and resumed; default: runs/NAME-preflight.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Override the file's worker count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Before training: the probability that each exploit is found in a planned run, and the step of its first hit.

    Measures the study's first checkpoint alone, into a run folder of its own; completed work is reused.
    """
    import numpy as np

    from forewarn.prediction.discovery import preflight as look_ahead
    from forewarn.records import derived_seed
    from forewarn.study.config.load import load_study
    from forewarn.study.stages.run import run_study

    loaded = load_study(study)
    plan, training = loaded.study, _planned(study, loaded.study, rollouts)
    first = plan.checkpoints[0]
    root = run_folder or Path("runs") / f"{plan.name}-preflight"
    machine = replace(loaded.machine, workers=workers or loaded.machine.workers)
    with progress_bars() as progress:
        cells = run_study(
            replace(plan, checkpoints=(first,), training=training),
            root,
            machine=machine,
            sandboxing=loaded.sandboxing,
            progress=progress,
            text=loaded.text,
        )
    estimates = {cell.exploit_type: cell.estimate for cell in cells}
    found = look_ahead(
        first.step,
        estimates,
        training=training,
        steps=steps,
        threshold=threshold,
        rng=np.random.default_rng(derived_seed("preflight", plan.seed, steps)),
    )
    if as_json:
        say_json([_json(one, estimates[one.exploit_type]) for one in found], allow_nan=False)
        return
    say_tables([_table(found, estimates, first.model_id, steps, threshold)])
    say(f"Run folder: {root}")


def _planned(file: Path, study: Study, rollouts: float | None) -> Training:
    """The training that is planned, by the file and by ``--rollouts``."""
    from forewarn.errors import InputError
    from forewarn.prediction.discovery import planned_training

    if rollouts is None:
        if study.training is None:
            raise InputError(f"{file} has no [training] table: give --rollouts, the rollouts per step of each type")
        return study.training
    if not (math.isfinite(rollouts) and rollouts > 0):
        raise InputError(f"--rollouts is {rollouts}: give a positive number of rollouts per step")
    return planned_training(study.exploit_types, rollouts, study.training)


def _table(
    found: Sequence[Discovery], estimates: Mapping[str, Estimate], checkpoint: str, steps: int, threshold: float
) -> Table:
    from forewarn.report import numbers as write
    from forewarn.report.table import Table

    rows = []
    for one in found:
        estimate = estimates[one.exploit_type]
        low, high = one.probability_interval
        when = write.NONE
        if one.step_interval is not None:
            ends = [write.step(end) if math.isfinite(end) else "beyond" for end in one.step_interval]
            middle = "beyond" if one.step_median is None else write.step(one.step_median)
            when = f"{middle} [{ends[0]}, {ends[1]}]"
        rows.append(
            (
                one.exploit_type,
                write.log_rate(estimate.log10_p) if estimate.log10_p is not None else write.NO_HIT,
                "yes" if estimate.resolved else "no",
                f"{write.percent(one.probability)} [{write.percent(low)}, {write.percent(high)}]",
                when,
                write.percent(one.passes),
                write.percent(one.at_most),
            )
        )
    return Table(
        title=f"Before training: {steps:,} steps from {checkpoint}",
        columns=("type", "rate now", "resolved", "P(found)", "first hit at", f"P(passes {threshold:.0%})", "at most"),
        rows=tuple(rows),
        text_columns=1,
        note=(
            "P(found): that a rewarded exploit is sampled within the run. In brackets: 5 to 95 %, how far that would "
            "move if rates, speed and kinship were known; of the first hit, of its step. At most: P(found) if the "
            "rate is the certified upper bound, which no estimate rules out: a way to the exploit that no donor takes. "
            "Not calibrated on real runs."
        ),
    )


def _json(one: Discovery, estimate: Estimate) -> dict[str, Any]:
    entry = asdict(one)
    if one.step_interval is not None:
        entry["step_interval"] = [end if math.isfinite(end) else None for end in one.step_interval]
    return entry | {"log10_p": estimate.log10_p, "resolved": estimate.resolved, "upper_bound": estimate.upper_bound}
