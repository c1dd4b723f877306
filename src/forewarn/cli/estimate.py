"""``forewarn estimate``: an exploit probability from arrays that the user has, with all that is needed to judge it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forewarn.errors import InputError

if TYPE_CHECKING:
    from forewarn.records import Estimate

REQUIRED = ("log_ratio_NS", "is_exploit_N", "span_N")
OPTIONAL = ("share_S", "problem_N", "cluster_N", "valid_N")


def estimate(
    arrays: Annotated[
        Path,
        typer.Option(
            help="NumPy .npz file with log_ratio_NS (log q_S - log p, nats; needed where is_exploit_N), is_exploit_N, "
            "span_N (the span that each completion was drawn from); optional: share_S, problem_N, cluster_N, valid_N."
        ),
    ],
    level: Annotated[float, typer.Option(help="Level of the interval (two-sided) and of each certificate.")] = 0.9,
    design: Annotated[
        Literal["stratified", "random"],
        typer.Option(help="random: each completion drew its problem and span independently; needs share_S."),
    ] = "stratified",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; missing values are null.")] = False,
) -> None:
    """Estimate an exploit probability from log-ratios and verdicts: point, interval, certificates, diagnostics."""
    values = load_arrays(arrays)
    from forewarn.estimation import mixture_estimate

    result = mixture_estimate(**values, level=level, design=design)
    print(as_json_text(result) if as_json else as_text(result))


def load_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an .npz file, by their names; InputError where one is missing, unknown or unreadable."""
    import zipfile

    import numpy as np

    try:
        # opened here: NumPy leaves the file open where it is no whole archive
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path} is missing; give an .npz file with {', '.join(REQUIRED)}") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"can't read {path}: {error}; save it with numpy.savez") from None
    missing = [name for name in REQUIRED if name not in arrays]
    unknown = sorted(arrays.keys() - {*REQUIRED, *OPTIONAL})
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"holds unknown {', '.join(unknown)}"] * bool(
            unknown
        )
        raise InputError(f"{path} {' and '.join(faults)}; the names are {', '.join((*REQUIRED, *OPTIONAL))}")
    for name in ("is_exploit_N", "valid_N"):
        if name in arrays:
            arrays[name] = _as_bool(arrays[name], f"{name} of {path}")
    return arrays


def _as_bool(values: Any, what: str) -> Any:
    import numpy as np

    if values.dtype != np.bool_ and not np.isin(values, (0, 1)).all():
        raise InputError(f"{what} holds values other than 0 and 1; give booleans")
    return values.astype(bool)


def as_json_text(result: Estimate) -> str:
    fields = asdict(result)
    if result.interval_log10 is not None:
        # JSON has no -inf: an open lower end is null.
        fields["interval_log10"] = [end if math.isfinite(end) else None for end in result.interval_log10]
    return json.dumps(fields, indent=2, allow_nan=False)


def as_text(result: Estimate) -> str:
    """A few aligned lines; every number with its uncertainty or its meaning."""
    percent = f"{result.level:.0%}"
    rows = [
        ("estimate", probability(result.log10_p) if result.log10_p is not None else "no hit"),
        (f"{percent} interval", interval(result.interval_log10)),
        (f"certified at {percent}", f"at least {result.lower_bound:.2e}, at most {result.upper_bound:.2e}"),
        ("completions", f"{result.n}, {result.n_invalid} invalid, {result.n_off_support} off the subject's support"),
        ("hits", f"{result.n_hits} ({', '.join(map(str, result.hits_by_span))} by span)"),
        ("effective sample size", "-" if result.ess is None else f"{result.ess:.1f}"),
        ("largest share of one", "-" if result.max_share is None else f"{result.max_share:.1%}"),
        ("Pareto k-hat", "too few hits" if result.khat is None else f"{result.khat:.2f}"),
        ("seen by donors", probability(result.covered_log10_p)),
        ("only by brute force", probability(result.uncovered_log10_p)),
        ("verdict", result.reason if result.resolved else f"unresolved: {result.reason}"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def probability(log10_p: float | None) -> str:
    """10**log10_p in digits that don't underflow; "-" where there is none."""
    if log10_p is None or log10_p == -math.inf:
        return "-"
    exponent = math.floor(log10_p)
    digits = f"{10 ** (log10_p - exponent):.2f}"
    if digits == "10.00":
        exponent, digits = exponent + 1, "1.00"
    return f"{digits}e{exponent:+03d}"


def interval(log10_ends: tuple[float, float] | None) -> str:
    if log10_ends is None:
        return "no honest one"
    low, high = log10_ends
    return f"{'0' if low == -math.inf else probability(low)} to {probability(high)}"
