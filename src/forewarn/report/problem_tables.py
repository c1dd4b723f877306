"""Tables on a problem set."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.records import Problem
from forewarn.report.table import Table


def problems_table(problems: Sequence[Problem]) -> Table:
    """A row a type: its split, its flaw in a sentence, and its problems."""
    rows: list[tuple[str, ...]] = []
    for name, kind in EXPLOIT_TYPES.items():
        held = [problem for problem in problems if problem.exploit_type == name]
        if held:
            rows.append((name, kind.split, kind.description, str(len(held))))
    tasks = {problem.task_id for problem in problems}
    rows.append(("all", "", f"{len(tasks)} tasks", str(len(problems))))
    return Table(
        title="Problems by exploit type",
        columns=("type", "split", "the flaw", "problems"),
        rows=tuple(rows),
        text_columns=3,
        emphasis=(len(rows) - 1,),
    )
