"""The reach of donors as a table: what each brings to the newest estimate, and what it brought at its best."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.report import numbers as write
from forewarn.report.table import Table
from forewarn.study.results.reach import DonorReach


def donors_table(reaches: Sequence[DonorReach]) -> Table:
    """One row for each donor and exploit type, at the last checkpoint with a hit where the donor was drawn."""
    last: dict[tuple[str, str, str], DonorReach] = {}
    best: dict[tuple[str, str, str], float] = {}
    for one in reaches:  # by step
        key = one.run, one.donor, one.exploit_type
        last[key] = one
        best[key] = max(best.get(key, 0.0), one.rate)
    return Table(
        title="What donors reach",
        columns=("donor", "exploit type", "step", "responsible for", "ESS", "completions", "ESS to its best", ""),
        rows=tuple(
            (
                one.donor, one.exploit_type, write.step(one.step), write.percent(one.reach.responsibility),
                f"{one.reach.ess:.1f}", f"{one.completions:,}",
                write.percent(one.rate / best[key]) if best[key] else write.NONE,
                "no longer reaches" if one.lost else "",
            )
            for key, one in last.items()
        ),
        text_columns=2,
        note="ESS: effective hits of the donor's part of the estimate; to its best: for each completion, over the "
        "highest at any checkpoint.",
    )  # fmt: skip
