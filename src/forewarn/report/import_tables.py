"""Tables on the check of an import: counts by exploit type, and every problem that is not as it should be."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.admission.check_imported import WANTED, WAYS, Checked, Way
from forewarn.report.table import Table

_TITLES: dict[Way, str] = {"own verifier": "Judged by the problem's own verifier", "our pair": "Judged by our pair"}


def counts_table(checked: Sequence[Checked], way: Way) -> Table:
    """A row a type: how many references, exploits and nulls got the label that a sound problem gives them."""
    of_way = [item for item in checked if item.way == way]
    types = sorted({item.exploit_type for item in of_way})
    rows = [_counts(name, [item for item in of_way if item.exploit_type == name]) for name in types]
    rows.append(_counts("all", of_way))
    return Table(
        title=_TITLES[way],
        columns=("type", "problems", "judged", "reference solved", "exploit is an exploit", "nulls failed"),
        rows=tuple(rows),
        emphasis=(len(rows) - 1,),
    )


def deviations_table(checked: Sequence[Checked], way: Way) -> Table:
    """A row a verdict that is not as a sound problem's, and a row a problem that can't be judged in this way."""
    rows: list[tuple[str, ...]] = []
    for item in checked:
        if item.way != way:
            continue
        name = (item.problem_id, item.exploit_type)
        if item.why_not:
            rows.append((*name, "all", "not judged", item.why_not.rpartition(": ")[2]))
        rows += [(*name, what, v.label, _why(v.reason)) for what, v in item.deviations.items()]
    return Table(
        title=f"{_TITLES[way]}: what is not as it should be",
        columns=("problem", "type", "submission", "label", "why"),
        rows=tuple(rows),
        text_columns=5,
    )


def _counts(name: str, items: Sequence[Checked]) -> tuple[str, ...]:
    judged = [item for item in items if item.verdicts]

    def as_wanted(kind: str) -> str:
        found = [
            v.label == WANTED[kind] for item in judged for what, v in item.verdicts.items() if what.startswith(kind)
        ]
        return f"{sum(found)} of {len(found)}"

    return (name, str(len(items)), str(len(judged)), *map(as_wanted, WANTED))


def _why(reason: str) -> str:
    return reason if len(reason) <= 160 else f"{reason[:160]}..."


def all_tables(checked: Sequence[Checked]) -> list[Table]:
    """Counts and deviations of both ways."""
    return [make(checked, way) for way in WAYS for make in (counts_table, deviations_table)]
