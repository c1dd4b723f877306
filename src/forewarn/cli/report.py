"""``forewarn report``: the report of a run folder, also of one that is still growing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.say import say
from forewarn.errors import InputError


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the report goes; default: RUN/report.")] = None,
    horizon: Annotated[
        int | None,
        typer.Option(min=1, help="The step that forecasts reach to; default: four times the last step measured."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="The rate that counts as emerged.")] = 0.1,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Serve the page on this machine, and follow the run as it grows; Ctrl-C ends it."),
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", help="With --serve: the port, 0 for any that is free; default: 8733.")
    ] = None,
) -> None:
    """Write the report of a run folder: what to do next, estimates, forecasts and transcripts of hits, on one page."""
    if serve:
        if out is not None:
            raise InputError("--serve writes no files, so that --out has no meaning: give one of the two")
        _serve(run, port, horizon, threshold)
        return
    if port is not None:
        raise InputError("--port is for --serve: add --serve, or leave it out")
    from forewarn.report.from_run import report_run

    written = report_run(run, out, horizon_step=horizon, threshold=threshold)
    say(f"Report: {written} and {written.with_suffix('.html')}")


def _serve(run: Path, port: int | None, horizon: int | None, threshold: float) -> None:
    from forewarn.report import serve

    server, threads, stop = serve.serve(
        run,
        port=serve.PORT if port is None else port,
        horizon_step=horizon,
        threshold=threshold,
        tell=lambda trouble: say(f"forewarn: {trouble}", error=True),
    )
    say(f"Serving {run} at {server.url} (Ctrl-C ends it)")
    serve.wait(server, threads, stop)
    say("Stopped", error=True)
