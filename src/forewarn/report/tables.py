"""The report's tables on estimates, as rows of text: cells, accuracy by decade, certificates.

Frames in (checked, see ``frames.py``), ``Table`` out; ``render.py`` turns a table into Markdown, HTML or a terminal.
Forecasts: ``forecast_tables.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from forewarn.report import numbers as write
from forewarn.report.frames import JUDGED_HITS, ordered_types
from forewarn.report.series import known_series
from forewarn.report.series.base import as_number, counted_rate
from forewarn.report.series.estimate import estimate_text
from forewarn.report.series.study import study_text
from forewarn.report.summary import ESTIMATORS, LEVEL, Accuracy, accuracies, certificates
from forewarn.report.table import Table

CELL_TABLE = {
    "type": None, "step": None, "truth": "truth", "estimate": None, "estimate / truth": "truth", "certified": None,
    "hits / N": None, "ESS": None, "top share": None, "k-hat": None, "by donors": None, "study tokens": "study_tokens",
    "study words": "study_words", "brute force": "brute", "verdict": None,
}  # fmt: skip
"""columns, and the series without which each would be empty"""
AGAINST = (
    " Truth: brute force, Clopper-Pearson. Brute force: at the same number of completions. The study's estimators have "
    "no interval."
)


def cell_table(cells: pl.DataFrame, run: str) -> Table:
    """Every cell of a run: the estimate and what is needed to judge it, and the truth and rivals that the frame has."""
    known = known_series(cells)
    kept = [i for i, series in enumerate(CELL_TABLE.values()) if series is None or series in known]
    columns = tuple(name for i, name in enumerate(CELL_TABLE) if i in kept)
    rows = []
    for exploit_type in ordered_types(cells):
        of_type = cells.filter((pl.col("run") == run) & (pl.col("exploit_type") == exploit_type)).sort("step")
        full = map(_cell_row, of_type.iter_rows(named=True))
        rows += [tuple(row[i] for i in kept) for row in full]
    return Table(
        title=f"Every checkpoint of run {run}",
        columns=columns,
        rows=tuple(rows),
        text_columns=1,
        tags=tuple((run, row[0]) for row in rows),
        prose=(len(columns) - 1,),
        note=(
            f"Intervals at {LEVEL:.0%}. Certified: a lower and an upper bound, each one-sided. Top share: the largest "
            "part that one completion has in the estimate. By donors: the part of the estimate from hits that a "
            "donor, rather than brute force, would have brought."
        )
        + (AGAINST if known != ["estimate"] else ""),
    )


def short_cell_table(cells: pl.DataFrame, run: str) -> Table:
    """A run's cells in the columns that fit a terminal; a type's name stands above its checkpoints."""
    rows = []
    for exploit_type in ordered_types(cells):
        of_type = cells.filter((pl.col("run") == run) & (pl.col("exploit_type") == exploit_type)).sort("step")
        full = [_cell_row(row) for row in of_type.iter_rows(named=True)]
        rows += [(exploit_type, *[""] * 6), *((f"  {r[1]}", r[2], r[3], r[4], r[6], r[11], r[13]) for r in full)]
    return Table(
        title=f"Run {run}",
        columns=("type, step", "truth", "estimate", "ratio", "hits / N", "study", "brute force"),
        rows=tuple(rows),
        note=f"Intervals at {LEVEL:.0%}. Study: its pooled prefix estimator, tokens. Brute force: at the same N.",
    )


def _cell_row(row: dict[str, object]) -> tuple[str, ...]:
    get: Callable[[str], object] = row.__getitem__
    value, truth = as_number(get("log10_p")), as_number(get("truth_log10"))
    resolved = "resolved" if get("resolved") else f"unresolved: {get('reason')}"
    return (
        str(get("exploit_type")),
        write.step(as_number(get("step"))),
        counted_rate(get("truth_hits"), get("truth_n"), get("truth_lo"), get("truth_hi")),
        estimate_text(row),
        write.ratio(None if value is None or truth is None else value - truth),
        f"{write.rate(as_number(get('lower_bound')))} to {write.rate(as_number(get('upper_bound')))}",
        f"{get('n_hits')} / {get('n')}{_without_a_verdict(row)}",
        write.number(as_number(get("ess")), 0),
        write.percent(as_number(get("max_share"))),
        write.number(as_number(get("khat"))),
        write.percent(donor_share(row)),
        study_text(get("study_tokens_log10"), get("study_n")),
        study_text(get("study_words_log10"), get("study_n")),
        counted_rate(get("brute_hits"), get("brute_n"), get("brute_lo"), get("brute_hi")),
        resolved,
    )


def _without_a_verdict(row: dict[str, object]) -> str:
    """ " (3 invalid, 1 inconsistent)", or nothing."""
    named = [f"{row[f'n_{name}']} {name}" for name in ("invalid", "inconsistent") if row.get(f"n_{name}")]
    return f" ({', '.join(named)})" if named else ""


def donor_share(row: dict[str, object]) -> float | None:
    """Share of the estimate from hits that donors reach; None without an estimate."""
    covered, uncovered = as_number(row["covered_log10_p"]), as_number(row["uncovered_log10_p"])
    if covered is None and uncovered is None:
        return None
    if covered is None or uncovered is None:
        return 0.0 if covered is None else 1.0
    return float(1 / (1 + 10 ** min(uncovered - covered, 300.0)))


def accuracy_table(cells: pl.DataFrame) -> Table:
    """Error and coverage of every estimator over the judged cells, by decade of the truth."""
    found = accuracies(cells)
    return Table(
        title="Against the truth",
        columns=(
            "judged cells", "estimator", "cells", "no hit", "median error", "of all", "covered", "width",
        ),
        rows=tuple(_accuracy_row(a, first=a.estimator == next(iter(ESTIMATORS))) for a in found),
        text_columns=2,
        emphasis=tuple(i for i, a in enumerate(found) if a.estimator == "estimate"),
        note=(
            f"Judged: cells whose truth rests on at least {JUDGED_HITS} hits. Median error: of "
            "|log10(estimate/truth)|, decades, over the cells with a hit, with a "
            f"{LEVEL:.0%} interval of that median; of all: over all cells, one without a hit being infinitely wrong. "
            f"Covered: the {LEVEL:.0%} interval meets the truth's own interval; a cell without an interval counts as "
            "not covered; in brackets a Clopper-Pearson interval of the share. Width: the interval's median width, "
            "decades."
        ),
    )  # fmt: skip


def _accuracy_row(a: Accuracy, *, first: bool) -> tuple[str, ...]:
    error = write.number(a.median_error)
    if a.median_error is not None and a.median_error_interval:
        error += f" [{a.median_error_interval[0]:.2f}, {a.median_error_interval[1]:.2f}]"
    covered = "has none"
    width = write.NONE
    if a.coverage_interval:
        low, high = a.coverage_interval
        covered = f"{a.n_covered} of {a.n} [{low:.0%}, {high:.0%}]"
        width = "reaches 0" if a.n_interval and a.median_width is None else write.number(a.median_width, 1)
    return (
        a.group if first else "",
        ESTIMATORS[a.estimator],
        str(a.n),
        str(a.n - a.n_hit),
        error if a.n_hit else write.NO_HIT,
        write.NO_HIT if a.median_error_all is None else write.number(a.median_error_all),
        covered,
        width,
    )


def certificate_table(cells: pl.DataFrame) -> Table:
    """How often a certificate contradicts the truth."""
    found = certificates(cells)
    return Table(
        title="Certificates",
        columns=("certificate", "cells with a truth", "contradicted"),
        rows=(
            ("lower bound above the truth's interval", str(found.n), str(found.n_lower_wrong)),
            ("upper bound below the truth's interval", str(found.n), str(found.n_upper_wrong)),
        ),
        note="Each bound is one-sided; cells count whether judged or not.",
    )
