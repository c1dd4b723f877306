"""Donor health: what each span of a run folder brought, what donors write alone, and how they treat the channels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from forewarn.records import SUBJECT, UNBOUNDED, Span
from forewarn.report import numbers as write
from forewarn.report.shares import CellKey, SpanShare
from forewarn.report.table import Table
from forewarn.store import RunFolder
from forewarn.study import RunResults
from forewarn.study.folder.cells import parts_of
from forewarn.study.folder.schemas import COMPLETIONS

NEVER_OPENED = ("missing", "cut_reasoning")
"""cases of a completion whose answer never opened"""
REPEATED = ("repeated", "nested")
"""cases in which a channel was opened or closed again"""


@dataclass(slots=True)
class SpanHealth:
    """One span over the cells of a run folder that are whole."""

    span: Span
    n: int = 0
    """completions"""
    n_hits: int = 0
    shares: list[float] = field(default_factory=list)
    """of each cell's estimate, over cells with a hit"""
    ess_shares: list[float] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    n_closed: int = 0
    """answers whose reasoning the donor ended"""

    @property
    def n_open(self) -> int:
        """Completions whose answer never opened."""
        return sum(self.cases[case] for case in NEVER_OPENED)


def span_health(results: RunResults, spans: Mapping[CellKey, Mapping[str, SpanShare]]) -> list[SpanHealth]:
    """What each span brought, the subject's own first."""
    found: dict[str, SpanHealth] = {}
    cases, closed = _channels(results)
    for cell in results.cells:
        if cell.estimate is None:
            continue
        mine = spans.get((cell.record.checkpoint_id, cell.record.exploit_type), {})
        all_ess = sum(one.ess for one in mine.values())
        for planned, n in zip(cell.record.spans, cell.estimate.n_by_span, strict=True):
            name = planned.span.name
            health = found.setdefault(name, SpanHealth(planned.span))
            health.n += n
            if mine:
                one = mine.get(name)
                health.n_hits += one.n_hits if one else 0
                health.shares.append(one.share if one else 0.0)
                health.ess_shares.append(one.ess / all_ess if one and all_ess else 0.0)
    for name, health in found.items():
        health.cases, health.n_closed = cases[name], closed[name]
    return sorted(found.values(), key=lambda one: (one.span.donor != SUBJECT, one.span.donor, one.span.k, one.span.m))


def _channels(results: RunResults) -> tuple[dict[str, Counter[str]], Counter[str]]:
    """By span: how the channels lie in its completions, and how many answers follow reasoning that the donor ended."""
    cases: dict[str, Counter[str]] = defaultdict(Counter)
    closed = Counter[str]()
    run = RunFolder(results.root)
    last = pl.col("donor_wrote").list.get(pl.col("n_reasoning") - 1, null_on_oob=True)
    by_donor = last & ~pl.col("case").is_in(list(NEVER_OPENED)) & (pl.col("n_reasoning") > 0)
    for cell in results.cells:
        if cell.estimate is None:
            continue
        for part in parts_of(run, cell.record):
            table = run.shards(COMPLETIONS).read(part.completions)
            counted = table.group_by("span", "case").agg(n=pl.len(), closed=by_donor.fill_null(False).sum())
            for span, case, n, n_closed in counted.iter_rows():
                cases[span][case] += n
                closed[span] += n_closed
    return cases, closed


def health_table(found: list[SpanHealth]) -> Table:
    """One row a span."""
    return Table(
        title="What each span brought",
        columns=(
            "span", "donor", "completions", "hits", "hits / completions", "share of estimate", "ESS share",
            "answer never opened", "closed by donor", "channel opened or closed again",
        ),
        rows=tuple(
            (
                one.span.name, one.span.donor if one.span.donor != SUBJECT else write.NONE, f"{one.n:,}",
                f"{one.n_hits:,}", write.rate(one.n_hits / one.n) if one.n else write.NONE,
                _mean(one.shares), _mean(one.ess_shares), _part(one.n_open, one.n), _part(one.n_closed, one.n),
                _part(sum(one.cases[case] for case in REPEATED), one.n),
            )
            for one in found
        ),
        text_columns=2,
        note="Shares are averages over the cells with a hit. A span that never brings a hit costs completions and adds "
        "nothing: drop it, or train its donor on this study's types.",
    )  # fmt: skip


def _mean(values: list[float]) -> str:
    return write.percent(sum(values) / len(values)) if values else write.NONE


def _part(count: int, n: int) -> str:
    return f"{count:,} ({write.percent(count / n)})" if n else write.NONE


def donor_lines(found: list[SpanHealth]) -> list[str]:
    """For each donor, whether it exploits at all: by itself where a span lets it write everything."""
    lines = []
    for donor in dict.fromkeys(one.span.donor for one in found if one.span.donor != SUBJECT):
        mine = [one for one in found if one.span.donor == donor]
        whole_answer = [one for one in mine if one.span.m >= UNBOUNDED and not one.span.m0 and one.span.anchor is None]
        alone = [one for one in whole_answer if one.span.k >= UNBOUNDED and not one.span.k0]
        n, hits = (sum(getattr(one, name) for one in mine) for name in ("n", "n_hits"))
        best = alone or whole_answer
        if best:
            n_best, hits_best = (sum(getattr(one, name) for one in best) for name in ("n", "n_hits"))
            what = "writes everything" if alone else "writes the whole answer"
            line = f"{donor} exploits in {_of(hits_best, n_best)} completions where it {what}"
        else:
            line = f"No span lets {donor} write a whole answer; over its spans {_of(hits, n)} completions are exploits"
        if hits == 0:
            line += ": train it longer, or on this study's types (`forewarn train-donor` then tries it)"
        lines.append(line + ".")
    return lines


def _of(hits: int, n: int) -> str:
    return f"{hits:,} of {n:,} ({write.percent(hits / n)})" if n else f"{hits:,} of {n:,}"
