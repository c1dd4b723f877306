"""``forewarn show``: lists a run folder's cells, the hits of some of them, or one completion's transcript."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.say import say_json, say_lines, say_tables
from forewarn.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forewarn.report.table import Table
    from forewarn.study import CellResult
    from forewarn.study.results.transcripts import Transcript


def show(
    run: Annotated[Path, typer.Argument(help="Run folder of a study; it may still be growing.")],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE|CHECKPOINT|COMPLETION]",
            help="An exploit type or a checkpoint: its cells and their hits. A completion's id, or the beginning of "
            "one: its transcript. Default: every cell.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Show a run folder: cells with label counts, hits with their weights, or one transcript."""
    from forewarn.report.run_tables import cells_table, hits_table, no_hit_lines
    from forewarn.study import read_results

    results = read_results(run)
    of_type = [cell for cell in results.cells if cell.record.exploit_type == what]
    of_checkpoint = [cell for cell in results.cells if cell.record.checkpoint_id == what]
    if what is not None and not of_type and not of_checkpoint:
        from forewarn.study.results.transcripts import read_transcripts

        (found,) = read_transcripts(results, [what])
        if as_json:
            say_json(_finite(asdict(found)), allow_nan=False)
        else:
            say_lines(transcript_text(found))
        return
    cells = of_type or of_checkpoint or list(results.cells)
    if as_json:
        say_json(cells_json(cells), allow_nan=False)
        return
    tables = [cells_table(cells), routes_table(cells)]
    if what is not None:
        picked = {"exploit_type": what} if of_type else {"checkpoint_id": what}
        tables.append(hits_table(results, **picked))
    say_tables(tables)
    for line in no_hit_lines(cells):
        say_lines(printable(line))


def routes_table(cells: Sequence[CellResult]) -> Table:
    """Over how many programs, problems and spans each cell's estimate is spread."""
    from forewarn.report.table import Table

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    estimates = [(cell.record, cell.estimate.estimate) for cell in cells if cell.estimate is not None]
    return Table(
        title="Routes",
        columns=("checkpoint", "type", "programs", "problems", "spans", "answers whole", "beginnings"),
        rows=tuple(
            (
                record.checkpoint_id, record.exploit_type, number(e.effective_programs, ".1f"),
                number(e.effective_problems, ".1f"), number(e.effective_spans, ".1f"), number(e.donor_written, ".0%"),
                number(e.donor_opened, ".0%"),
            )
            for record, e in estimates
        ),
        text_columns=2,
        note="Effective numbers: 1 where one carries the estimate. Answers whole: share of the estimate in hits whose "
        "whole answer the donor wrote. Beginnings: share in hits of which it wrote the beginning alone.",
    )  # fmt: skip


def cells_json(cells: Sequence[CellResult]) -> list[dict[str, Any]]:
    """Return one object per cell: its label counts, the stage it waits for, and its estimate."""
    from forewarn.cli.estimate import as_json_value

    return [
        {
            "checkpoint_id": cell.record.checkpoint_id,
            "step": cell.record.step,
            "exploit_type": cell.record.exploit_type,
            "outcomes": dict(cell.outcomes),
            "waits_for": cell.waits_for,
            "fault": cell.fault,
            "estimate": None if cell.estimate is None else as_json_value(cell.estimate.estimate),
        }
        for cell in cells
    ]


def transcript_text(found: Transcript) -> str:
    """Return the transcript in lines: the verdict, then each stretch under its writer."""
    from forewarn.report.run_tables import weight_text

    weight = "not a hit"
    if found.log_weight is not None and found.rho is not None:
        weight = f"{weight_text(found.log_weight)}, rho {found.rho:.2g}"
    head = [
        ("completion", found.completion_id),
        ("checkpoint", f"{found.checkpoint_id}, step {found.step}"),
        ("type, problem", f"{found.exploit_type}, {found.problem_id}"),
        ("span", found.span),
        ("weight", weight),
        ("verdict", f"{found.label or 'not judged yet'}{': ' if found.reason else ''}{found.reason}"),
    ]
    lines = [f"{name:<14} {printable(value)}" for name, value in head]
    lines += [f"{'':<14} {printable(line)}" for line in found.evidence]
    channel = ""
    for stretch in found.stretches:
        if stretch.channel != channel:
            channel = stretch.channel
            lines += ["", f"{channel}:"]
        lines.append(f"  {printable(stretch.writer)} wrote {stretch.n_tokens} tokens:")
        lines += [f"    | {printable(line)}" for line in stretch.text.split("\n")]
    lines += ["", f"finish: {found.finish_reason}"]
    if not found.spelt:
        lines.append("Tokens are shown as ids: this folder has no vocabulary; run its study again to add it")
    return "\n".join(lines)


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    """Replace infinities, which JSON lacks, by null: a weight of zero has a log-weight of null."""

    weight = value["log_weight"]
    return value | {"log_weight": weight if weight is not None and math.isfinite(weight) else None}
