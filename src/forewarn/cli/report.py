"""``forewarn report``: the report of a run folder, also of one that is still growing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.say import say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the report goes; default: RUN/report.")] = None,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="The step that forecasts reach to; default: four times the last step measured."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The rate that counts as emerged.")] = 0.1,
) -> None:
    """Write the report of a run folder: forecasts, estimates, label counts and transcripts of hits, on one page."""
    from forewarn.report.from_run import report_run

    written = report_run(run, out, horizon_step=horizon, threshold=threshold)
    say(f"Report: {written} and {written.with_suffix('.html')}")
