"""``forewarn run`` runs a study from its TOML file; ``forewarn train-donor`` trains the file's donors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_json, say_lines, say_tables
from forewarn.engines.registry import engines_named
from forewarn.errors import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forewarn.study import CellEstimate, RunResults, TypeForecast
    from forewarn.study.donors.train import TrainedDonor


def run(
    study: Annotated[Path, typer.Argument(help="A study's TOML file; docs/study.md describes its keys.")],
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="Where work is saved and resumed; default: runs/NAME.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help=f"Override the file's engine: {engines_named()}.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Override the file's worker count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Run a study from its TOML file: sample, judge, score, estimate. Completed work is reused."""

    from forewarn.cli.estimate import cells_json, cells_text
    from forewarn.study import read_results, run_forecasts
    from forewarn.study.config.load import load_study
    from forewarn.study.stages.run import run_study

    loaded = load_study(study)
    machine = replace(loaded.machine, engine=engine or loaded.machine.engine, workers=workers or loaded.machine.workers)
    root = run_folder or Path("runs") / loaded.study.name
    missing: IncompleteError | None = None
    try:
        with progress_bars() as progress:
            cells: Sequence[CellEstimate] = run_study(
                loaded.study, root, machine=machine, sandboxing=loaded.sandboxing, progress=progress, text=loaded.text
            )
    except IncompleteError as error:  # finished cells are shown first
        cells, missing = error.cells, error  # type: ignore[assignment]
    manifest = json.loads((root / "manifest.json").read_text())
    for said in (manifest["format"]["difference"], manifest["format"]["ignored_ends"]):
        if said:
            say(f"note: {said}", error=True)
    if as_json:
        say_json(cells_json(cells), allow_nan=False)
    results = read_results(root)
    forecasts = run_forecasts(results.estimates, study=results.study, seed=results.seed, training=results.training)
    if not as_json:
        say_lines(cells_text(cells))
        _say_the_answer(results, forecasts)
        say(f"Run folder: {root}")
    if results.estimates:
        from forewarn.report.from_run import REPORT_FOLDER, report_is_current, write_run_report

        if not report_is_current(root):  # charts take seconds
            write_run_report(results, forecasts)
        say(f"Report: {root / REPORT_FOLDER / 'report.html'}", error=as_json)
    if missing is not None:
        raise missing


def _say_the_answer(results: RunResults, forecasts: Sequence[TypeForecast]) -> None:
    """Print the forecasts, and for every cell without hits what its completions were instead."""
    from forewarn.report.run_tables import forecasts_table, no_hit_lines
    from forewarn.study.results.forecasts import THRESHOLD

    if forecasts:
        say_tables([forecasts_table(forecasts, THRESHOLD)])
    for line in no_hit_lines(results.cells):
        say(line)


def train_donor(
    study: Annotated[Path, typer.Argument(help="A study's TOML file with a [donors.training] table.")],
    donor: Annotated[
        str | None, typer.Option("--donor", help="Only this donor; default: all donors of the file.")
    ] = None,
    trial: Annotated[
        bool,
        typer.Option("--trial/--no-trial", help="Whether each donor is tried on a few of its problems."),
    ] = True,
) -> None:
    """Train a study's donors as LoRAs that answer with exploits, without reasoning.

    Each donor is then tried: it answers a few problems alone, and the exploit rate of its answers is printed.
    """
    from forewarn.study.donors.train import train_donors

    with progress_bars() as progress:
        trained = train_donors(study, only=donor, progress=progress)
    for one in trained:
        if one.losses:
            say(
                f"{one.name}: {one.n_examples} exploits, {one.n_target_tokens} target tokens, "
                f"loss {one.losses[0]:.3f} to {one.losses[-1]:.3f} nats a token; in {one.folder}"
            )
        else:
            say(f"{one.name}: already trained, in {one.folder}")
    if trial:
        _try_donors(study, trained)


def _try_donors(study: Path, trained: Sequence[TrainedDonor]) -> None:
    """Print what each donor writes by itself, and what to do about one that can't exploit."""
    from forewarn.study.config.file import read_study_file
    from forewarn.study.donors.trial import remedy, try_donor

    tables, _ = read_study_file(study)
    by_name = {table.name: table for table in tables.donors}
    for one in trained:
        with progress_bars() as progress:
            found = try_donor(tables, by_name[one.name], study, progress=progress)
        counts = ", ".join(f"{count} {label}" for label, count in sorted(found.labels.items(), key=lambda c: -c[1]))
        rate = "nothing could be judged" if found.exploit_rate is None else f"exploit rate {found.exploit_rate:.0%}"
        say(f"{one.name}: {found.n} answers by this donor alone: {rate} ({counts})")
        if advice := remedy(found, one.last_loss):
            say(f"{one.name}: this donor can't exploit: {advice}")
