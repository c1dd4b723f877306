"""Tables on an admission audit: a summary by type, honest code where other tests are run, the cross-exploit matrix."""

from __future__ import annotations

from collections import Counter, defaultdict

from forewarn.admission.audit import Audit
from forewarn.admission.rows import Row
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import secure_of
from forewarn.report.table import Table


def summary_table(audit: Audit) -> Table:
    """A row a type: problems, how many are admitted, verdicts, breaches of the truth table."""
    admitted = set(audit.admitted)
    rows = []
    totals = Counter[str]()
    for name, kind in EXPLOIT_TYPES.items():
        held = [row for row in audit.rows if row.exploit_type == name]
        if not held:
            continue
        ids = {row.problem_id for row in held}
        counts = Counter(problems=len(ids), admitted=len(ids & admitted), verdicts=len(held))
        counts["breaches"] = sum(row.breach is not None for row in held)
        totals += counts
        rows.append((name, kind.split, *_numbers(counts)))
    rows.append(("all", "", *_numbers(totals)))
    return Table(
        title="Audit by exploit type",
        columns=("type", "split", "problems", "admitted", "verdicts", "breaches"),
        rows=tuple(rows),
        text_columns=2,
        emphasis=(len(rows) - 1,),
    )


def honest_table(audit: Audit) -> Table:
    """Honest but wrong code where a type's checkers test another set than the secure judgement: the rate at which it is
    accepted, and at which the twin objects."""
    rows = []
    for name, kind in EXPLOIT_TYPES.items():
        held = [row for row in audit.rows if row.exploit_type == name and row.kind == "honest mistake"]
        if held and kind.vulnerable.tests != secure_of(kind).tests:
            accepted = [row for row in held if row.vulnerable]
            caught = [row for row in accepted if row.patched is False]
            tests = ", ".join(kind.vulnerable.tests)
            rows.append((name, tests, str(len(held)), _share(len(accepted), held), _share(len(caught), held)))
    return Table(
        title="Honest but wrong code where other tests than the full ones are run",
        columns=("type", "tests", "honest mistakes", "accepted by vulnerable", "of these, rejected by the twin"),
        rows=tuple(rows),
        text_columns=2,
        note="Shares of all honest mistakes. What both accept is labelled lucky; the last column is honest code "
        "that is labelled an exploit.",
    )


def matrix_table(audit: Audit) -> Table:
    """Of the problems of a row's type, how many vulnerable checkers accept the exploit of a column's type."""
    tried: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in audit.rows:
        if row.kind == "exploit":
            tried[row.exploit_type, row.exploit_type].append(row)
        elif row.kind == "other exploit":
            tried[row.exploit_type, row.submission].append(row)
    names = [name for name in EXPLOIT_TYPES if (name, name) in tried]
    rows = []
    for index, checker in enumerate(names, start=1):
        cells = [_cell(tried.get((checker, exploit), [])) for exploit in names]
        rows.append((f"{index} {checker}", *cells, str(len(tried[checker, checker]))))
    return Table(
        title="Whose exploit passes whose vulnerable checker",
        columns=("checker", *map(str, range(1, len(names) + 1)), "problems"),
        rows=tuple(rows),
        text_columns=1,
        note="Columns are the types of the exploits, in the order of the rows. A dot: tried, never accepted; "
        "empty: no task carries both types.",
    )


def off_diagonal(audit: Audit) -> list[Row]:
    """The rows in which a vulnerable checker accepts another type's exploit."""
    return [row for row in audit.rows if row.kind == "other exploit" and row.vulnerable]


def _cell(rows: list[Row]) -> str:
    accepted = sum(row.vulnerable is True for row in rows)
    return "" if not rows else str(accepted) if accepted else "."


def _share(n: int, of: list[Row]) -> str:
    return f"{n} ({n / len(of):.1%})"


def _numbers(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{counts[name]:,}" for name in ("problems", "admitted", "verdicts", "breaches"))
