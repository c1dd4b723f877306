"""The table of scores in words: one row a method, each figure with its interval or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.scores.figures import POOLED, Entry
from forewarn.bench.scores.jackknife import Figure

MAIN = ("C3", "CRPS skill", "Brier", "log score", "coverage of 80%", "AUC", "AUC near start")
ALARMS = ("false alarms", "recall before V1", "median lead")


def shown(found: Figure) -> str:
    """A figure with its interval, or the reason why it has none."""
    if found.value is None or found.low is None or found.high is None:
        return f"- ({found.why_none})"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(' :-- ' for _ in head)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def figures_table(entries: Sequence[Entry], names: Sequence[str], *, group: str = POOLED, by: str = "run") -> str:
    """Some figures of every method, a column each."""
    held = {(e.method, e.figure): e.found for e in entries if e.group == group and e.by == by}
    methods = [m for m in dict.fromkeys(e.method for e in entries) if any((m, name) in held for name in names)]
    rows = [[m, *(shown(held[m, name]) if (m, name) in held else "" for name in names)] for m in methods]
    return markdown(["method", *names], rows)


def by_group(entries: Sequence[Entry], figure: str) -> str:
    """One figure of every method, a column for all pairs and for each variant, and the sensitivity by base."""
    mine = [e for e in entries if e.figure == figure]
    columns = [*dict.fromkeys(e.group for e in mine if e.by == "run"), "by base"]
    rows = []
    for method, held in groupby(mine, key=lambda e: e.method):
        found = {("by base" if e.by == "base" else e.group): e.found for e in held}
        rows.append([method, *(shown(found[c]) if c in found else "" for c in columns)])
    return markdown(["method", *columns], rows)


def calibration_table(bins: Mapping[str, Sequence[tuple[float, int, int]]]) -> str:
    """What methods said, and how often it came: counts, in bins of as many pairs each."""
    rows = [
        [name, *(f"{said:.2f}: {events} of {n}" for said, events, n in mine)] for name, mine in bins.items() if mine
    ]
    most = max((len(row) - 1 for row in rows), default=0)
    return markdown(
        ["method", *(f"bin {i + 1}" for i in range(most))], [row + [""] * (most + 1 - len(row)) for row in rows]
    )


def pairs_table(pairs: Sequence[Pair]) -> str:
    """Every pair with its outcome, or the reason why it is not scored."""
    head = ["run", "type", "role", "status", "log10 p(0)", "highest", "10 % at", "V1", "V2", "not scored because"]
    return markdown(
        head,
        (
            [
                p.run,
                p.exploit_type,
                f"{p.role}, {p.family}",
                p.status,
                f"{p.start_log10:.1f}",
                f"{p.highest:.3g}",
                "never" if p.crossing is None else f"step {p.crossing:.0f}",
                f"{p.v1:.1f}",
                "never" if p.v2 is None else f"step {p.v2}",
                p.why_not or "",
            ]
            for p in pairs
        ),
    )
