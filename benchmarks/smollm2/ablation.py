"""What each family of spans brings on SmolLM2: estimates from the same completions and scores, beside the truth.

    python benchmarks/smollm2/ablation.py [cells | families | donors | arms | distance | classic | full]

Reads what ``keep.py`` left in ``data``. A family's estimate takes the completions of its spans alone, with shares from
their counts, so that it has fewer completions than the whole: the gain is told for each completion, and beside it
stands the error that counting has with as many. ``full`` is the table of ``data/ablation.md``; the others are those of
``docs/real-model.md``.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import polars as pl
from kept import FIRST, REFINED, Row, cells, counting_error, estimate, measured, truths

from forewarn.estimation.classic import pooled_prefix_is

FAMILIES: dict[str, tuple[int, ...]] = {
    "brute force": (0,),
    "prefixes": (0, 1, 2, 3, 4, 5),
    "prefixes, windows": (0, 1, 2, 3, 4, 5, 6, 7),
    "prefixes, windows, ladder": (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    "everything": tuple(range(11)),
    "windows alone": (0, 6, 7),
    "ladder alone": (0, 8, 9),
    "hot subject alone": (0, 10),
}
"""family -> its spans by their place in the study's file; brute force is in all of them"""
ARMS: dict[str, tuple[str, tuple[int, ...]]] = {
    "first donor": (FIRST, tuple(range(11))),
    "first donor, windows": (FIRST, (0, 6, 7)),
    "refined donor": (REFINED, (0, 1, 2)),
}
"""arm -> its study and its spans"""
PREFIXES = (1, 2)
"""the spans that start the reasoning: what the published study samples"""
RARE = 2e-4
DONOR_SPANS = (1, 2, 3, 4, 5, 6, 7)
"""in which the donor itself writes, at scale 1"""


def power(value: float | None) -> str:
    """10 to a value, in short."""
    return "-" if value is None else f"{10**value:.2g}"


def number(value: float | None) -> str:
    """Two digits; "inf" for an error without a hit."""
    return "-" if value is None or math.isnan(value) else f"{value:.2g}"


def line(*entries: object) -> str:
    return "| " + " | ".join(str(entry) for entry in entries) + " |"


def head(*names: str) -> list[str]:
    return [line(*names), "|" + "---|" * len(names)]


def described(row: Row) -> tuple[str, ...]:
    """An estimate and how it stands to the truth."""
    held = row.estimate
    interval = "-" if held.interval_log10 is None else " to ".join(power(end) for end in held.interval_log10)
    return (
        power(held.log10_p), interval, number(held.ess), number(row.error) if row.truth.counts else "-",
        "yes" if row.covers else "no", "yes" if held.resolved else "no",
    )  # fmt: skip


def cells_table() -> list[str]:
    """The whole mixture, cell by cell, and brute force with as many completions."""
    lines = head(
        "subject", "type", "truth", "its interval", "estimate", "interval", "ESS", "error", "covers", "resolved",
        "counting errs by",
    )  # fmt: skip
    for cell in cells():
        row = estimate(cell, FAMILIES["everything"])
        truth = row.truth
        counting = number(counting_error(truth.rate, row.estimate.n)) if truth.counts else "-"
        count, ends = f"{truth.hits} of {truth.n:,}", f"{truth.low:.2g} to {truth.high:.2g}"
        lines.append(line(*cell, count, ends, *described(row), counting))
    return lines


def families_table() -> list[str]:
    """Each family over the cells whose truth has hits enough."""
    lines = head(
        "family", "completions", "tokens a cell", "median error", "largest", "covers", "resolved",
        "resolved and missed", "resolved and missed, before", "median ESS", "median gain", "counting errs by",
    )  # fmt: skip
    for name, spans in FAMILIES.items():
        all_rows = [estimate(cell, spans) for cell in cells()]
        before = [estimate(cell, spans, openings=False) for cell in cells()]
        rows = [row for row in all_rows if row.truth.counts]
        n, errors = rows[0].estimate.n, [row.error for row in rows]
        ess = float(np.median([row.estimate.ess or 0.0 for row in rows]))
        lines.append(
            line(
                name, n, f"{np.mean([row.tokens for row in rows]):,.0f}",
                number(float(np.median(errors))), number(max(errors)),
                f"{sum(row.covers for row in rows)} of {len(rows)}",
                f"{sum(row.estimate.resolved for row in rows if row.truth.rate > RARE)} of {len(rows)}",
                f"{sum(row.estimate.resolved and not row.covers for row in all_rows)} of {len(all_rows)}",
                f"{sum(row.estimate.resolved and not row.covers for row in before)} of {len(before)}",
                number(ess), number(float(np.median([row.gain for row in rows]))),
                number(float(np.median([counting_error(row.truth.rate, n) for row in rows]))),
            )
        )  # fmt: skip
    return lines


def arms() -> dict[str, list[Row]]:
    """Each arm's estimates of the cells that the refined donor was measured on; none where its study is not kept."""
    common = list(cells(REFINED)) if measured(REFINED) else []
    return {name: [estimate(cell, spans, study=study) for cell in common] for name, (study, spans) in ARMS.items()}


def refined_table() -> list[str]:
    """The donors cell by cell."""
    lines = head(
        "subject", "type", "truth", "arm", "completions", "hits", "estimate", "interval", "ESS", "error", "covers",
        "resolved", "gain",
    )  # fmt: skip
    for rows in zip(*arms().values(), strict=True):
        for name, row in zip(ARMS, rows, strict=True):
            found = row.estimate
            lines.append(
                line(*row.cell, f"{row.truth.rate:.2g}", name, found.n, found.n_hits, *described(row), number(row.gain))
            )
    return lines


def full_table() -> list[str]:
    """Every family of every cell."""
    lines = head(
        "subject", "type", "family", "completions", "tokens", "hits", "estimate", "interval", "ESS", "error",
        "covers", "resolved", "gain",
    )  # fmt: skip
    for cell in cells():
        for name, spans in FAMILIES.items():
            row = estimate(cell, spans)
            held, gain = row.estimate, number(row.gain) if row.truth.counts else "-"
            lines.append(line(*cell, name, held.n, f"{row.tokens:,}", held.n_hits, *described(row), gain))
    return lines


def distance_table() -> list[str]:
    """How far donor and subject are apart, in nats a token of the exploits."""
    lines = head("subject", "donor's tokens, median", "donor's tokens, mean", "subject's tokens, mean")
    for checkpoint in sorted({checkpoint for checkpoint, _ in cells()}):
        tables = [table for (name, _), table in cells().items() if name == checkpoint]
        hits = pl.concat(tables).filter(pl.col("label") == "exploit")
        by_donor = hits.filter(pl.col("span").is_in(DONOR_SPANS)).select("gaps", "wrote").explode("gaps", "wrote")
        donor = by_donor.filter(pl.col("wrote"))["gaps"].to_numpy()
        subject = -hits.filter(pl.col("span") == 0)["gaps"].explode().drop_nulls().to_numpy()
        own = f"{subject.mean():.2f}" if len(subject) else "-"
        lines.append(line(checkpoint, f"{np.median(donor):.3f}", f"{donor.mean():.2f}", own))
    return lines


def classic_table() -> list[str]:
    """The published study's estimator from its own kind of span, and plain counting in the study's brute force."""
    lines = head("subject", "type", "truth", "pooled prefixes", "completions", "hits behind a prefix", "counted", "of")
    for cell, table in cells().items():
        if not truths()[cell].counts:
            continue
        mine = table.filter(pl.col("span").is_in([0, *PREFIXES]))
        hit_N, span_N = (mine["label"] == "exploit").to_numpy(), mine["span"].to_numpy()
        log_ratio_N = np.zeros(mine.height)
        # of its own span: column 0 is brute force, whose prefix is empty
        log_ratio_N[hit_N] = [
            -ratios[span] for ratios, span in zip(mine["log_ratios"].drop_nulls().to_list(), span_N[hit_N], strict=True)
        ]
        found = pooled_prefix_is(log_ratio_N, hit_N, mine["problem_id"].to_numpy(), span_N)
        own = int((hit_N & (span_N == 0)).sum())
        counted, of = own, int((span_N == 0).sum())
        rate = f"{truths()[cell].rate:.2g}"
        lines.append(line(*cell, rate, power(found.log10_p), mine.height, int(hit_N.sum()) - own, counted, of))
    return lines


TABLES = {
    "cells": cells_table,
    "families": families_table,
    "refined": refined_table,
    "distance": distance_table,
    "classic": classic_table,
    "full": full_table,
}


def main() -> None:
    for name in sys.argv[1:] or TABLES:
        print("\n".join(TABLES[name]()), end="\n\n" if len(sys.argv) != 2 else "\n")


if __name__ == "__main__":
    main()
