"""``forewarn estimate``: exploit probabilities from a run folder's stored scores, or from the user's arrays."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forewarn.cli.say import say_json, say_lines
from forewarn.errors import IncompleteError, InputError
from forewarn.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forewarn.records import Estimate
    from forewarn.study import CellEstimate


def estimate(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder of a study: re-estimates every cell from its stored data."),
    ] = None,
    arrays: Annotated[
        Path | None,
        typer.Option(
            help="NumPy .npz file with log_ratio_NS (log q_S - log p, nats; needed where is_exploit_N), is_exploit_N, "
            "span_N (the span that each completion was drawn from); optional: share_S, problem_N, cluster_N, valid_N, "
            "inconsistent_N, program_N, donor_wrote_answer_N, donor_opened_N. "
            "Or a Parquet or CSV file with one row per completion: log_ratio_0, log_ratio_1 ..., is_exploit, span ..."
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            help="Level of the interval (two-sided) and of each certificate; default: the run's, or 0.9 for arrays."
        ),
    ] = None,
    design: Annotated[
        Literal["stratified", "random"],
        typer.Option(
            help="With --arrays. random: each completion drew its problem and span independently; needs share_S."
        ),
    ] = "stratified",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; missing values are null.")] = False,
) -> None:
    """Estimate exploit probabilities, from a run folder or from arrays: point, interval, certificates, diagnostics."""
    if (run is None) == (arrays is None):
        given = "both" if run is not None else "neither"
        raise InputError(f"{given} of RUN and --arrays given: name a run folder, or a file with arrays by --arrays")
    if run is not None:
        if run.is_file():
            raise InputError(f"{run} is a file, not a run folder: if it contains arrays, use --arrays {run}")
        if design != "stratified":
            raise InputError(f"--design {design} needs --arrays: a run folder keeps the design that it was run with")
        _estimate_run(run, level, as_json)
        return
    assert arrays is not None
    from forewarn.cli.arrays import load_arrays
    from forewarn.estimation import mixture_estimate

    result = mixture_estimate(**load_arrays(arrays), level=0.9 if level is None else level, design=design)
    if as_json:
        say_json(as_json_value(result), allow_nan=False)
    else:
        say_lines(as_text(result))


def _estimate_run(run: Path, level: float | None, as_json: bool) -> None:
    from forewarn.cli.progress import progress_bars
    from forewarn.study import estimate_run

    missing: IncompleteError | None = None
    try:
        with progress_bars() as progress:
            cells: Sequence[CellEstimate] = estimate_run(run, level=level, progress=progress)
    except IncompleteError as error:
        cells, missing = error.cells, error  # type: ignore[assignment]
    if as_json:
        say_json(cells_json(cells), allow_nan=False)
    else:
        say_lines(cells_text(cells))
    if missing is not None:
        raise missing


def cells_json(cells: Sequence[CellEstimate]) -> list[dict[str, Any]]:
    """Return one object per cell: the fields of ``records.Estimate`` and the cell's name."""
    return [
        {
            "checkpoint_id": cell.checkpoint_id,
            "step": cell.step,
            "exploit_type": cell.exploit_type,
            "model_receipt": cell.receipt,
            "spans": cell.spans,
            "n_by_span": cell.n_by_span,
            **as_json_value(cell.estimate),
        }
        for cell in cells
    ]


def cells_text(cells: Sequence[CellEstimate]) -> str:
    """Return one aligned line per cell: estimate, interval, certificates, hits, ESS, routes, verdict."""
    head = ("checkpoint", "exploit type", "estimate", "interval", "certified", "hits of n", "ESS", "routes", "verdict")
    lines = [head]
    for cell in cells:
        e = cell.estimate
        lines.append(
            (
                printable(cell.checkpoint_id),
                printable(cell.exploit_type),
                "no hit" if e.log10_p is None else probability(e.log10_p),
                interval(e.interval_log10),
                f"{e.lower_bound:.1e} to {e.upper_bound:.1e}",
                f"{e.n_hits} of {e.n}"
                + (f", {e.n_invalid} invalid" if e.n_invalid else "")
                + (f", {e.n_inconsistent} inconsistent ({e.n_inconsistent / e.n:.1%})" if e.n_inconsistent else ""),
                "-" if e.ess is None else f"{e.ess:.1f}",
                routes(e),
                "resolved" if e.resolved else f"unresolved: {e.reason}",
            )
        )
    width = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    note = "routes: effective number of programs x problems x spans"
    level = f"intervals (two-sided) and certificates (each side) at {cells[0].estimate.level:.0%}" if cells else ""
    return "\n".join(
        ["  ".join([*(cell.ljust(w) for cell, w in zip(line, width, strict=False)), line[-1]]) for line in lines]
        + ([f"{level}; {note}"] if cells else [""])
    )


def as_json_value(result: Estimate) -> dict[str, Any]:
    fields = asdict(result)
    if result.interval_log10 is not None:
        # JSON has no -inf: an open lower end is null.
        fields["interval_log10"] = [end if math.isfinite(end) else None for end in result.interval_log10]
    return fields


def as_text(result: Estimate) -> str:
    """Return a few aligned lines, every number with its uncertainty or its meaning."""
    percent = f"{result.level:.0%}"
    rows = [
        ("estimate", probability(result.log10_p) if result.log10_p is not None else "no hit"),
        (f"{percent} interval", interval(result.interval_log10)),
        (f"certified at {percent}", f"at least {result.lower_bound:.2e}, at most {result.upper_bound:.2e}"),
        ("completions", f"{result.n}, {result.n_invalid} invalid, {result.n_off_support} off the subject's support"),
        ("hits", f"{result.n_hits} ({', '.join(map(str, result.hits_by_span))} by span)"),
        ("effective sample size", "-" if result.ess is None else f"{result.ess:.1f}"),
        ("largest share of one", "-" if result.max_share is None else f"{result.max_share:.1%}"),
        ("spread over", spread(result)),
        ("Pareto k-hat", "too few hits" if result.khat is None else f"{result.khat:.2f}"),
        ("seen by donors", probability(result.covered_log10_p)),
        ("only by brute force", probability(result.uncovered_log10_p)),
        ("verdict", result.reason if result.resolved else f"unresolved: {result.reason}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def routes(result: Estimate) -> str:
    """Effective numbers of programs, problems and spans, shortly."""
    numbers = (result.effective_programs, result.effective_problems, result.effective_spans)
    return "-" if numbers[1] is None else " x ".join("?" if value is None else f"{value:.1f}" for value in numbers)


def spread(result: Estimate) -> str:
    """Over how many programs, problems and spans an estimate is spread, and what of it a donor wrote alone."""
    counts = [
        f"{value:.1f} {name}{'' if value < 1.05 else 's'}"
        for value, name in (
            (result.effective_programs, "program"),
            (result.effective_problems, "problem"),
            (result.effective_spans, "span"),
        )
        if value is not None
    ]
    donors = [
        f"{share:.0%} in {what}"
        for share, what in (
            (result.donor_written, "answers that the donor wrote whole"),
            (result.donor_opened, "hits of which it wrote the beginning alone"),
        )
        if share is not None
    ]
    return ", ".join([*counts, *donors]) or "-"


def probability(log10_p: float | None) -> str:
    """Format 10**log10_p without underflow; "-" for None."""
    if log10_p is None or log10_p == -math.inf:
        return "-"
    exponent = math.floor(log10_p)
    digits = f"{10 ** (log10_p - exponent):.2f}"
    if digits == "10.00":
        exponent, digits = exponent + 1, "1.00"
    return f"{digits}e{exponent:+03d}"


def interval(log10_ends: tuple[float, float] | None) -> str:
    if log10_ends is None:
        return "n/a"
    low, high = log10_ends
    return f"{'0' if low == -math.inf else probability(low)} to {probability(high)}"
