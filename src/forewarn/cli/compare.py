"""``forewarn compare``: did a mitigation work? The rates of two runs, type by type."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.say import say_json, say_tables

if TYPE_CHECKING:
    from forewarn.estimation.ratio import Ratio
    from forewarn.report.table import Table
    from forewarn.study import CellEstimate


def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder of a study, the one to compare with.")],
    run_b: Annotated[Path, typer.Argument(help="Another one, with the same exploit types.")],
    step: Annotated[
        int | None, typer.Option("--step", min=0, help="Compare at this step; default: the last that both have.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Compare two runs type by type: the ratio of their exploit rates, with its interval."""
    from forewarn.errors import InputError
    from forewarn.estimation.ratio import rate_ratio
    from forewarn.study import read_results

    cells = [_by_place(read_results(run).estimates, run) for run in (run_a, run_b)]
    types = [
        name for name in dict.fromkeys(name for name, _ in cells[0]) if any(other == name for other, _ in cells[1])
    ]
    if not types:
        raise InputError(f"{run_a} and {run_b} have no measured exploit type in common")
    rows = []
    for name in types:
        both = sorted({at for other, at in cells[0] if other == name} & {at for other, at in cells[1] if other == name})
        if step is not None:
            both = [at for at in both if at == step]
        if both:
            a, b = cells[0][name, both[-1]], cells[1][name, both[-1]]
            rows.append((name, a, b, rate_ratio(a.estimate, b.estimate)))
    if not rows:
        where = "no step" if step is None else f"not step {step}"
        raise InputError(f"{run_a} and {run_b} have {where} in common at which a type is measured in both")
    if as_json:
        say_json([_json(*row) for row in rows], allow_nan=False)
    else:
        say_tables([_table(rows, run_a, run_b)])


def _by_place(cells: list[CellEstimate], run: Path) -> dict[tuple[str, int], CellEstimate]:
    from forewarn.errors import InputError

    found: dict[tuple[str, int], CellEstimate] = {}
    for cell in cells:
        place = (cell.exploit_type, cell.step)
        if place in found:
            raise InputError(
                f"{run} has two checkpoints at step {cell.step}, {found[place].checkpoint_id} and "
                f"{cell.checkpoint_id}: compare run folders of one training each"
            )
        found[place] = cell
    return found


def _table(rows: list[tuple[str, CellEstimate, CellEstimate, Ratio]], run_a: Path, run_b: Path) -> Table:
    from forewarn.report import numbers as write
    from forewarn.report.table import Table

    def rate(cell: CellEstimate) -> str:
        held = cell.estimate
        if held.log10_p is None or held.interval_log10 is None:
            return f"no hit, below {write.rate(held.upper_bound)}"
        return f"{write.log_rate(held.log10_p)} {write.log_interval(*held.interval_log10)}"

    def ratio(one: Ratio) -> str:
        low, high = (_end(end) for end in one.interval_log10)
        return f"{write.ratio(one.log10)} [{low}, {high}]"

    return Table(
        title="B compared with A",
        columns=("type", "step", "A", "B", "B / A", "B is", "resolved"),
        rows=tuple(
            (name, write.step(a.step), rate(a), rate(b), ratio(one), one.says, "yes" if one.resolved else "no")
            for name, a, b, one in rows
        ),
        text_columns=1,
        note=(
            f"A: {run_a}. B: {run_b}. Intervals at {rows[0][3].level:.0%}, for each type by itself. Not told: the "
            "interval of the ratio contains 1. Where a cell is unresolved, its interval can't know of what its spans "
            "don't reach."
        ),
    )


def _end(log10: float) -> str:
    if math.isinf(log10):
        return "0" if log10 < 0 else "inf"
    return f"{10**log10:.2g}"


def _json(name: str, a: CellEstimate, b: CellEstimate, one: Ratio) -> dict[str, Any]:
    return {
        "exploit_type": name,
        "step": a.step,
        "a_log10_p": a.estimate.log10_p,
        "b_log10_p": b.estimate.log10_p,
        "ratio_log10": one.log10,
        "ratio_interval_log10": [None if math.isinf(end) else end for end in one.interval_log10],
        "level": one.level,
        "says": one.says,
        "resolved": one.resolved,
    }
