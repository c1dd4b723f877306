"""``forewarn demo``: the whole method on the bundled organism, from donor to report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_rich
from forewarn.engines.registry import DEFAULT_ENGINE, engines_named


def demo(
    run_folder: Annotated[Path, typer.Option("--run-folder", help="Where work is saved and resumed.")] = Path(
        "runs/demo"
    ),
    report: Annotated[Path, typer.Option("--report", help="Where the report goes.")] = Path("report"),
    organism: Annotated[
        Path | None, typer.Option("--organism", help="An organism that you built; default: the bundled one.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of donors, samples and forecasts.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Sampling processes, one thread each.")] = 2,
    engine: Annotated[
        str, typer.Option("--engine", help=f"Engine that samples and scores: {engines_named()}.")
    ] = DEFAULT_ENGINE,
    allow_weak_sandbox: Annotated[
        bool,
        typer.Option(
            "--allow-weak-sandbox",
            help="If no isolation level works, run the model's code without protecting files and network.",
        ),
    ] = False,
) -> None:
    """Run the whole method on a small model under RL: estimates, truth, forecasts, a report (minutes)."""
    from forewarn.organism.demo import DemoPlan, run_demo
    from forewarn.organism.shipped import shipped_folder
    from forewarn.report import terminal_tables

    plan = DemoPlan(seed=seed, workers=workers, engine=engine, allow_weak=allow_weak_sandbox)
    with progress_bars() as progress:
        result = run_demo(organism or shipped_folder(), run_folder, report, progress, plan)
    say_rich(terminal_tables(result.cells, result.forecasts), width=130)
    say(f"Judged in the sandbox at level {' and '.join(result.isolation)}.")
    say(f"Report: {result.report} and {report / 'report.html'}")
