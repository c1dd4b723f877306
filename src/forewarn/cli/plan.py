"""``forewarn plan``: a small pilot, and from it the spans and counts that a study should draw."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_json, say_tables

if TYPE_CHECKING:
    from forewarn.study.pilot.plan import Plan, PlannedCell

SURE_ESS = 8
"""effective hits of a pilot from which on a prediction is more than a guess"""


def plan(
    study: Annotated[Path, typer.Argument(help="A study's TOML file, whose spans are the candidates.")],
    pilot: Annotated[
        int | None,
        typer.Option(
            "--pilot", min=1, help="The pilot's completions a cell, about; default: 32 % of the budget, in two rounds."
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option("--width", help="Print how many completions an interval of this width, in decades, needs."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", min=1, help="Completions a cell; default: as the file's counts make.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a copy of the study's file with the planned counts.")
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="Where the pilot is kept; default: runs/NAME-pilot.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Override the file's worker count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Plan a study: draw a pilot, choose the spans' counts by it, and predict intervals, time and memory.

    Nothing of a pilot enters an estimate.
    """
    from forewarn.study.config.load import load_study
    from forewarn.study.pilot.plan import plan_json, plan_study
    from forewarn.study.pilot.write import check_out, planned_file, write_planned

    loaded = load_study(study)
    if out is not None:
        check_out(out, study)
    root = run_folder or Path("runs") / f"{loaded.study.name}-pilot"
    machine = replace(loaded.machine, workers=workers or loaded.machine.workers)
    with progress_bars() as progress:
        made = plan_study(loaded, root, size=pilot, budget=budget, width=width, machine=machine, progress=progress)
    if as_json:
        say_json(plan_json(made), allow_nan=False)
    else:
        _say_plan(made)
        say(f"Pilot: {root}")
    if out is not None:
        write_planned(out, planned_file(loaded.text, loaded.study, made))
        say(f"Planned study: {out}", error=as_json)


def _say_plan(made: Plan) -> None:
    from forewarn.report import numbers as write
    from forewarn.report.table import Table

    types = dict.fromkeys(one.exploit_type for one in made.spans)
    tables = [
        Table(
            title=f"Spans of {exploit_type}",
            columns=("span", "pilot", "tokens", "hits", "contribution", "ESS", "share", "count"),
            rows=tuple(
                (
                    one.span,
                    str(one.n),
                    write.number(one.tokens, 1),
                    str(one.hits),
                    write.percent(one.contribution),
                    write.number(one.ess, 1),
                    write.percent(one.share),
                    str(one.count) if one.count else "left out",
                )
                for one in made.spans
                if one.exploit_type == exploit_type
            ),
            text_columns=1,
            note="Count: planned completions of each problem at each checkpoint, a whole number of at least 1.",
        )
        for exploit_type in types
    ]
    asked = () if made.width is None else (f"for {made.width:g} decades",)
    tables.append(
        Table(
            title="What the planned study is expected to give",
            columns=("checkpoint", "type", "n", "ESS", "width", *asked, "pilot's hits"),
            rows=tuple(_cell_row(cell, made.width) for cell in made.cells),
            text_columns=2,
            note="Width: of the interval, in decades. "
            f"Where the pilot's own ESS is below {SURE_ESS} the prediction is a guess.",
        )
    )
    say_tables(tables)
    for line in _without_hits(made):
        say(line)
    say(_cost_words(made))


def _cell_row(cell: PlannedCell, width: float | None) -> tuple[str, ...]:
    from forewarn.report import numbers as write

    said = cell.prediction
    needed = () if width is None else (write.NONE if cell.needed is None else f"{cell.needed:,}",)
    seen = f"{said.n_pilot_hits}" + ("" if said.pilot_ess is None else f" (ESS {said.pilot_ess:.1f})")
    wide = "no lower end" if said.width == math.inf else write.number(said.width)
    return (cell.checkpoint_id, cell.exploit_type, f"{said.n:,}", write.number(said.ess, 1), wide, *needed, seen)


def _without_hits(made: Plan) -> list[str]:
    """What is said of types of which the pilot had no hit at any checkpoint, and of cells without one."""
    lines = []
    for exploit_type in dict.fromkeys(cell.exploit_type for cell in made.cells):
        own = [cell for cell in made.cells if cell.exploit_type == exploit_type]
        empty = [cell.checkpoint_id for cell in own if not cell.prediction.n_pilot_hits]
        if len(empty) == len(own):
            lines.append(
                f"{exploit_type}: the pilot has no hit, so its spans keep equal shares and nothing is predicted; try "
                "a larger pilot, other windows, or another donor"
            )
        elif empty:
            lines.append(f"{exploit_type}: the pilot has no hit at {', '.join(empty)}: nothing is predicted there")
    return lines


def _cost_words(made: Plan) -> str:
    words = f"Planned: {made.completions:,} completions, about {made.tokens:,.0f} tokens"
    if made.seconds is not None and made.peak_bytes is not None:
        words += (
            f"; on this machine, as the pilot found it, about {_duration(made.seconds)} and "
            f"{made.peak_bytes / 1e9:.1f} GB of memory"
        )
    return words


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
