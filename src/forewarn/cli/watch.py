"""``forewarn watch``: follow a training, and ``forewarn status``: what a run folder has, waits for, and says."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.exits import EXIT_ALARM, EXIT_INCOMPLETE
from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_json, say_tables
from forewarn.engines.registry import engines_named
from forewarn.monitor.sinks import named_sink, sinks_named

if TYPE_CHECKING:
    from forewarn.monitor.fit import Fit
    from forewarn.monitor.state import State
    from forewarn.monitor.watch import Watcher
    from forewarn.records import Alert
    from forewarn.report.table import Table
    from forewarn.study import RunResults
    from forewarn.study.config.schema import StudyTable


def watch(
    study: Annotated[
        Path, typer.Argument(help="A study's TOML file whose one [[checkpoints]] entry is the trainer's output folder.")
    ],
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="Where work is saved and resumed; default: runs/NAME.")
    ] = None,
    alert: Annotated[
        list[str] | None,
        typer.Option("--alert", help=f"Post each answer to a sink, too; may be given again: {sinks_named()}."),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the trainer's folder.")] = 30.0,
    until: Annotated[
        int | None, typer.Option(min=0, help="End once a checkpoint of this step or later is measured.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Try every checkpoint that is there now, and end.")] = False,
    engine: Annotated[
        str | None, typer.Option("--engine", help=f"Override the file's engine: {engines_named()}.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Override the file's worker count.")] = None,
    completions: Annotated[
        int | None, typer.Option(min=1, help="Draw no more completions at one visit to a checkpoint.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.001, help="As many completions as fit, by the time that earlier ones took.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="The part of the time for which the device may be used.")
    ] = None,
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="End with status 5 at the first alert that is raised.")
    ] = False,
) -> None:
    """Follow a running training: measure each checkpoint once it is whole, update forecasts and report, post alerts.

    The training is never touched. Ctrl-C or a kill loses nothing: the same command goes on.
    """
    from forewarn.monitor.feed import Feeds
    from forewarn.monitor.watch import Watcher
    from forewarn.monitor.watched import Overrides
    from forewarn.study.config.file import read_study_file

    sinks = [named_sink(text) for text in alert or ()]
    tables, _ = read_study_file(study)
    root = run_folder or Path("runs") / tables.name
    note = partial(say, error=True)
    with Feeds(root, sinks, say=lambda line: note(f"note: {line}")) as feeds, progress_bars() as progress:
        given = Overrides(workers, engine, completions, minutes, share)
        watcher = Watcher(study, root, feeds, say=note, overrides=given, progress=progress)
        fit = _fit(watcher, tables, study, root)
        with closing(watcher.succession), _keeping(watcher, root, every):
            raised = _follow(watcher, fit, every=every, until=until, once=once, fail_on_alarm=fail_on_alarm)
            if once and not (fail_on_alarm and raised):
                watcher.succession.wait()
    _end(watcher, root, alarmed=fail_on_alarm and raised)


def _end(watcher: Watcher, root: Path, *, alarmed: bool) -> None:
    """Say where the run is, and end with the status that tells how it went."""
    say(f"Run folder: {root}; `forewarn status {root}` shows what is measured, and what waits")
    if alarmed:
        raise typer.Exit(EXIT_ALARM)
    if watcher.pending:
        raise typer.Exit(EXIT_INCOMPLETE)


def _fit(watcher: Watcher, tables: StudyTable, study: Path, root: Path) -> Fit:
    """The study held against the training and what is kept of it. Raises InputError for what no waiting cures."""
    from forewarn.checkpoints.places import spots_in
    from forewarn.checkpoints.remote import is_url
    from forewarn.monitor.fit import Fit, check_one_training
    from forewarn.monitor.pins import pins_in

    fit = Fit(tables, study)
    if not is_url(watcher.training):
        check_one_training(Path(watcher.training), spots_in(Path(watcher.training)))
    for one in pins_in(root):
        fit.check(one.name, one.weights)
    return fit


def _keeping(watcher: Watcher, root: Path, every: float) -> AbstractContextManager[object]:
    """What keeps checkpoints while one is measured; what is in a storage is downloaded by the watcher alone."""
    from forewarn.checkpoints.remote import is_url
    from forewarn.monitor.keeping import Keeping

    return nullcontext() if is_url(watcher.training) else Keeping(Path(watcher.training), root, every=every)


def _follow(watcher: Watcher, fit: Fit, *, every: float, until: int | None, once: bool, fail_on_alarm: bool) -> bool:
    """Look and measure until the end that was asked for. Returns whether an alert was raised."""
    looks, waiting = 0, False
    while True:
        fresh = watcher.look()
        looks += 1
        for one in fresh:
            say(f"{one.name} is whole (step {one.step:,}), and kept", error=True)
            fit.check(one.name, one.weights)
        ready = not watcher.rests and (not once or bool(watcher.untried))
        answer = watcher.measure_next() if ready else None
        raised = [one for one in answer or () if one.raised]
        for call in raised:
            say(f"ALERT: {call.message} {call.command}")
        if raised and fail_on_alarm:
            return True
        if until is not None and any(one.step >= until for one in watcher.measured):
            return bool(raised)
        if answer is not None:
            waiting = False
            continue  # look at once: more may wait
        if once and looks > 1:
            if not watcher.untried:
                return False
            if not watcher.rests:
                continue
        if not waiting and not once and not watcher.rests:
            say(f"waiting for checkpoints in {watcher.training}", error=True)
            waiting = True
        time.sleep(every)


def status(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="End with status 5 if a type is called.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Say what a run has measured, what waits or failed, and the current answer for each exploit type.

    Exit status: 0; 4 if something is not measured; 5 with --fail-on-alarm if a type is called.
    """
    from forewarn.monitor.alarms import raised_alarms, read_alarms
    from forewarn.monitor.answer import answer_now
    from forewarn.monitor.state import read_state
    from forewarn.study import read_results, run_forecasts

    results = read_results(run)
    said = run_forecasts(results.estimates, study=results.study, seed=results.seed, training=results.training)
    alarms = read_alarms(run)
    answer = [*raised_alarms(run), *answer_now(results, None if alarms is None else alarms[0], unix_s=time.time())]
    state = read_state(run)
    if as_json:
        say_json(_status_json(results, answer, state), allow_nan=False)
    else:
        from forewarn.report.reach import donors_table
        from forewarn.report.run_tables import forecasts_table
        from forewarn.study.results.forecasts import THRESHOLD
        from forewarn.study.results.reach import donor_reaches, lost_now

        reaches = donor_reaches(results)
        tables = [_checkpoint_table(results, state), forecasts_table(said, THRESHOLD)]
        say_tables([*tables, donors_table(reaches)] if reaches else tables)
        for lost in lost_now(reaches):
            say(f"{lost.lost}.")
        if state is not None and (now := state.refining) is not None:
            say(f"{now.donor} is being refined into {now.name}, by exploits at {now.checkpoint}.")
        raised = [one for one in answer if one.raised]
        for one in raised:
            say(f"ALERT: {one.message} {one.command}")
        if not raised:
            say("No type is called.")
    if fail_on_alarm and any(one.raised for one in answer):
        raise typer.Exit(EXIT_ALARM)
    if results.waiting or (state is not None and state.pending):
        raise typer.Exit(EXIT_INCOMPLETE)


def _checkpoint_table(results: RunResults, state: State | None) -> Table:
    from forewarn.report import numbers as write
    from forewarn.report.table import Table

    rows = []
    for name, step in dict.fromkeys((cell.record.checkpoint_id, cell.record.step) for cell in results.cells):
        mine = [cell for cell in results.cells if cell.record.checkpoint_id == name]
        whole = [cell for cell in mine if cell.estimate is not None]
        waits = sorted({cell.waits_for for cell in mine if cell.waits_for is not None})
        part = min(cell.record.part for cell in mine)
        what = "measured" if part == 1 else f"measured with {part:.0%} of its completions"
        what = f"waits for {', '.join(waits)}" if waits else what
        resolved = sum(cell.estimate.estimate.resolved for cell in whole if cell.estimate is not None)
        hits = sum(cell.estimate.estimate.n_hits for cell in whole if cell.estimate is not None)
        rows.append((name, write.step(step), what, f"{len(whole)} of {len(mine)}", str(resolved), str(hits)))
    known = {row[0] for row in rows}
    for name in state.pending if state is not None else ():
        trouble = state.failed.get(name) if state is not None else None
        what = "pending" if trouble is None else f"failed {trouble.times}x, is tried again: {trouble.reason}"
        if name not in known:
            rows.append((name, write.NONE, what, write.NONE, write.NONE, write.NONE))
    return Table(
        title=f"Checkpoints of {results.study}",
        columns=("checkpoint", "step", "state", "cells", "resolved", "exploits"),
        rows=tuple(rows),
        text_columns=3,
        note="Cells: exploit types with an estimate, of those planned.",
    )


_REACH = ("checkpoint_id", "step", "exploit_type", "donor", "completions", "lost")


def _status_json(results: RunResults, answer: list[Alert], state: State | None) -> dict[str, Any]:
    from dataclasses import asdict

    from forewarn.monitor.sinks.jsonl import as_data
    from forewarn.study.results.reach import donor_reaches

    reaches = donor_reaches(results)
    return {
        "study": results.study,
        "cells": len(results.cells),
        "waiting": [
            {"checkpoint": one.record.checkpoint_id, "exploit_type": one.record.exploit_type, "for": one.waits_for}
            for one in results.waiting
        ],
        "watch": None if state is None else asdict(state),
        "donors": [{**asdict(one.reach), **{key: getattr(one, key) for key in _REACH}} for one in reaches],
        "answer": [as_data(one) for one in answer],
    }
