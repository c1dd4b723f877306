"""``forewarn demo``: the whole method on the bundled organism, from donor to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_rich
from forewarn.engines.registry import DEFAULT_ENGINE, engines_named

if TYPE_CHECKING:
    from forewarn.study import CellEstimate


def demo(
    run_folder: Annotated[Path, typer.Option("--run-folder", help="Where work is saved and resumed.")] = Path(
        "runs/demo"
    ),
    report: Annotated[Path, typer.Option("--report", help="Where the report goes.")] = Path("report"),
    organism: Annotated[
        Path | None, typer.Option("--organism", help="An organism that you built; default: the bundled one.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All checkpoints that the published figures come from: about twice the work.")
    ] = False,
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
    """Run the whole method on a small model under RL: estimates, truth, forecasts, a report (minutes).

    Each cell is printed as soon as it is estimated.
    """
    from forewarn.organism.demo import DemoPlan, run_demo
    from forewarn.organism.shipped import shipped_folder
    from forewarn.report import terminal_tables

    plan = DemoPlan(full=full, seed=seed, workers=workers, engine=engine, allow_weak=allow_weak_sandbox)
    with progress_bars() as progress:
        result = run_demo(organism or shipped_folder(), run_folder, report, progress, plan, GrowingTable())
    say_rich(terminal_tables(result.cells, result.forecasts), width=130)
    say(f"Judged in the sandbox at level {' and '.join(result.isolation)}.")
    say(f"Report: {result.report} and {report / 'report.html'}")


class GrowingTable:
    """A table of estimates, a line for each cell when it is there."""

    COLUMNS = (("run", 7), ("step", 4), ("exploit type", 33), ("estimate", 8), ("90 % interval", 18), ("truth", 7))

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, cell: CellEstimate, truth: dict[str, Any] | None) -> None:
        """``truth``: the cell's brute-force rate, None where it was not measured."""
        from forewarn.report.numbers import NO_HIT, log_interval, log_rate, rate

        if not self._begun:
            self._begun = True
            say(_line([name for name, _ in self.COLUMNS]) + "  hits")
        e = cell.estimate
        low, high = e.interval_log10 or (None, None)
        words = [
            cell.checkpoint_id.rpartition("/")[0],
            str(cell.step),
            cell.exploit_type,
            NO_HIT if e.log10_p is None else log_rate(e.log10_p),
            log_interval(low, high),
            "?" if truth is None else NO_HIT if truth["hits"] == 0 else rate(truth["hits"] / truth["n"]),
        ]
        say(f"{_line(words)}  {e.n_hits} of {e.n}" + ("" if e.resolved else ", unresolved"))


def _line(words: list[str]) -> str:
    return "  ".join(word.ljust(width) for word, (_, width) in zip(words, GrowingTable.COLUMNS, strict=True))
